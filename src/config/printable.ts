/**
 * Text from a configuration file or the environment, made fit for a terminal: control characters could recolour it,
 * rewrite lines above, or reorder what is read.
 */

import { escapeText } from "../log.ts";

/** C0 and C1 controls, and what turns the direction of writing. */
export const unprintable = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

/** A path as it can be pasted into a shell. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${escapeText(text).replaceAll("'", "'\\''")}'`;
}

/** Of a value only as much as tells the reader which one is meant. */
export function excerpt(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value === null) return "nothing";
  if (typeof value === "object") return "a block of keys";
  const text = escapeText(typeof value === "string" ? JSON.stringify(value) : String(value));
  return text.length > longestExcerptChars ? `${text.slice(0, longestExcerptChars)}…` : text;
}

const longestExcerptChars = 80;
