/** What EMX2 says that it has, held against what it was sent. */
import { IntegrityError } from "../errors.ts";

export function mustMatch(what: string, expected: string, actual: string | null): void {
  if (actual === expected) return;
  const message = `EMX2 acknowledged ${actual ?? "nothing"} as ${what}, which is ${expected}`;
  throw new IntegrityError(message, { what, expected, actual: actual ?? "" });
}
