/** One line of `check`: what was looked at, how it is, and what to do about it. */
export interface CheckItem {
  readonly item: string;
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly fix?: string;
}

export function ok(item: string, detail: string): CheckItem {
  return { item, result: "ok", detail };
}

/** Works, or may work, and is better looked into. */
export function warning(item: string, detail: string, fix: string): CheckItem {
  return { item, result: "warning", detail, fix };
}

export function failed(item: string, detail: string, fix: string): CheckItem {
  return { item, result: "failed", detail, fix };
}

/** `of` the first few, and how many more there are. */
export function listed(words: readonly string[], most = 8): string {
  const more = words.length - most;
  return more > 0 ? `${words.slice(0, most).join(", ")} and ${more} more` : words.join(", ");
}
