/**
 * The snapshot: a copy of the journal that others may read. Nobody but the daemon opens the journal itself, since a second
 * opener of a database whose file system has no locks can destroy it; here a reader takes one whole file into memory.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { JobEvent } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
import type { Journal } from "./journal.ts";
import { openBytes } from "./schema.ts";
import { stateError } from "./state-error.ts";
import { Tables } from "./tables.ts";

export interface Snapshot {
  /** Jobs in the order in which they came. */
  readonly jobs: readonly Job[];
  history(jobId: JobId): { at: number; event: JobEvent }[];
  /** Wall clock milliseconds. */
  readonly writtenAt: number;
}

/** Replaces the snapshot at `path` (0600), so that a reader finds the old one or the new one, whole. Throws StateError. */
export function publishSnapshot(journal: Pick<Journal, "serialize">, path: string): void {
  try {
    replaceFile(path, journal.serialize());
  } catch (error) {
    throw stateError(error, path);
  }
}

/** null: none has been published. Throws StateError where it can not be read or a newer version wrote it. */
export function readSnapshot(path: string): Snapshot | null {
  const file = readWhole(path);
  if (!file) return null;
  const tables = new Tables(openBytes(file.bytes, path));
  return { jobs: tables.jobs(), history: (jobId) => tables.history(jobId), writtenAt: file.writtenAt };
}

function replaceFile(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  try {
    writeSynced(temporary, bytes);
    renameSync(temporary, path);
  } catch (error) {
    // On a full disk half a file would take the room that the journal needs.
    rmSync(temporary, { force: true });
    throw error;
  }
}

function writeSynced(path: string, bytes: Uint8Array): void {
  const file = openSync(path, "wx", 0o600);
  try {
    writeFileSync(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function readWhole(path: string): { readonly bytes: Uint8Array; readonly writtenAt: number } | null {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    return { bytes: readFileSync(file), writtenAt: fstatSync(file).mtimeMs };
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw stateError(error, path);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
