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
 * separators, in the order of the paths' UTF-16 code units (Java's order, and that of JavaScript's plain sort).
 */
export function contentHash(files: readonly Pick<FileRow, "path" | "sha256">[]): string {
  const [only] = files;
  if (only !== undefined && files.length === 1) return hashOf(only);
  const hash = createHash("sha256");
  for (const file of [...files].sort(byPath)) hash.update(`${file.path}:${hashOf(file)}`);
  return hash.digest("hex");
}

function hashOf({ path, sha256 }: Pick<FileRow, "path" | "sha256">): string {
  if (sha256 === undefined) throw new Error(`${path} has no hash, so that what it is part of can have none`);
  return sha256;
}

export function sumBytes(files: readonly { readonly bytes: number }[]): number {
  return files.reduce((sum, file) => sum + file.bytes, 0);
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
export interface FoundFile {
  readonly directory: string;
  /** As it is to be called in the artifact: its place below `directory`, unless `diskPath` names another. */
  readonly path: string;
  readonly diskPath?: string;
  /** Its own name can not be had: one that another file has goes to that file. */
  readonly isEscaped?: boolean;
  readonly bytes: number;
  readonly mtimeMs?: number;
  readonly sha256: string;
  readonly cut?: NonNullable<FileRow["cut"]>;
}

/**
 * The rows of an artifact, sorted and numbered. A log of the job's own that can not lie beside one of the run's logs, since
 * that has its name or the name of its directory, is moved below `output/` in the artifact, deeper until nothing is there.
 * An escaped name that is another file's, or that of its directory, gets one `%25` more in front, until it is nobody's.
 */
export function numberRows(role: UploadRole, files: readonly FoundFile[]): NumberedRow[] {
  const ours = files.filter((file) => file.directory === controlDirectory);
  const theirs = files.filter((file) => file.directory !== controlDirectory);
  const ourNames = new Set(ours.map((file) => file.path));
  const collides = ({ path }: FoundFile) => ourNames.has(path.split("/", 1)[0] ?? "");
  const stay = theirs.filter((file) => !file.isEscaped && !collides(file));
  const taken = { files: new Set<string>(), directories: new Set<string>() };
  const named: { readonly file: FoundFile; readonly path: string }[] = ours.map((file) => ({ file, path: file.path }));
  const isFree = (path: string) =>
    !taken.files.has(path) &&
    !taken.directories.has(path) &&
    !parentsOf(path).some((parent) => taken.files.has(parent));
  const take = (file: FoundFile, path: string) => {
    taken.files.add(path);
    for (const parent of parentsOf(path)) taken.directories.add(parent);
    named.push({ file, path });
  };
  // Both loops end: each turn begins with what fewer of the files begin with.
  const takeFree = (file: FoundFile, first: string, before: string) => {
    let path = first;
    while (!isFree(path)) path = before + path;
    take(file, path);
  };
  for (const file of stay) take(file, file.path);
  const moved = theirs.filter((file) => file.isEscaped || collides(file)).sort(byPlace);
  for (const file of moved) if (!collides(file)) takeFree(file, file.path, "%25");
  for (const file of moved) if (collides(file)) takeFree(file, `output/${file.path}`, "output/");
  return named.sort(byPath).map(({ file, path }, index) => rowOf(role, index, file, path));
}

/** `isEscaped`: its name on disk is not UTF-8. */
export type NumberedRow = FileRow & Pick<FoundFile, "isEscaped">;

function rowOf(role: UploadRole, index: number, file: FoundFile, path: string): NumberedRow {
  const { directory, bytes, sha256, mtimeMs, cut, isEscaped } = file;
  const diskPath = file.diskPath ?? file.path;
  return {
    ...{ role, index, directory, path, bytes, sha256 },
    ...(mtimeMs === undefined ? {} : { mtimeMs }),
    ...(cut === undefined ? {} : { cut }),
    ...(diskPath === path ? {} : { diskPath }),
    ...(isEscaped ? { isEscaped } : {}),
  };
}

function parentsOf(path: string): string[] {
  const segments = path.split("/");
  return segments.slice(1).map((_, index) => segments.slice(0, index + 1).join("/"));
}

function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

function byPlace(a: FoundFile, b: FoundFile): number {
  return byPath(a, b) || byPath({ path: a.diskPath ?? "" }, { path: b.diskPath ?? "" });
}
