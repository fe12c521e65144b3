/**
 * Files below a job directory, reached one segment at a time without ever following a symbolic link: a job may plant
 * one (`output/x -> ~/.ssh/id_ed25519`), and swap it in between a check and the use. Each directory is held open and its
 * entries are addressed as `/proc/self/fd/<n>/<name>`, which is what openat(2) does, and which no rename can bend.
 */
import { constants } from "node:fs";
import { chmod, type FileHandle, lstat, mkdir, open } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import type { Name } from "./disk-path.ts";

const asDirectory = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Linux's O_PATH, which node:fs does not name: a handle on a directory that may not be read. */
const asPlace = 0o10000000 | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Without O_NONBLOCK a FIFO named like an output would hang the open for ever, and a thread of the pool with it. */
const asFile = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** The path of an entry of an open directory. Valid only while the directory is open. */
export function entry(directory: FileHandle, name: string): string;
export function entry(directory: FileHandle, name: Name): string | Buffer;
export function entry(directory: FileHandle, name: Name): string | Buffer {
  const at = `/proc/self/fd/${directory.fd}/`;
  return typeof name === "string" ? at + name : Buffer.concat([Buffer.from(at), name]);
}

/** Opens the job directory itself: the way to it may hold links of the operator's, its last segment may not be one. */
export function openDirectory(path: string | Buffer): Promise<FileHandle> {
  return open(path, asDirectory);
}

/**
 * Gives a directory of ours back to us, whose mode may keep us out. chmod goes to the directory held, not to a name that may
 * become a link. False: its mode does not keep us out, or it is not ours.
 */
export async function reopenToOwner(path: string | Buffer): Promise<boolean> {
  const place = await open(path, asPlace);
  try {
    const { mode, uid } = await place.stat();
    if ((mode & 0o700) === 0o700 || uid !== process.geteuid?.()) return false;
    await chmod(`/proc/self/fd/${place.fd}`, 0o700);
    return true;
  } finally {
    await place.close();
  }
}

/** Opens the directory at `segments` below `dir`. */
export async function openBelow(dir: string, segments: readonly Name[], create = false): Promise<FileHandle> {
  let current = await openDirectory(dir);
  for (const segment of segments) {
    const above = current;
    try {
      if (create) await makeDirectory(entry(above, segment));
      current = await openDirectory(entry(above, segment));
    } finally {
      await above.close();
    }
  }
  return current;
}

/** Lends `use` the directory at `segments` below `dir`; with `create`, missing ones are made (0700). */
export async function withDirectory<T>(
  dir: string,
  segments: readonly Name[],
  use: (directory: FileHandle) => Promise<T>,
  options: { readonly create?: boolean } = {},
): Promise<T> {
  const directory = await openBelow(dir, segments, options.create);
  try {
    return await use(directory);
  } finally {
    await directory.close();
  }
}

export async function makeDirectory(path: string | Buffer): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  }
}

/** Opens a regular file for reading; null where the name is something else (link, FIFO, socket, device, directory). */
export async function openRegular(directory: FileHandle, name: Name): Promise<FileHandle | null> {
  const path = entry(directory, name);
  if (!(await lstat(path)).isFile()) return null; // opening a device can have effects
  let file: FileHandle;
  try {
    file = await open(path, asFile);
  } catch (error) {
    if (errnoOf(error) === "ELOOP") return null;
    throw error;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  return null;
}

/** The whole of a small file as text, or why there is none. Absent is null; `maxBytes` bounds what is read. */
export async function readSmallFile(
  directory: FileHandle,
  name: string,
  maxBytes: number,
): Promise<{ readonly text: string } | { readonly unreadable: string } | null> {
  let file: FileHandle | null;
  try {
    file = await openRegular(directory, name);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return null;
    throw error;
  }
  if (file === null) return { unreadable: "is not a regular file" };
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes + 1), 0, maxBytes + 1, 0);
    if (bytesRead > maxBytes) return { unreadable: `is larger than ${maxBytes} bytes` };
    return { text: buffer.toString("utf8", 0, bytesRead) };
  } finally {
    await file.close();
  }
}
