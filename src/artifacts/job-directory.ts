/**
 * The job directory on the real file system. Whatever a job may have left there (links, FIFOs, files that change, names
 * of any bytes) is looked at with suspicion: see `no-follow.ts` for how a path is walked, `whole-file.ts` for how a file
 * gets there. Faults of the file system are StorageErrors, content that is not what it should be is an IntegrityError.
 */
import { type FileHandle, mkdir, readdir, readlink, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Clock } from "../clock.ts";
import type { FileRow } from "../job/effect.ts";
import type { Receipts, RunRef } from "../job/run.ts";
import type { Log } from "../log.ts";
import { hashFile, readHeldStill } from "./file-content.ts";
import type { ControlFile, JobFiles, Owner } from "./job-files.ts";
import { controlDirectory } from "./manifest.ts";
import { entry, makeDirectory, openRegular, readSmallFile, withDirectory } from "./no-follow.ts";
import { takeOwnership } from "./owner.ts";
import { checkArtifactPath } from "./path.ts";
import { maxReceiptBytes, readReceipts } from "./receipts.ts";
import { removeJobDirectory } from "./removal.ts";
import { findFiles } from "./result-files.ts";
import { lastLines, readTail, stderrNames } from "./stderr-tail.ts";
import { answeredWithin, errnoOf, onDisk } from "./storage-fault.ts";
import { writeAll, writeStream, writeWhole } from "./whole-file.ts";

/** For acts that touch a few small files. What streams is not bounded in time here. */
const shortActTimeoutMs = 60_000;

/** Of warnings that were given already, so that what a poll sees each time is said once. */
const maxRemembered = 10_000;

export interface JobDirectoryOptions {
  readonly clock: Clock;
  /** UUID of this daemon's state: only directories that it owns are ever removed. */
  readonly state: string;
  readonly log: Log;
}

/** The directory that holds the job directories (tmp_dir) has to exist: where it does not, its file system is missing. */
export function createJobDirectory({ clock, state, log }: JobDirectoryOptions): JobFiles {
  const warnOnce = once(log);
  const short = <T>(act: string, dir: string, work: () => Promise<T>) =>
    onDisk(act, dir, () => answeredWithin(clock, shortActTimeoutMs, dir, work()));
  return {
    create: (dir, owner) => short("make", dir, () => create(dir, owner)),
    writeControl: (dir, files) => short("write to", dir, () => writeControl(dir, files)),
    writeInput: (dir, row, body) => onDisk("write an input to", dir, () => writeInput(dir, row, body)),
    hasInput: (dir, row) => onDisk("look for an input in", dir, () => hasInput(dir, row)),
    receipts: (run) => short("read receipts in", run.dir, () => receipts(run, warnOnce(run.dir))),
    list: (dir, outputDir, role) =>
      onDisk(`list ${role} files of`, dir, () => {
        const find = () => findFiles({ dir, outputDir, role, warn: warnOnce(dir) });
        return role === "log" ? unlessGone(dir, find, []) : find();
      }),
    read: (dir, row) => readHeldStill(row, () => onDisk("read from", dir, () => openRow(dir, row))),
    stderrTail: (dir, schedulerId, lines) =>
      short("read stderr in", dir, () => unlessGone(dir, () => stderrTail(dir, schedulerId, lines), [])),
    remove: (dir) => onDisk("remove", dir, () => removeJobDirectory(dir, state)),
  };
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
  const isNew = await makeJobDirectory(dir);
  return withDirectory(dir, [], async (root) => {
    const { uid } = await root.stat();
    await makeDirectory(entry(root, controlDirectory));
    // The owner file comes first: whatever else is there has an owner, through any crash.
    const other = await withDirectory(dir, [controlDirectory], (control) =>
      takeOwnership(control, owner, isNew || uid === owner.uid),
    );
    if (other !== null) return { is: "foreign", owner: other };
    for (const part of ["input", "output", "work", "scratch"]) await makeDirectory(entry(root, part));
    return { is: "ours" };
  });
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

function writeInput(
  dir: string,
  row: FileRow,
  body: ReadableStream<Uint8Array>,
): Promise<{ bytes: number; sha256: string }> {
  const { parents, name } = placeOf(row);
  return withDirectory(dir, [controlDirectory], (control) =>
    withDirectory(
      dir,
      parents,
      (directory) =>
        writeWhole({ control, temporary: `.input.${row.index}.new`, directory, name }, 0o600, (file) =>
          writeStream(file, body, { what: row.path, bytes: row.bytes, sha256: row.sha256 }),
        ),
      { create: true },
    ),
  );
}

async function hasInput(dir: string, row: FileRow): Promise<boolean> {
  if (row.sha256 === undefined) return false;
  const file = await openRow(dir, row);
  if (file === null) return false;
  try {
    if ((await file.stat()).size !== row.bytes) return false;
    return (await hashFile(file, row.path)).sha256 === row.sha256;
  } finally {
    await file.close();
  }
}

/** Somebody removed it. Where what should hold it is missing too, its file system is not mounted: that throws. */
async function isGone(dir: string): Promise<boolean> {
  try {
    await stat(dir);
    return false;
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    await stat(dirname(dir));
    return true;
  }
}

/** A run whose directory is gone has no logs, and its end can still be told. */
async function unlessGone<T>(dir: string, look: () => Promise<T>, nothing: T): Promise<T> {
  return (await isGone(dir)) ? nothing : look();
}

async function receipts(run: RunRef, warn: (message: string) => void): Promise<Receipts> {
  const nothing = { restart: 0, lost: [] };
  if (await isGone(run.dir)) return { directory: false, ...nothing };
  try {
    return await withDirectory(run.dir, [controlDirectory], async (control) => {
      const names = await readdir(entry(control, "."));
      const link = (name: string) => linkTarget(control, name);
      const file = (name: string) => readSmallFile(control, name, maxReceiptBytes);
      return readReceipts(run.attempt, { names, link, file }, warn);
    });
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    return { directory: true, ...nothing };
  }
}

/** null: there is no such symbolic link. */
async function linkTarget(directory: FileHandle, name: string): Promise<string | null> {
  try {
    return await readlink(entry(directory, name));
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "EINVAL") return null;
    throw error;
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

function placeOf(row: FileRow): { readonly parents: readonly string[]; readonly name: string } {
  const segments = [...segmentsOf(row.directory), ...segmentsOf(row.diskPath ?? row.path)];
  return { parents: segments.slice(0, -1), name: segments.at(-1) ?? "" };
}

/** Paths were checked where they came in; one that is bad here is a bug of ours, and goes no further. */
function segmentsOf(path: string): readonly string[] {
  const checked = checkArtifactPath(path);
  if ("refused" in checked) throw new Error(`a path reached the job directory unchecked: ${checked.refused}`);
  return checked.ok;
}
