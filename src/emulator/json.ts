/**
 * Writing JSON with parts that keep their own spelling: `parameters` and `metadata` come back as they were sent, which
 * JSON.parse and JSON.stringify would not do (`1.0`, integers of twenty digits, keys that look like array indices).
 */

/** A JSON text that stands in a value as it is. JSON.rawJSON takes primitives only. */
export class RawJson {
  constructor(readonly text: string) {}
}

/** As JSON.stringify, and knows RawJson. Members that are undefined are left out. */
export function jsonText(value: unknown): string {
  if (value instanceof RawJson) return value.text;
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${jsonText(member)}`).join(",")}}`;
}
