/** What a run has left in `.emx2/`: its lease and its receipts, as far as the job has let them stand. */
import { type FileHandle, readdir, readlink, rename, symlink } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { closedLease, holderOfLease, leaseClosedTo, type Receipts, type RunRef } from "../job/run.ts";
import type { JobFiles } from "./job-files.ts";
import { controlDirectory } from "./manifest.ts";
import { isGone } from "./missing.ts";
import { entry, readSmallFile, reopenToOwner, withDirectory } from "./no-follow.ts";
import { maxReceiptBytes, newestRestart, readReceipts } from "./receipts.ts";
import { spoiltCodes } from "./spoilt.ts";
import { syncDirectory } from "./whole-file.ts";

export async function receiptsOf(run: RunRef, warn: (message: string) => void): Promise<Receipts> {
  try {
    return await readIn(run, warn);
  } catch (error) {
    // A job that has shut its directory must not stay for ever for that. A ticket that has run out looks alike, but for modes.
    if (errnoOf(error) !== "EACCES" || !(await reopened(run.dir))) throw error;
    warn("the job had shut its own directory: it is opened again");
    return readIn(run, warn);
  }
}

async function reopened(dir: string): Promise<boolean> {
  const outer = await reopenToOwner(dir);
  return (await reopenToOwner(`${dir}/${controlDirectory}`)) || outer;
}

async function readIn(run: RunRef, warn: (message: string) => void): Promise<Receipts> {
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
    if (spoiltCodes.includes(errnoOf(error) ?? "")) {
      warn("something else stands where its job directory was: its receipts can not be believed any more");
      return { directory: false, ...nothing };
    }
    if (errnoOf(error) !== "ENOENT") throw error;
    return { directory: true, ...nothing };
  }
}

export function closeLease({ dir, attempt }: RunRef, begun?: number): ReturnType<JobFiles["closeLease"]> {
  return withDirectory(dir, [controlDirectory], async (control) => {
    const name = `lease.${attempt}`;
    await linkUnlessThere(control, name, closedLease);
    const schedulerId = holderOfLease((await linkTarget(control, name)) ?? closedLease);
    if (schedulerId === undefined) return { is: "closed" };
    if (begun === undefined) return { is: "held", schedulerId };
    await replaceLink(control, name, leaseClosedTo(schedulerId));
    const isLater = newestRestart(attempt, await readdir(entry(control, "."))) > begun;
    return isLater ? { is: "held", schedulerId } : { is: "closed" };
  });
}

async function linkUnlessThere(directory: FileHandle, name: string, target: string): Promise<void> {
  try {
    await symlink(target, entry(directory, name));
    await syncDirectory(directory);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  }
}

async function replaceLink(directory: FileHandle, name: string, target: string): Promise<void> {
  const temporary = `.${name}.new`;
  await linkUnlessThere(directory, temporary, target);
  await rename(entry(directory, temporary), entry(directory, name));
  await syncDirectory(directory);
}

/** null: there is no such symbolic link. */
export async function linkTarget(directory: FileHandle, name: string): Promise<string | null> {
  try {
    return await readlink(entry(directory, name));
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "EINVAL") return null;
    throw error;
  }
}
