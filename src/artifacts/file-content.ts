/**
 * Content of outputs and logs: hashed, and read again for the upload, with size and modification time held still in
 * between, and of a log its content. A straggler of the job that goes on writing is noticed and never uploaded half old and
 * half new.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { StorageError } from "../errors.ts";
import type { FileRow } from "../job/effect.ts";
import { factsOf } from "./file-facts.ts";
import { piecesOf, readPieces } from "./log-content.ts";
import type { Progress } from "./storage-fault.ts";
import { mismatch } from "./whole-file.ts";

const hashChunkBytes = 1024 * 1024;
const readChunkBytes = 256 * 1024;

export interface Content {
  readonly bytes: number;
  readonly sha256: string;
  readonly mtimeMs: number;
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
  const pieces = piecesOf(row);
  const hash = row.role === "log" ? createHash("sha256") : undefined;
  let file: FileHandle | null = null;
  let sent = 0;
  let over = false;
  let pulling: Promise<void> = Promise.resolve();

  async function next(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    file ??= await source.open();
    if (over) return close(); // it was opened after all, too late
    if (file === null) throw mismatch(row.path, "bytes", `a regular file of ${row.bytes}`, "something else");
    if (sent === 0) await checkUnchanged(file, row);
    const chunk = await readPieces(file, pieces, sent, readChunkBytes);
    if (chunk.length === 0 && sent < row.bytes) throw changed(row.path, "bytes", row.bytes, sent);
    hash?.update(chunk);
    sent += chunk.length;
    const last = sent === row.bytes;
    if (last) await checkUnchanged(file, row, hash?.digest("hex"));
    if (chunk.length > 0) controller.enqueue(chunk);
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

/** `sha256`: of what was read of a log, which may have grown. */
async function checkUnchanged(file: FileHandle, row: FileRow, sha256?: string): Promise<void> {
  if (row.role === "log") {
    if (sha256 === undefined || sha256 === row.sha256) return;
    throw mismatch(`${row.path} changed while it was read`, "sha256", String(row.sha256), sha256);
  }
  const { size, mtimeMs } = await factsOf(file);
  if (size !== row.bytes) throw changed(row.path, "bytes", row.bytes, size);
  if (row.mtimeMs !== undefined && mtimeMs !== row.mtimeMs) {
    throw changed(row.path, "mtimeMs", row.mtimeMs, mtimeMs);
  }
}

function changed(name: string, what: "bytes" | "mtimeMs", expected: number, actual: number) {
  return mismatch(`${name} changed while it was read`, what, String(expected), String(actual));
}
