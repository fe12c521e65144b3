/**
 * What an artifact consists of: its content hash as EMX2 computes it, and how the files of a job divide into outputs
 * and logs. Pure; the real directory and the simulated one share it.
 */
import { createHash } from "node:crypto";
import type { FileRow, UploadRole } from "../job/effect.ts";

/** Named by the scheduler or the container runtime in `.emx2/`. */
const runLog = /^(slurm-[^/]*\.(out|err)|container-(stdout|stderr)\.log)$/;
const progressFiles: ReadonlySet<string> = new Set([".hpc_progress.jsonl", ".hpc_progress.json"]);

export const controlDirectory = ".emx2";

/** A job directory, and where its output directories lie if not in it. Both absolute. */
export interface Place {
  readonly dir: string;
  readonly outputBase?: string;
}

/** What holds the `directory` of an output's or log's row. */
export function rootOf({ dir, outputBase = dir }: Place, row: Pick<FileRow, "directory">): string {
  return row.directory === controlDirectory ? dir : outputBase;
}

/**
 * EMX2's hash of an artifact: of one file its SHA-256, of several the SHA-256 over `path:sha256` of all of them, without
 * separators, in the order of the paths' UTF-16 code units (Java's order, and that of JavaScript's plain sort), in which
 * `files` are to come.
 */
export function contentHash(files: Iterable<Pick<FileRow, "path" | "sha256">>): string {
  const hash = createHash("sha256");
  const first: string[] = [];
  for (const file of files) {
    const sha256 = hashOf(file);
    if (first.length < 2) first.push(sha256);
    hash.update(`${file.path}:${sha256}`);
  }
  const [only] = first;
  return only !== undefined && first.length === 1 ? only : hash.digest("hex");
}

function hashOf({ path, sha256 }: Pick<FileRow, "path" | "sha256">): string {
  if (sha256 === undefined) throw new Error(`${path} has no hash, so that what it is part of can have none`);
  return sha256;
}

/** Where a file of the output directory belongs; null: progress, which is told while the job runs and never uploaded. */
export function roleOfOutput(path: string): UploadRole | null {
  if (progressFiles.has(path)) return null;
  const name = path.slice(path.lastIndexOf("/") + 1);
  return name.startsWith("slurm-") || name.endsWith(".log") ? "log" : "output";
}

/** Whether a file of `.emx2/` is part of the log artifact. */
export function isRunLog(name: string): boolean {
  return runLog.test(name);
}

/** A file that was found and hashed. */
export interface FoundFile extends Pick<FileRow, "directory" | "diskPath" | "bytes" | "mtimeMs" | "cut"> {
  /** As it is to be called in the artifact: its place below `directory`, unless `diskPath` names another. */
  readonly path: string;
  /** Its own name can not be had: one that another file has goes to that file. */
  readonly isEscaped?: boolean;
  readonly sha256: string;
}
