/**
 * The snapshot: an excerpt of the journal that others may read. Nobody but the daemon opens the journal itself, since a second
 * opener of a database whose file system has no locks can destroy it; here a reader takes one whole file into memory.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { type Clock, systemClock } from "../clock.ts";
import { errnoOf, StateError } from "../errors.ts";
import type { JobEvent } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
import { forgottenJobs, type LeftOutEvents, leftOutOf } from "./excerpt.ts";
import type { Journal } from "./journal.ts";
import type { Overview } from "./overview.ts";
import { openBytes, readMeta } from "./schema.ts";
import { stateError } from "./state-error.ts";
import { Tables } from "./tables.ts";

export interface Snapshot {
  /** Jobs in the order in which they came. */
  readonly jobs: readonly Job[];
  /** Jobs that are no longer kept, and whose history is. */
  readonly forgotten: readonly JobId[];
  /** The first and the last events of a job. */
  history(jobId: JobId): { at: number; event: JobEvent }[];
  /** What is not in its history for its length. */
  leftOut(jobId: JobId): LeftOutEvents | undefined;
  /** Absent where an older version published it. */
  readonly overview?: Overview;
  /** Wall clock milliseconds. */
  readonly writtenAt: number;
}

/** One at a time: they share the name of the temporary file. */
let publishing: Promise<unknown> = Promise.resolve();

/**
 * Replaces the snapshot at `path` (0600), so that a reader finds the old one or the new one, whole. What it holds is taken
 * at once, and written while the event loop goes on. Gives the milliseconds that it took; throws StateError.
 */
export async function publishSnapshot(
  journal: Pick<Journal, "excerpt">,
  path: string,
  clock: Clock = systemClock,
  overview?: Overview,
): Promise<number> {
  const from = clock.mono();
  try {
    const bytes = journal.excerpt(overview && JSON.stringify(overview));
    const written = publishing.then(() => replaceFile(path, bytes));
    publishing = written.catch(() => undefined); // told to whoever asked for that one
    await written;
  } catch (error) {
    throw stateError(error, path);
  }
  return clock.mono() - from;
}

/** null: none has been published. Throws StateError where it can not be read or a newer version wrote it. */
export function readSnapshot(path: string): Snapshot | null {
  const file = readWhole(path);
  if (!file) return null;
  const database = openBytes(file.bytes, path);
  const tables = new Tables(database);
  const overview = JSON.parse(readMeta(database, "overview") ?? "null") as Overview | null;
  return {
    jobs: tables.jobs(),
    forgotten: forgottenJobs(database),
    history: (jobId) => tables.history(jobId),
    leftOut: (jobId) => leftOutOf(database, jobId),
    // The file server's clock may be another.
    writtenAt: overview?.at ?? file.writtenAt,
    ...(overview ? { overview } : {}),
  };
}

async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  try {
    await writeSynced(temporary, bytes);
    await rename(temporary, path);
  } catch (error) {
    // On a full disk half a file would take the room that the journal needs.
    await rm(temporary, { force: true });
    throw error;
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function readWhole(path: string): { readonly bytes: Uint8Array; readonly writtenAt: number } | null {
  let file: number | undefined;
  try {
    // A FIFO in its place would be waited for without end.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const facts = fstatSync(file);
    if (!facts.isFile() && !facts.isDirectory())
      throw new StateError(`${path} is no regular file`, { path, reason: "unusable" });
    return { bytes: readFileSync(file), writtenAt: facts.mtimeMs };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return null;
    throw stateError(error, path);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
