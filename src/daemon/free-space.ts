/** Is there room to take on new jobs? Below `worker.min_free_disk` nothing new is claimed. */
import { statfs } from "node:fs/promises";
import { answeredWithin } from "../artifacts/storage-fault.ts";
import type { Clock } from "../clock.ts";
import { isSystemError } from "../errors.ts";

/** A dead mount never answers. */
const answerMs = 5_000;

/** Why not; undefined: there is room in all of them. */
export async function spaceShortage(
  clock: Clock,
  directories: readonly string[],
  minFreeBytes: number,
): Promise<string | undefined> {
  for (const directory of directories) {
    const free = await freeBytes(clock, directory);
    if (typeof free === "string") return free;
    if (free < minFreeBytes) {
      const gigabytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
      return `${directory} has ${gigabytes(free)} free, worker.min_free_disk asks for ${gigabytes(minFreeBytes)}`;
    }
  }
  return undefined;
}

/** Or why it can not be told: a tmp_dir that is missing is a file system that is not mounted, and nothing is written there. */
async function freeBytes(clock: Clock, directory: string): Promise<number | string> {
  try {
    const { bavail, bsize } = await answeredWithin(clock, answerMs, directory, () => statfs(directory));
    return bavail * bsize;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return `${directory} can not be used: ${error.message}`;
  }
}
