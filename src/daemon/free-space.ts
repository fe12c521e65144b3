/** Is there room to take on new jobs? Below `worker.min_free_disk` nothing new is claimed. For inputs: `room.ts`. */
import { constants } from "node:fs";
import { access, statfs } from "node:fs/promises";
import { answeredWithin } from "../artifacts/storage-fault.ts";
import type { Clock } from "../clock.ts";
import { isSystemError, storageFault } from "../errors.ts";
import type { Profile } from "../job/profile.ts";

/** A dead mount never answers. */
const answerMs = 5_000;

export interface Space {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export function gigabytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** Why not; undefined: there is room in all of them. */
export async function spaceShortage(
  clock: Clock,
  directories: readonly string[],
  minFreeBytes: number,
): Promise<string | undefined> {
  for (const directory of directories) {
    const space = await spaceIn(clock, directory);
    if (typeof space === "string") return space;
    if (space.freeBytes < minFreeBytes) {
      return `${directory} has ${gigabytes(space.freeBytes)} free, worker.min_free_disk asks for ${gigabytes(minFreeBytes)}`;
    }
  }
  return undefined;
}

/** Profiles whose posix outputs could not be kept now, by key, and why: nothing is claimed for them. */
export async function profilesWithoutRoom(
  clock: Clock,
  profiles: readonly Profile[],
  minFreeBytes: number,
): Promise<ReadonlyMap<string, string>> {
  const reasons = new Map<string, string>();
  for (const { key, posixOutputDir, outputResidence, logResidence } of profiles) {
    if (posixOutputDir === undefined || (outputResidence !== "posix" && logResidence !== "posix")) continue;
    const reason = await spaceShortage(clock, [posixOutputDir], minFreeBytes);
    if (reason !== undefined) reasons.set(key, `posix_output_dir ${reason}`);
  }
  return reasons;
}

/** Or why it can not be told: a tmp_dir that is missing is a file system that is not mounted, and nothing is written there. */
export async function spaceIn(clock: Clock, directory: string): Promise<Space | string> {
  try {
    return await answeredWithin(clock, answerMs, directory, async () => {
      await access(directory, constants.W_OK | constants.X_OK);
      const { bavail, blocks, bsize } = await statfs(directory);
      return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    });
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return `${directory} can not be used: ${storageFault(error)}`;
  }
}
