/**
 * The job directory on the real file system. Whatever a job may have left there (links, FIFOs, files that change, names
 * of any bytes) is looked at with suspicion: see `no-follow.ts` for how a path is walked, `whole-file.ts` for how a file
 * gets there. Faults of the file system are StorageErrors, content that is not what it should be is an IntegrityError.
 */
import { type FileHandle, lstat, mkdir, stat } from "node:fs/promises";
import { basename } from "node:path";
import type { Clock } from "../clock.ts";
import { errnoOf, StorageError } from "../errors.ts";
import type { FileRow } from "../job/effect.ts";
import type { Log } from "../log.ts";
import { type Name, segmentsOf, segmentsOnDisk } from "./disk-path.ts";
import { hashFile, readHeldStill } from "./file-content.ts";
import { noRows } from "./file-rows.ts";
import { findJobDirectory, unreceiptedMark } from "./found.ts";
import { imageState, lookAtImage } from "./image.ts";
import type { ControlFile, JobFiles, Owner } from "./job-files.ts";
import type { KnownHashes } from "./known-hashes.ts";
import { controlDirectory, rootOf } from "./manifest.ts";
import { createLateness, createWhileThere, isGone, orNothing } from "./missing.ts";
import { entry, makeDirectory, openRegular, readSmallFile, withDirectory } from "./no-follow.ts";
import { replaceOwner, takeOwnership } from "./owner.ts";
import { keepLogs, makeOutputBase } from "./posix-output.ts";
import { readProgress } from "./progress.ts";
import { removeJobDirectory } from "./removal.ts";
import { findFiles } from "./result-files.ts";
import { closeLease, receiptsOf } from "./run-evidence.ts";
import { findSource, hashSource, placeSources, unlessLate } from "./source.ts";
import { unlessBlocked, unlessSpoilt } from "./spoilt.ts";
import { lastLines, readTail, stderrNames } from "./stderr-tail.ts";
import { answeredWithin, onDisk, type Progress } from "./storage-fault.ts";
import { writeAll, writeStream, writeWhole } from "./whole-file.ts";

/** For acts that touch a few small files. */
const shortActTimeoutMs = 60_000;
/** For each step of the others. A step may be the fsync of a large file. */
const stepTimeoutMs = 600_000;

const maxControlBytes = 1024 * 1024;

/** Of warnings that were given already, so that what a poll sees each time is said once. */
const maxRemembered = 10_000;

interface JobDirectoryOptions {
  readonly clock: Clock;
  /** UUID of this daemon's state: only directories that it owns are ever removed. */
  readonly state: string;
  readonly log: Log;
  /** Absent: every posix input is read for every job. */
  readonly knownHashes?: KnownHashes;
}

/** The directory that holds the job directories (tmp_dir) has to exist: where it does not, its file system is missing. */
export function createJobDirectory({ clock, state, log, knownHashes: known }: JobDirectoryOptions): JobFiles {
  const warnOnce = once(log);
  const lateness = createLateness(clock);
  const whileThere = createWhileThere(lateness);
  const short = <T>(act: string, dir: string, work: () => Promise<T>) =>
    onDisk(act, dir, () => answeredWithin(clock, shortActTimeoutMs, dir, work));
  const long = <T>(act: string, dir: string, work: (progress: Progress) => Promise<T>) =>
    onDisk(act, dir, () => answeredWithin(clock, stepTimeoutMs, dir, work));
  return {
    create: (dir, owner) => short("make", dir, () => create(dir, owner)),
    find: (dir, uid) => short("look at", dir, () => findJobDirectory(dir, uid)),
    takeOver: (dir, owner, found) => short("take over", dir, () => takeOver(dir, owner, found === "bare")),
    writeControl: (dir, files) =>
      short("write to", dir, () => whileThere(dir, controlDirectory, () => writeControl(dir, files))),
    readControl: (dir, name) =>
      short("read from", dir, () => whileThere(dir, controlDirectory, () => readControl(dir, name))),
    writeInput: (dir, row, body) =>
      long("write an input to", dir, (progress) =>
        whileThere(dir, controlDirectory, () => writeInput(dir, row, body, progress)),
      ),
    hasInput: (dir, row) =>
      long("look for an input in", dir, (progress) => whileThere(dir, ".", () => hasInput(dir, row, progress))),
    receipts: (run) => short("read receipts in", run.dir, () => receiptsOf(run, warnOnce(run.dir))),
    closeLease: (run, begun) =>
      short("close the lease in", run.dir, () =>
        unlessSpoilt(
          run.dir,
          orNothing(run.dir, () => closeLease(run, begun), { is: "closed" }),
        ),
      ),
    list: (place, role, { signal, ...how } = {}) =>
      long(`list ${role} files of`, place.dir, (untilNow) => {
        const progress = signal ? abortable(untilNow, signal) : untilNow;
        const { dir, outputBase = dir, outputDir } = place;
        const find = () => findFiles({ place, role, ...how, warn: warnOnce(dir), progress });
        const found =
          role === "log"
            ? orNothing(dir, find, { rows: noRows, leftOut: { count: 0, names: [] } })
            : whileThere(outputBase, outputDir, find);
        return unlessSpoilt(dir, found);
      }),
    keepLogs: (place, rows, base, signal) =>
      long("keep logs in", base, (progress) =>
        keepLogs(place, rows, base, signal ? abortable(progress, signal) : progress),
      ),
    read: (place, row) =>
      readHeldStill(row, {
        open: () => whileThere(rootOf(place, row), ".", () => openRow(rootOf(place, row), row)),
        within: (work) => long("read from", rootOf(place, row), work),
      }),
    progress: ({ dir, outputBase = dir, outputDir }) =>
      short("read progress in", dir, () => unlessBlocked(withDirectory(outputBase, [outputDir], readProgress), null)),
    stderrTail: (dir, schedulerId, lines) =>
      short("read stderr in", dir, () =>
        unlessSpoilt(
          dir,
          orNothing(dir, () => stderrTail(dir, schedulerId, lines), []),
        ),
      ),
    remove: (dir, keep = []) => long("remove", dir, (progress) => removeJobDirectory(dir, state, keep, progress)),
    findSource: (path, roots) =>
      short("look for an input at", path, () => unlessLate(lateness, path, findSource(path, roots))),
    hashSource: (wanted, roots, signal) =>
      long("read an input at", wanted.path, (progress) => {
        const now = () => lastWrite(clock, wanted.dir);
        return hashSource(wanted, roots, { known, now, progress: abortable(progress, signal) });
      }),
    lookAtImage: ({ dir, path }, signal) =>
      long("read the image", path, (progress) => {
        const now = () => lastWrite(clock, dir);
        return lookAtImage(path, { known, now, progress: abortable(progress, signal) });
      }),
    imageState: (path) => short("look at the image", path, () => imageState(path)),
    placeSources: (dir, sources, placing) =>
      short("place inputs in", dir, () => whileThere(dir, "input", () => placeSources(dir, sources, placing))),
    makeOutputBase: (base) => short("make", base, () => makeOutputBase(base)),
  };
}

/**
 * When something was last written to the job directory, by the clock of its file system, which most often is that of posix
 * inputs as well: there it is at least as late now. Never later than by our own clock.
 */
async function lastWrite(clock: Clock, dir: string): Promise<number> {
  const written = await stat(`${dir}/${controlDirectory}`).catch(() => null);
  return Math.min(clock.wall(), written?.mtimeMs ?? Number.NEGATIVE_INFINITY);
}

function abortable(progress: Progress, signal: AbortSignal): Progress {
  const step = () => {
    signal.throwIfAborted();
    progress.step();
  };
  return { ...progress, step };
}

function once(log: Log): (dir: string) => (message: string) => void {
  const given = new Set<string>();
  return (dir) => (message) => {
    const key = `${dir}\0${message}`;
    if (given.has(key)) return;
    if (given.size >= maxRemembered) given.clear();
    given.add(key);
    log.warn(message, { jobId: basename(dir) });
  };
}

async function create(dir: string, owner: Owner): ReturnType<JobFiles["create"]> {
  if (await makeJobDirectory(dir)) return await take(dir, owner, true);
  const facts = await lstat(dir);
  if (!facts.isDirectory()) return { is: "foreign", owner: "it is no directory" };
  try {
    return await take(dir, owner, facts.uid === owner.uid);
  } catch (error) {
    if (errnoOf(error) !== "EACCES" || facts.uid === owner.uid) throw error;
    return { is: "foreign", owner: `uid ${facts.uid}` };
  }
}

/** `free`: it is ours where nobody has put an owner into it. */
function take(dir: string, owner: Owner, free: boolean): ReturnType<JobFiles["create"]> {
  return withDirectory(dir, [], async (root) => {
    // In somebody else's nothing is made.
    if (!free && (await isGone(entry(root, controlDirectory)))) return { is: "foreign", owner: "no owner file" };
    await makeDirectory(entry(root, controlDirectory));
    // The owner file comes first: whatever else is there has an owner, through any crash.
    const other = await withDirectory(dir, [controlDirectory], (control) => takeOwnership(control, owner, free));
    if (other !== null) return { is: "foreign", owner: other };
    for (const part of ["input", "output", "work", "scratch"]) await makeDirectory(entry(root, part));
    return { is: "ours" };
  });
}

async function takeOver(dir: string, owner: Owner, isBare: boolean): ReturnType<JobFiles["takeOver"]> {
  await withDirectory(dir, [], (root) => makeDirectory(entry(root, controlDirectory)));
  if (isBare) await writeControl(dir, [{ name: unreceiptedMark, content: "" }]);
  const other = await withDirectory(dir, [controlDirectory], (control) => replaceOwner(control, owner));
  return other === null ? { is: "ours" } : { is: "foreign", owner: other };
}

/** True if it was made, false if it was there. */
async function makeJobDirectory(dir: string): Promise<boolean> {
  try {
    await mkdir(dir, { mode: 0o700 });
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
}

function writeControl(dir: string, files: readonly ControlFile[]): Promise<void> {
  return withDirectory(dir, [controlDirectory], async (control) => {
    for (const { name, content, executable } of files) {
      const place = { control, temporary: `.${name}.new`, directory: control, name: segmentsOf(name).join() };
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      await writeWhole(place, executable ? 0o700 : 0o600, (file) => writeAll(file, bytes));
    }
  });
}

async function readControl(dir: string, name: string): Promise<string | null> {
  const file = await withDirectory(dir, [controlDirectory], (control) => readSmallFile(control, name, maxControlBytes));
  if (file === null || "text" in file) return file?.text ?? null;
  const failure = { code: "EINVAL", syscall: "read", path: `${dir}/${controlDirectory}/${name}`, permanent: true };
  throw new StorageError(`${failure.path} ${file.unreadable}`, failure);
}

function writeInput(
  dir: string,
  row: FileRow,
  body: ReadableStream<Uint8Array>,
  progress: Progress,
): Promise<{ bytes: number; sha256: string }> {
  const { parents, name } = placeOf(row);
  return withDirectory(dir, [controlDirectory], (control) =>
    withDirectory(
      dir,
      parents,
      (directory) =>
        writeWhole(
          { control, temporary: `.input.${row.index}.new`, directory, name },
          0o600,
          (file) => writeStream(file, body, { what: row.path, bytes: row.bytes, sha256: row.sha256 }, progress),
          progress,
        ),
      { create: true },
    ),
  );
}

async function hasInput(dir: string, row: FileRow, progress: Progress): Promise<boolean> {
  if (row.sha256 === undefined) return false;
  const file = await openRow(dir, row);
  if (file === null) return false;
  try {
    if ((await file.stat()).size !== row.bytes) return false;
    return (await hashFile(file, row.path, progress)).sha256 === row.sha256;
  } finally {
    await file.close();
  }
}

/** null: there is no such regular file. */
async function openRow(dir: string, row: FileRow): Promise<FileHandle | null> {
  const { parents, name } = placeOf(row);
  try {
    return await withDirectory(dir, parents, (directory) => openRegular(directory, name));
  } catch (error) {
    const code = errnoOf(error);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
    await stat(dir); // throws where all of the directory is out of reach, which says nothing about one file
    return null;
  }
}

function stderrTail(dir: string, schedulerId: string | undefined, lines: number): Promise<readonly string[]> {
  return withDirectory(dir, [controlDirectory], async (control) => {
    for (const name of stderrNames(schedulerId)) {
      const tail = await readTail(control, name);
      if (tail !== null && tail.bytes.length > 0) return lastLines(tail, lines);
    }
    return [];
  });
}

function placeOf(row: FileRow): { readonly parents: readonly Name[]; readonly name: Name } {
  const segments = segmentsOnDisk(row);
  return { parents: segments.slice(0, -1), name: segments.at(-1) ?? "" };
}
