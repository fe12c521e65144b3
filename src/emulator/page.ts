/** Which part of a list is asked for. */
import type { Generation } from "./generation.ts";

/** `limit` and `offset` of a list: what is no 32-bit integer counts as left out, 0 or less as no limit at all, or as none. */
export function page(
  { limitZeroIsAll }: Generation,
  query: URLSearchParams,
): { limit: number; offset: number; of: <T>(all: readonly T[]) => T[] } {
  const limit = Math.max(0, integerParameter(query, "limit") ?? 100);
  const offset = Math.max(0, integerParameter(query, "offset") ?? 0);
  return { limit, offset, of: (all) => all.slice(offset, limit === 0 && limitZeroIsAll ? undefined : offset + limit) };
}

function integerParameter(query: URLSearchParams, name: string): number | undefined {
  const word = query.get(name);
  if (word === null || !/^[+-]?\d+$/.test(word)) return undefined;
  const value = Number(word);
  return Math.abs(value) < 2 ** 31 ? value : undefined;
}
