/**
 * The files of a run that go to EMX2: outputs from its output directory, logs from there and from `.emx2/`. An output
 * that can not be taken makes the whole set impossible, since a job must not end COMPLETED with a part of its results;
 * a log that can not be taken is left out with a warning, since the others may say why the job failed.
 */
import { type FileHandle, lstat, readdir } from "node:fs/promises";
import { errnoOf, StorageError } from "../errors.ts";
import type { UploadRole } from "../job/effect.ts";
import type { LeftOut } from "../job/job.ts";
import { containerScriptName, outputInside } from "../job/script.ts";
import type { Name } from "./disk-path.ts";
import { hashFile } from "./file-content.ts";
import { factsOf } from "./file-facts.ts";
import type { Listed, Listing, OutputPlace } from "./job-files.ts";
import { hashLog } from "./log-content.ts";
import { controlDirectory, type FoundFile, isRunLog, roleOfOutput } from "./manifest.ts";
import { orNothing } from "./missing.ts";
import { entry, openRegular, withDirectory } from "./no-follow.ts";
import { quote } from "./path.ts";
import { ResultRows } from "./result-rows.ts";
import { readSeal, type Seal, type SealedFile } from "./seal.ts";
import type { Progress } from "./storage-fault.ts";
import { walk } from "./walk.ts";

const maxNamesLeftOut = 10;

/** What a search has come upon. */
interface Noted {
  readonly found: ResultRows;
  readonly leftOut: Names;
  readonly emptyDirectories: Names;
  /** Logs that are still being written to. */
  readonly growing: Names;
}

interface Asked extends Listing {
  readonly place: OutputPlace;
  readonly role: UploadRole;
  readonly warn: (message: string) => void;
  readonly progress: Progress;
}

interface Search extends Asked, Noted {
  /** Owner of the directory that is searched. Not our own uid: network file systems may show another for what we make. */
  readonly uid: number;
  /** null: the run has none. */
  readonly seal: Seal | null;
  readonly sealsNothing: boolean;
}

interface Names {
  count: number;
  readonly names: string[];
}

export async function findFiles(asked: Asked): Promise<Listed> {
  const { place, role } = asked;
  const isSealed = role === "output" && place.manifestSha256 !== undefined;
  using seal = isSealed ? await sealOf(asked) : null;
  // The job may have written it itself, to end COMPLETED without a result. No time tells: those of its own manifest are as the
  // job has set them, and a file that comes later may bring an old one with it. Of no file can one be missed.
  const sealsNothing = seal?.namesNoOutput() ?? false;
  const { dir, outputBase = dir, outputDir } = place;
  using scope = new DisposableStack();
  const found = scope.use(new ResultRows(role));
  const noted: Noted = { found, growing: noNames(), leftOut: noNames(), emptyDirectories: noNames() };
  const searchIn = async (root: string): Promise<Search> => ({
    ...asked,
    ...noted,
    seal,
    sealsNothing,
    uid: await ownerOf(root),
  });
  if (role === "log") {
    const search = await searchIn(dir);
    const collectLogs = () => withDirectory(dir, [controlDirectory], (control) => collectRunLogs(search, control));
    await orNothing(dir, collectLogs, undefined);
  }
  try {
    const search = await searchIn(outputBase);
    await withDirectory(outputBase, [outputDir], (output) => collectResults(search, output));
  } catch (error) {
    outputDirectoryOut({ ...asked, ...noted }, error);
  }
  const unseen = seal?.unseen(maxNamesLeftOut) ?? { count: isSealed ? 1 : 0, names: [manifestItself] };
  const listed = listedOf(asked, noted, unseen);
  if (sealsNothing && listed.rows.total > 0)
    asked.warn(`the job's seal names no output, and ${listed.rows.total} are there: they are hashed on this host`);
  // Whoever asked may have given up; then nobody takes the rows.
  asked.progress.step();
  scope.move();
  return listed;
}

function listedOf(
  { role, warn }: Asked,
  { found, growing, leftOut, emptyDirectories }: Noted,
  unseen: LeftOut,
): Listed {
  const rows = found.named();
  const escaped = found.escaped(maxNamesLeftOut);
  if (unseen.count === 0) {
    if (role === "output" && leftOut.count > 0)
      warn(`${leftOut.count} left out of the outputs: ${leftOut.names.join(", ")}`);
    if (escaped)
      warn(
        `${escaped.count} ${role} file(s) whose names EMX2 can not take get others: ${escaped.names.map(quote).join(", ")}`,
      );
  }
  const count = leftOut.count + emptyDirectories.count;
  return {
    ...{ rows, leftOut: { count, names: first([...leftOut.names, ...emptyDirectories.names]) } },
    ...(escaped && { escaped }),
    ...(unseen.count === 0 ? {} : { unseen: { count: unseen.count, names: unseen.names.map(quote) } }),
    ...(growing.count === 0 ? {} : { growing }),
  };
}

function noNames(): Names {
  return { count: 0, names: [] };
}

async function sealOf({ place: { dir, outputDir, manifestSha256 }, progress }: Asked): Promise<Seal | null> {
  return manifestSha256 === undefined ? null : await readSeal(dir, outputDir, manifestSha256, () => progress.step());
}

/** Without it outputs that are not to be seen would not be missed. */
const manifestItself = "the list of them, .emx2/manifest";

function ownerOf(dir: string): Promise<number> {
  return withDirectory(dir, [], async (root) => (await root.stat()).uid);
}

/** The output directory can not be entered: what the run's own logs do not mind, and outputs may have to wait for. */
function outputDirectoryOut(search: Asked & Noted, error: unknown): void {
  const code = errnoOf(error);
  if (code === "ENOENT" && search.role === "log") return;
  if (code !== "ENOTDIR" && code !== "EACCES") throw error;
  refuse(search, search.place.outputDir, `the output directory can not be opened (${code})`);
}

async function collectRunLogs(search: Search, control: FileHandle): Promise<void> {
  for (const name of await readdir(entry(control, "."))) {
    if (!isRunLog(name)) continue;
    await collect(search, control, name, { directory: controlDirectory, path: name, diskPath: name, isLinked: false });
  }
}

async function collectResults(search: Search, output: FileHandle): Promise<void> {
  const { dir, outputBase = dir, outputDir } = search.place;
  const how = {
    plainNames: search.plainNames ?? false,
    mountedAt: search.readInPlace ? undefined : await mountPoint(dir),
  };
  for await (const walked of walk(output, `${outputBase}/${outputDir}`, how)) {
    search.progress.step();
    if (walked.is === "link") {
      mustBeNoFile(search, walked.diskPath, "symbolic link");
      if (search.seal?.get(walked.diskPath) === "link") search.seal.found(walked.diskPath);
    } else if (walked.is === "left out") noteOutput(search, search.leftOut, walked.path, walked.why);
    else if (walked.is === "empty directory")
      noteOutput(search, search.emptyDirectories, walked.path, "empty directory");
    else if (walked.is === "trouble") {
      if (walked.whole || roleOfOutput(walked.path) === search.role) refuse(search, walked.path, walked.why);
    } else if (roleOfOutput(walked.path) === search.role) {
      const { is: _file, directory, name, ...as } = walked;
      await collect(search, directory, name, { ...as, directory: outputDir });
    }
  }
}

/** Nothing late: a file that has become something else will not be one again. */
function mustBeNoFile(search: Search, path: string, what: string): void {
  if (typeof search.seal?.get(path) === "object")
    refuse(search, path, `it was a file at the job's end, and is now another thing (${what})`);
}

/** Where a job that ran in an image knew its output directory; undefined: it ran in none. */
async function mountPoint(dir: string): Promise<string | undefined> {
  try {
    await lstat(`${dir}/${controlDirectory}/${containerScriptName}`);
    return outputInside;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** What is no file belongs to the outputs. */
function noteOutput(search: Search, names: Names, path: string, why: string): void {
  mustBeNoFile(search, path, why);
  if (search.role === "output") note(names, path, why);
}

function note(names: Names, path: string, why?: string): void {
  names.count += 1;
  if (names.names.length < maxNamesLeftOut)
    names.names.push(why === undefined ? quote(path) : `${quote(path)} (${why})`);
}

function first(names: readonly string[]): readonly string[] {
  return names.slice(0, maxNamesLeftOut);
}

interface As extends Pick<FoundFile, "directory" | "path" | "isEscaped"> {
  readonly diskPath: string;
  readonly isLinked: boolean;
}

async function collect(search: Search, directory: FileHandle, name: Name, as: As): Promise<void> {
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
    const { isLinked, ...placed } = as;
    if (search.role === "log") return await collectLog(search, file, placed);
    const sealed = search.seal?.get(as.diskPath);
    if (search.seal && sealed === undefined && !search.sealsNothing)
      return note(search.leftOut, as.path, "not sealed at the job's end");
    const changed = typeof sealed === "object" ? await changeSince(file, sealed) : undefined;
    if (changed !== undefined) return refuse(search, as.path, changed);
    const content = await contentOf(file, sealed, as.path, search.progress);
    if (content) search.found.add({ ...placed, ...content });
    // Each name counts for itself: what a link shows already may not stand in its own directory yet.
    if (content && !isLinked) search.seal?.found(as.diskPath);
    if (!content && isLinked) search.seal?.missed(as.path);
  } finally {
    await file.close();
  }
}

/** null: it is not as it was sealed. */
async function contentOf(
  file: FileHandle,
  sealed: SealedFile | "link" | undefined,
  name: string,
  progress: Progress,
): Promise<SealedFile | null> {
  if (sealed === undefined) return hashFile(file, name, progress);
  return sealed !== "link" && (await isAsSealed(file, sealed)) ? sealed : null;
}

async function collectLog(search: Search, file: FileHandle, as: Omit<As, "isLinked">): Promise<void> {
  // What the job itself has left may be a result, whatever it is called: it is never cut.
  const maxBytes = as.directory === controlDirectory ? search.maxLogBytes : undefined;
  const content = await hashLog(file, as, maxBytes, search.progress);
  if (content?.mtimeMs === undefined) note(search.growing, as.path);
  if (content === null) refuse(search, as.path, "it was truncated while it was read");
  else search.found.add({ ...as, ...content });
}

async function isAsSealed(file: FileHandle, { bytes, mtimeMs }: SealedFile): Promise<boolean> {
  const facts = await factsOf(file);
  return facts.size === bytes && facts.mtimeMs === mtimeMs;
}

/**
 * What a network file system shows late is older than what was sealed, though it may have been longer then. Both times are of
 * the same clock, whichever it is, and both are cut to milliseconds.
 */
async function changeSince(file: FileHandle, sealed: SealedFile): Promise<string | undefined> {
  const { size, mtimeMs } = await factsOf(file);
  if (mtimeMs < sealed.mtimeMs || (mtimeMs === sealed.mtimeMs && size <= sealed.bytes)) return undefined;
  const then = `${sealed.bytes} bytes of ${new Date(sealed.mtimeMs).toISOString()}`;
  const now = `${size} bytes of ${new Date(mtimeMs).toISOString()}`;
  return `it was changed after the job's end: ${then}, now ${now}; does a process of the job go on?`;
}

function refuse(search: Pick<Search, "role" | "warn" | "leftOut">, path: string, why: string): void {
  const message = `${search.role} ${quote(path)} can not be uploaded: ${why}`;
  if (search.role !== "log")
    throw new StorageError(message, { code: "EINVAL", syscall: "list", path, permanent: true });
  search.warn(message);
  note(search.leftOut, path, why);
}
