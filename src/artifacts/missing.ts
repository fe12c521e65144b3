/**
 * What is missing below a job directory, told apart: removed for good, late to show on a network file system, or out of
 * reach together with all that should hold it. Only the first ends a job, and it has to: asking again brings nothing back.
 */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../clock.ts";
import { errnoOf, StorageError } from "../errors.ts";

/** Attribute caches of network file systems last a minute or two. */
const lateAtMostMs = 180_000;

/** What was seen missing, all jobs together. The longest known makes room: it then counts as seen for the first time. */
const maxRemembered = 10_000;

/** What is not there now and may yet show. Counted in this process alone: after a restart it starts anew. */
export interface Lateness {
  /** It was looked for and not found: may it still come? */
  isLate(path: string): boolean;
  found(path: string): void;
}

export function createLateness(clock: Clock): Lateness {
  const missingSince = new Map<string, number>();
  return {
    isLate(path) {
      const since = missingSince.get(path);
      if (since !== undefined) return clock.mono() - since < lateAtMostMs;
      const [oldest] = missingSince.keys();
      if (oldest !== undefined && missingSince.size >= maxRemembered) missingSince.delete(oldest);
      missingSince.set(path, clock.mono());
      return true;
    },
    found: (path) => void missingSince.delete(path),
  };
}

/** Runs an act that `part` of the directory `dir` is needed for. Throws a permanent StorageError once either is gone. */
type WhileThere = <T>(dir: string, part: string, act: () => Promise<T>) => Promise<T>;

export function createWhileThere(lateness: Lateness): WhileThere {
  return async (dir, part, act) => {
    const path = `${dir}/${part}`;
    try {
      const result = await act();
      lateness.found(path);
      return result;
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
      const gone = await isGone(dir);
      if (!gone && lateness.isLate(path)) throw error;
      lateness.found(path);
      throw removed(gone ? dir : path, error);
    }
  };
}

/** Somebody removed it. Where what should hold it is missing too, its file system is not mounted: that throws. */
export async function isGone(dir: string): Promise<boolean> {
  try {
    await stat(dir);
    return false;
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    await stat(dirname(dir));
    return true;
  }
}

/** For looks at a run that has ended: where its directory is gone, or a part of it, there is nothing to see. */
export async function orNothing<T>(dir: string, look: () => Promise<T>, nothing: T): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    await isGone(dir);
    return nothing;
  }
}

function removed(path: string, cause: unknown): StorageError {
  const failure = { code: "ENOENT", syscall: "look for", path, permanent: true };
  return new StorageError(`${path} was removed`, failure, { cause });
}
