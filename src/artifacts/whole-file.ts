/**
 * A file that is there whole or not at all, through any crash: written under a temporary name in `.emx2/`, fsynced,
 * renamed to its place. The temporary name is fixed, so that a leftover is replaced and never piles up; it lies in
 * `.emx2/`, where neither a workload nor a name from the server can meet it.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { errnoOf, IntegrityError } from "../errors.ts";
import type { Name } from "./disk-path.ts";
import { entry } from "./no-follow.ts";
import type { Progress } from "./storage-fault.ts";

const asNew = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

export interface Place {
  /** Open `.emx2/`, and the temporary name in it. */
  readonly control: FileHandle;
  readonly temporary: string;
  /** Open directory of the target, on the same file system. */
  readonly directory: FileHandle;
  readonly name: Name;
}

/** Lets `fill` write the file, and puts it in its place only when that, and bringing it to disk, went well. */
export async function writeWhole<T>(
  place: Place,
  mode: number,
  fill: (file: FileHandle) => Promise<T>,
  progress?: Progress,
): Promise<T> {
  const temporary = entry(place.control, place.temporary);
  await removeIfThere(temporary);
  try {
    const file = await open(temporary, asNew, mode);
    let filled: T;
    try {
      filled = await fill(file);
      await file.sync(); // NFS and quotas tell of a full disk here, not at the write
    } finally {
      await file.close();
    }
    progress?.step(); // given up meanwhile: what lies at the temporary name may be another try's
    await rename(temporary, entry(place.directory, place.name));
    await syncDirectory(place.directory);
    return filled;
  } catch (error) {
    await removeIfThere(temporary).catch(() => undefined); // what failed first is the news; the next try removes it
    throw error;
  }
}

export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

/** Writes a stream to a file, hashing on the way. More or fewer bytes, or another hash, than expected: IntegrityError. */
export async function writeStream(
  file: FileHandle,
  body: ReadableStream<Uint8Array>,
  expected: { readonly what: string; readonly bytes: number; readonly sha256?: string | undefined },
  progress: Progress,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await progress.elsewhere(reader.read());
      if (done) break;
      bytes += value.length;
      if (bytes > expected.bytes) break; // whatever else would come: it is not the file, and the disk is not endless
      hash.update(value);
      await writeAll(file, value);
      progress.step();
    }
  } finally {
    await reader.cancel().catch(() => undefined); // a stream that broke has told so in read()
  }
  const sha256 = hash.digest("hex");
  if (bytes !== expected.bytes) throw mismatch(expected.what, "bytes", String(expected.bytes), String(bytes), sha256);
  if (expected.sha256 !== undefined && sha256 !== expected.sha256) {
    throw mismatch(expected.what, "sha256", expected.sha256, sha256);
  }
  return { bytes, sha256 };
}

/** Sizes in bytes, hashes in hex, times in milliseconds: `what` says which. */
export function mismatch(
  file: string,
  what: "bytes" | "sha256" | "mtimeMs",
  expected: string,
  actual: string,
  sha256?: string,
): IntegrityError {
  return new IntegrityError(`${file}: expected ${what} ${expected}, got ${actual}`, {
    ...{ what, expected, actual },
    ...(sha256 !== undefined && { sha256 }),
  });
}

export async function removeIfThere(path: string | Buffer): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

/** Brings a rename to disk. Some file systems (CIFS, several FUSE ones) do not fsync directories and say EINVAL. */
export async function syncDirectory(directory: FileHandle): Promise<void> {
  try {
    await directory.sync();
  } catch (error) {
    if (errnoOf(error) !== "EINVAL") throw error;
  }
}
