/**
 * EMX2's two spellings of a local date-time. What was read back from the database has a blank and microseconds without
 * trailing zeros; what the answering request has just set is Java's `LocalDateTime.toString()`, with a `T` and groups of
 * three digits. The emulator's zone is UTC.
 */

/** `2026-11-22 15:10:37.67` */
export function storedDateTime(ms: number | null): string | null {
  if (ms === null) return null;
  const text = new Date(ms).toISOString().replace("T", " ").replace("Z", "");
  return text.replace(/\.(\d*?)0*$/, (_, kept: string) => (kept === "" ? "" : `.${kept}`));
}

/** `2026-11-22T15:10:37.670000000` */
export function freshDateTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString().replace("Z", "000000");
}
