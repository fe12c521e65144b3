/** Patterns of an operator's: `*` stands for any run of characters, everything else for itself. */

export function matchesAny(text: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => matches(text, pattern));
}

/** A job without a submitter is for patterns that take everybody. */
export function allowsSubmitter(patterns: readonly string[], submitUser: string | null): boolean {
  return submitUser === null ? patterns.some((pattern) => /^\*+$/.test(pattern)) : matchesAny(submitUser, patterns);
}

/** Piece by piece, each as early as it can be: a text of a stranger's costs no more than its length. */
function matches(text: string, pattern: string): boolean {
  const [head = "", ...pieces] = pattern.split("*");
  const tail = pieces.pop();
  if (tail === undefined) return text === pattern;
  if (!text.startsWith(head)) return false;
  let at = head.length;
  for (const piece of pieces) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return text.length - tail.length >= at && text.endsWith(tail);
}
