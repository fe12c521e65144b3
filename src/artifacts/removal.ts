/**
 * Removes a job directory, and nothing else: links are unlinked and never followed, directories that the job made
 * unreadable are opened up first, and the owner file goes last, so that a removal that was cut short can be finished.
 */
import { type FileHandle, lstat, readdir, rmdir, unlink } from "node:fs/promises";
import { errnoOf, StorageError } from "../errors.ts";
import { controlDirectory } from "./manifest.ts";
import { entry, openDirectory, reopenToOwner } from "./no-follow.ts";
import { describe, type Ownership, ownerFile, readOwner } from "./owner.ts";
import type { Progress } from "./storage-fault.ts";

/** One open directory each; a job that nests deeper gets its directory removed by hand. */
const maxRemovalDepth = 200;

/**
 * Throws a permanent StorageError where the directory is not the given state's. Gone already is fine. `keep` names parts of
 * it that stay, and the directory with them.
 */
export async function removeJobDirectory(
  dir: string,
  state: string,
  keep: readonly string[],
  progress: Progress,
): Promise<void> {
  let root: FileHandle;
  try {
    root = await openDirectory(dir);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return;
    throw error;
  }
  try {
    if (await owned(root, dir, state, keep)) {
      await removeBelow(root, 1, new Set([controlDirectory, ...keep]), progress);
      await removeControl(root, progress);
    }
    if ((await readdir(entry(root, "."))).some((name) => keep.includes(name))) return;
  } finally {
    await root.close();
  }
  await rmdir(dir);
}

/** The same of a directory that is nobody's but the caller's. */
export async function removeTree(dir: string, progress: Progress): Promise<void> {
  const root = await openDirectory(dir);
  try {
    await removeBelow(root, 1, new Set(), progress);
  } finally {
    await root.close();
  }
  await rmdir(dir);
}

/** True: ours. False: what a removal left, or an empty shell of a creation: there is nothing more to take away in it. */
async function owned(root: FileHandle, dir: string, state: string, keep: readonly string[]): Promise<boolean> {
  const ownership = await withControl(root, readOwner);
  if (ownership.is === "state" && ownership.owner.state === state) return true;
  if (ownership.is === "nobody" && (await isShell(root, keep))) return false;
  throw notOurs(dir, ownership);
}

async function withControl(root: FileHandle, use: (control: FileHandle) => Promise<Ownership>): Promise<Ownership> {
  let control: FileHandle;
  try {
    control = await openDirectory(entry(root, controlDirectory));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return { is: "nobody" };
    throw error;
  }
  try {
    return await use(control);
  } finally {
    await control.close();
  }
}

async function isShell(root: FileHandle, keep: readonly string[]): Promise<boolean> {
  const names = (await readdir(entry(root, "."))).filter((name) => !keep.includes(name));
  if (names.some((name) => name !== controlDirectory)) return false;
  if (names.length === 0) return true;
  try {
    await rmdir(entry(root, controlDirectory));
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOTEMPTY") return false;
    throw error;
  }
}

async function removeControl(root: FileHandle, progress: Progress): Promise<void> {
  const path = entry(root, controlDirectory);
  const control = await openDirectory(path);
  try {
    await removeBelow(control, 2, new Set([ownerFile]), progress);
    // A file that is still open somewhere stays as .nfs…: then the owner file has to stay as well, for the next try.
    const left = (await readdir(entry(control, "."))).filter((name) => name !== ownerFile);
    const [busy] = left;
    if (busy !== undefined) {
      throw new StorageError(`can not remove ${busy}: it is still in use`, { code: "EBUSY", syscall: "remove", path });
    }
    await unlink(entry(control, ownerFile));
  } finally {
    await control.close();
  }
  await rmdir(path);
}

async function removeBelow(
  directory: FileHandle,
  depth: number,
  keep: ReadonlySet<string>,
  progress: Progress,
): Promise<void> {
  for (const name of await readdir(entry(directory, "."), { encoding: "buffer" })) {
    if (keep.has(name.toString())) continue;
    progress.step();
    const path = entry(directory, name);
    if (!(await lstat(path)).isDirectory()) {
      await unlink(path);
      continue;
    }
    if (depth >= maxRemovalDepth) throw tooDeep(name.toString());
    await reopenToOwner(path);
    const inner = await openDirectory(path);
    try {
      await removeBelow(inner, depth + 1, new Set(), progress);
    } finally {
      await inner.close();
    }
    await rmdir(path);
  }
}

function notOurs(dir: string, ownership: Ownership): StorageError {
  const message = `${dir} is not removed: it has ${describe(ownership)}, which is not this daemon's`;
  return new StorageError(message, { code: "EPERM", syscall: "remove", path: dir, permanent: true });
}

function tooDeep(path: string): StorageError {
  const message = `can not remove a directory that is nested more than ${maxRemovalDepth} levels deep`;
  return new StorageError(message, { code: "ELOOP", syscall: "remove", path, permanent: true });
}
