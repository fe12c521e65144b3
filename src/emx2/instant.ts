/**
 * EMX2's date-times: `2026-11-22 15:10:37.67` and `2026-11-22T15:10:37.671583129`, without what is zero at their end, and
 * without a zone. They tell which of two things came first, and nothing of our clock.
 */
const dateTime = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?$/;

/** In one shape and length, so that instants sort as texts; null: unreadable. */
export function sortableInstant(text: string): string | null {
  const [, day, minute, second = "00", fraction = ""] = dateTime.exec(text) ?? [];
  return day === undefined ? null : `${day}T${minute}:${second}.${fraction.padEnd(9, "0")}`;
}
