/**
 * Which (processor, profile) pair of EMX2 a key of `profiles` stands for. Documentation writes `processor/profile`, where
 * the processor itself may hold colons and slashes; the server's own code writes `processor:profile`.
 */

export interface Pair {
  readonly processor: string;
  readonly profile: string;
}

/** The pair, or what is wrong with the key. */
export function pairOf(
  key: string,
  explicit: { readonly processor?: string; readonly profile?: string },
): Pair | string {
  const { processor, profile } = explicit;
  if (processor !== undefined && profile !== undefined) return { processor, profile };
  if (processor !== undefined || profile !== undefined) return "needs both processor and profile inside, or neither";
  const slash = key.lastIndexOf("/");
  const colons = key.split(":").length - 1;
  if (slash < 0 && colons > 1) return "has several colons: write processor/profile, so that it is clear where to split";
  if (slash < 0 && colons === 0) return "must be processor/profile, or have processor and profile inside";
  const split = slash < 0 ? key.indexOf(":") : slash;
  const pair = { processor: key.slice(0, split), profile: key.slice(split + 1) };
  return pair.processor && pair.profile ? pair : "must have a text on both sides of where it is split";
}
