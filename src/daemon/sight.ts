/**
 * What can be seen from here of another state directory: does somebody hold it? Its lease tells. A daemon that is started by
 * cron holds it for some seconds in each hour, so that one whose journal was written a short while ago is only resting.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { errnoOf } from "../errors.ts";
import type { Sight } from "./holder.ts";

/** Longer than the pauses of any `once` in cron. */
const restMs = 2 * 3_600_000;

/** `watchLease` takes minutes: a lease is known to be held when it changes. */
export function createSight(
  clock: Clock,
  watchLease: (stateDir: string) => Promise<Exclude<Sight, "resting">>,
): (stateDir: string) => Promise<Sight> {
  return async (stateDir) => {
    const there = await changedAt(stateDir);
    if (there === "absent" || there === "unreadable") return there;
    const lease = await watchLease(stateDir);
    if (lease === "fresh" || lease === "unreadable") return lease;
    const written = await changedAt(join(stateDir, "journal.db"));
    return typeof written === "number" && clock.wall() - written < restMs ? "resting" : lease;
  };
}

/** Wall clock milliseconds of the file system that it lies on. */
async function changedAt(path: string): Promise<number | "absent" | "unreadable"> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    return code === "ENOENT" || code === "ENOTDIR" ? "absent" : "unreadable";
  }
}
