/**
 * What a job directory says of itself to a daemon that does not know it: whose it is, how far the job had come, which run
 * has it. All of it lies where the job itself can write: what is no link, no small regular file or no number is not there,
 * and what is read here is compared with the configuration before anything is built on it.
 */
import { type FileHandle, lstat, readdir } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { holderOfLease } from "../job/run.ts";
import { controlDirectory } from "./manifest.ts";
import { isGone } from "./missing.ts";
import { entry, openDirectory, readSmallFile } from "./no-follow.ts";
import { type Ownership, ownerFile, readOwner } from "./owner.ts";
import { linkTarget } from "./run-evidence.ts";

export type Found =
  | { readonly is: "nothing" }
  /** Nothing that a daemon of ours could have made, and why. */
  | { readonly is: "stranger"; readonly why: string }
  /** A job directory without `.emx2/`: the Python daemon's. */
  | { readonly is: "bare"; readonly since: number }
  | FoundDirectory;

export interface FoundDirectory {
  readonly is: "directory";
  readonly ownership: Ownership;
  /** Its script is whole: it may have been submitted. */
  readonly scripted: boolean;
  /** It was taken over from the Python daemon, whose run leaves no receipts. */
  readonly unreceipted: boolean;
  readonly lease?: FoundLease;
  /** What the script takes for the place of its outputs; `unusable`: nobody can tell. Absent: the job directory. */
  readonly outputBase?: string | { readonly unusable: string };
  /** When the oldest of its parts was last written, wall clock milliseconds of its file system. */
  readonly since: number;
}

/** The newest attempt that was taken. */
export interface FoundLease {
  readonly attempt: string;
  /** The run that has it; absent: the daemon closed it, or the job has spoilt it. */
  readonly schedulerId?: string;
}

const maxOutputBaseBytes = 8 * 1024;
/** As many attempts as nobody ever makes. */
const leaseName = /^lease\.a([1-9]\d{0,2})$/;
export const unreceiptedMark = "unreceipted";
/** The last file of a script, but for `output-base`: with it all are there. */
const lastOfScript = "parameters.json";

/** `uid`: ours. A directory that another account has made may say what it likes. */
export async function findJobDirectory(dir: string, uid: number): Promise<Found> {
  const root = await opened(dir);
  if (root === null) return (await isGone(dir)) ? { is: "nothing" } : stranger("was just made");
  if ("why" in root) return stranger(root.why);
  try {
    const made = await root.stat();
    if (made.uid !== uid) return stranger(`belongs to uid ${made.uid}`);
    const control = await opened(entry(root, controlDirectory));
    if (control === null) return { is: "bare", since: await oldest(root, ["input"], made.mtimeMs) };
    if ("why" in control) return stranger(`has no ${controlDirectory} any more: it ${control.why}`);
    try {
      return await readControl(control);
    } finally {
      await control.close();
    }
  } finally {
    await root.close();
  }
}

function stranger(why: string): Found {
  return { is: "stranger", why };
}

/** null: there is none. */
async function opened(path: string): Promise<FileHandle | { readonly why: string } | null> {
  try {
    return await openDirectory(path);
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT") return null;
    if (code === "ENOTDIR" || code === "ELOOP") return { why: "is no directory" };
    if (code === "EACCES") return { why: "can not be entered (EACCES)" };
    throw error;
  }
}

async function readControl(control: FileHandle): Promise<FoundDirectory> {
  const names = await readdir(entry(control, "."));
  const lease = await newestLease(control, names);
  const outputBase = await readOutputBase(control);
  return {
    is: "directory",
    ownership: await readOwner(control),
    scripted: names.includes(lastOfScript),
    unreceipted: names.includes(unreceiptedMark),
    ...(lease === undefined ? {} : { lease }),
    ...(outputBase === undefined ? {} : { outputBase }),
    since: await oldest(control, [ownerFile, "job.sh"], (await control.stat()).mtimeMs),
  };
}

/** One that a run has stands before those that were closed; among equals the newest. */
async function newestLease(control: FileHandle, names: readonly string[]): Promise<FoundLease | undefined> {
  const numbers = names.flatMap((name) => leaseName.exec(name)?.[1] ?? []).map(Number);
  let closed: FoundLease | undefined;
  for (const number of numbers.sort((a, b) => b - a)) {
    const attempt = `a${number}`;
    const target = await linkTarget(control, `lease.${attempt}`);
    if (target === null) continue;
    const schedulerId = holderOfLease(target);
    if (schedulerId !== undefined) return { attempt, schedulerId };
    closed ??= { attempt };
  }
  return closed;
}

async function readOutputBase(control: FileHandle): Promise<FoundDirectory["outputBase"]> {
  const file = await readSmallFile(control, "output-base", maxOutputBaseBytes);
  if (file === null) return undefined;
  return "text" in file ? file.text.replace(/\n$/, "") : { unusable: file.unreadable };
}

async function oldest(directory: FileHandle, names: readonly string[], youngest: number): Promise<number> {
  const times = await Promise.all(names.map((name) => changedAt(directory, name)));
  return times.reduce<number>((first, time) => Math.min(first, time ?? first), youngest);
}

async function changedAt(directory: FileHandle, name: string): Promise<number | undefined> {
  try {
    return (await lstat(entry(directory, name))).mtimeMs;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
