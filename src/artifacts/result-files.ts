/**
 * The files of a run that go to EMX2: outputs from its output directory, logs from there and from `.emx2/`. An output
 * that can not be taken makes the whole set impossible, since a job must not end COMPLETED with a part of its results;
 * a log that can not be taken is left out with a warning, since the others may say why the job failed.
 */
import { type FileHandle, readdir } from "node:fs/promises";
import { errnoOf, StorageError } from "../errors.ts";
import type { UploadRole } from "../job/effect.ts";
import { factsOf, hashFile } from "./file-content.ts";
import type { Listed, OutputPlace } from "./job-files.ts";
import { controlDirectory, type FoundFile, isRunLog, numberRows, roleOfOutput } from "./manifest.ts";
import { orNothing } from "./missing.ts";
import { entry, openRegular, withDirectory } from "./no-follow.ts";
import { quote } from "./path.ts";
import { readSeal, type SealedFile } from "./seal.ts";
import type { Progress } from "./storage-fault.ts";
import { walk } from "./walk.ts";

const maxNamesLeftOut = 10;

interface Search {
  readonly place: OutputPlace;
  readonly role: UploadRole;
  /** Owner of the directory that is searched. Not our own uid: network file systems may show another for what we make. */
  readonly uid: number;
  readonly warn: (message: string) => void;
  readonly progress: Progress;
  /** What is still to be found of what the run has sealed. */
  readonly seal: Map<string, SealedFile>;
}

export async function findFiles(search: Omit<Search, "uid" | "seal">): Promise<Listed> {
  const { place, role } = search;
  const seal = await sealFor(place, role);
  const { dir, outputBase = dir, outputDir } = place;
  const found: FoundFile[] = [];
  const leftOut = { count: 0, names: [] };
  if (role === "log") {
    const full = { ...search, uid: await ownerOf(dir), seal };
    const collectLogs = () => withDirectory(dir, [controlDirectory], (control) => collectRunLogs(full, control, found));
    await orNothing(dir, collectLogs, undefined);
  }
  try {
    const full = { ...search, uid: await ownerOf(outputBase), seal };
    await withDirectory(outputBase, [outputDir], (output) => collectResults(full, output, found, leftOut));
  } catch (error) {
    outputDirectoryOut(search, error);
  }
  const unseen = [...seal.keys()];
  return {
    ...{ rows: numberRows(role, found), leftOut },
    ...(unseen.length === 0
      ? {}
      : { unseen: { count: unseen.length, names: unseen.slice(0, maxNamesLeftOut).map(quote) } }),
  };
}

/** Logs are still written to while the outputs are sealed. */
async function sealFor(place: OutputPlace, role: UploadRole): Promise<Map<string, SealedFile>> {
  const { dir, outputDir, manifestSha256 } = place;
  if (role === "log" || manifestSha256 === undefined) return new Map();
  const seal = (await readSeal(dir, outputDir, manifestSha256)) ?? new Map<string, SealedFile>();
  return new Map([...seal].filter(([path]) => roleOfOutput(path) === role));
}

function ownerOf(dir: string): Promise<number> {
  return withDirectory(dir, [], async (root) => (await root.stat()).uid);
}

/** The output directory can not be entered: what the run's own logs do not mind, and outputs may have to wait for. */
function outputDirectoryOut(search: Pick<Search, "place" | "role" | "warn">, error: unknown): void {
  const code = errnoOf(error);
  if (code === "ENOENT" && search.role === "log") return;
  if (code !== "ENOTDIR" && code !== "EACCES") throw error;
  refuse(search, search.place.outputDir, `the output directory can not be opened (${code})`);
}

async function collectRunLogs(search: Search, control: FileHandle, found: FoundFile[]): Promise<void> {
  for (const name of await readdir(entry(control, "."))) {
    if (isRunLog(name)) await collect(search, control, name, { directory: controlDirectory, path: name }, found);
  }
}

async function collectResults(
  search: Search,
  output: FileHandle,
  found: FoundFile[],
  leftOut: { count: number; readonly names: string[] },
): Promise<void> {
  for await (const walked of walk(output)) {
    search.progress.step();
    if (walked.is === "left out") {
      leftOut.count += 1;
      if (leftOut.names.length < maxNamesLeftOut) leftOut.names.push(`${quote(walked.path)} (${walked.why})`);
      continue;
    }
    const whole = walked.is === "trouble" && walked.whole;
    if (!whole && roleOfOutput(walked.path) !== search.role) continue;
    if (walked.is === "trouble") refuse(search, walked.path, walked.why);
    else {
      const { directory, name, path } = walked;
      await collect(search, directory, name, { directory: search.place.outputDir, path }, found);
    }
  }
}

async function collect(
  search: Search,
  directory: FileHandle,
  name: string,
  as: { readonly directory: string; readonly path: string },
  found: FoundFile[],
): Promise<void> {
  let file: FileHandle | null;
  try {
    file = await openRegular(directory, name);
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT") return;
    if (code !== "EACCES") throw error;
    return refuse(search, as.path, "it can not be read (EACCES)");
  }
  if (file === null) return refuse(search, as.path, "it is no regular file any more");
  try {
    // A hard link to a file of somebody else's would otherwise be uploaded as if it were the job's.
    const { uid } = await file.stat();
    if (uid !== search.uid) return refuse(search, as.path, `it belongs to another user (uid ${uid})`);
    const sealed = search.seal.get(as.path);
    if (sealed === undefined) found.push({ ...as, ...(await hashFile(file, as.path, search.progress)) });
    else if (await isAsSealed(file, sealed)) {
      search.seal.delete(as.path);
      found.push({ ...as, ...sealed });
    }
  } finally {
    await file.close();
  }
}

async function isAsSealed(file: FileHandle, { bytes, mtimeMs }: SealedFile): Promise<boolean> {
  const facts = await factsOf(file);
  return facts.size === bytes && facts.mtimeMs === mtimeMs;
}

function refuse(search: Pick<Search, "role" | "warn">, path: string, why: string): void {
  const message = `${search.role} ${quote(path)} can not be uploaded: ${why}`;
  if (search.role !== "log")
    throw new StorageError(message, { code: "EINVAL", syscall: "list", path, permanent: true });
  search.warn(message);
}
