/**
 * Content of outputs and logs: hashed, and read again for the upload, with size and modification time held still in
 * between. A straggler of the job that goes on writing is noticed and never uploaded half old and half new.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { StorageError } from "../errors.ts";
import type { FileRow } from "../job/effect.ts";
import type { Progress } from "./storage-fault.ts";
import { mismatch } from "./whole-file.ts";

const hashChunkBytes = 1024 * 1024;
const readChunkBytes = 256 * 1024;

export interface Content {
  readonly bytes: number;
  readonly sha256: string;
  readonly mtimeMs: number;
}

/**
 * Size and modification time, in whole milliseconds, cut off as the batch script's manifest has it: as a floating-point
 * number of milliseconds, what lies just below a whole one has been rounded up to it (one file in some 8,000).
 */
export async function factsOf(file: FileHandle): Promise<{ size: number; mtimeMs: number; mtimeNs: bigint }> {
  const { size, mtimeNs } = await file.stat({ bigint: true });
  return { size: Number(size), mtimeMs: Number(mtimeNs / 1_000_000n), mtimeNs };
}

/** Hashes an open file. A StorageError (EBUSY) if it changes meanwhile: somebody is still writing to it, so come back. */
export async function hashFile(file: FileHandle, name: string, progress: Progress): Promise<Content> {
  const before = await factsOf(file);
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(Math.min(hashChunkBytes, before.size + 1));
  let bytes = 0;
  while (bytes <= before.size) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, bytes);
    progress.step();
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    bytes += bytesRead;
  }
  const after = await factsOf(file);
  if (bytes !== before.size || after.size !== before.size || after.mtimeNs !== before.mtimeNs) {
    const message = `${name} is still being written to: it changed while it was hashed`;
    throw new StorageError(message, { code: "EBUSY", syscall: "hash", path: name });
  }
  return { bytes, sha256: hash.digest("hex"), mtimeMs: before.mtimeMs };
}

/** Where the bytes come from; `within` bounds what waits for the file system. */
export interface Source {
  open(): Promise<FileHandle | null>;
  within<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * The bytes of the file that `row` describes, read as fast as they are taken. The check is repeated before the last
 * bytes leave, so that an upload of a file that changed is never complete.
 */
export function readHeldStill(row: FileRow, source: Source): ReadableStream<Uint8Array> {
  let file: FileHandle | null = null;
  let sent = 0;
  let over = false;
  let pulling: Promise<void> = Promise.resolve();

  async function next(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    file ??= await source.open();
    if (over) return close(); // it was opened after all, too late
    if (file === null) throw mismatch(row.path, "bytes", `a regular file of ${row.bytes}`, "something else");
    if (sent === 0) await checkUnchanged(file, row);
    const buffer = Buffer.allocUnsafe(Math.min(readChunkBytes, row.bytes - sent));
    const { bytesRead } = buffer.length === 0 ? { bytesRead: 0 } : await file.read(buffer, 0, buffer.length, sent);
    if (bytesRead === 0 && sent < row.bytes) throw changed(row.path, "bytes", row.bytes, sent);
    sent += bytesRead;
    const last = sent === row.bytes;
    if (last) await checkUnchanged(file, row);
    if (bytesRead > 0) controller.enqueue(buffer.subarray(0, bytesRead));
    if (!last) return;
    await close();
    controller.close();
  }

  async function close(): Promise<void> {
    const open = file;
    file = null;
    await open?.close();
  }

  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const part = source.within(() => next(controller));
        pulling = part.catch((error: unknown) => {
          over = true;
          close().catch(() => undefined); // not waited for: under a read that hangs it would hang as well
          throw error;
        });
        return pulling;
      },
      async cancel() {
        await pulling.catch(() => undefined); // never close a descriptor under a read that is still in flight
        await close();
      },
    },
    { highWaterMark: 0 },
  );
}

async function checkUnchanged(file: FileHandle, row: FileRow): Promise<void> {
  const { size, mtimeMs } = await factsOf(file);
  if (size !== row.bytes) throw changed(row.path, "bytes", row.bytes, size);
  if (row.mtimeMs !== undefined && mtimeMs !== row.mtimeMs) {
    throw changed(row.path, "mtimeMs", row.mtimeMs, mtimeMs);
  }
}

function changed(name: string, what: "bytes" | "mtimeMs", expected: number, actual: number) {
  return mismatch(`${name} changed while it was read`, what, String(expected), String(actual));
}
