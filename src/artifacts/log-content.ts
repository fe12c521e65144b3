/**
 * Logs as EMX2 gets them: whole, or above a limit their first and last part with a line in between that says what is missing.
 * A stray of the job may go on writing to one for ever. So what is taken of a log is fixed by its size at the first look, and
 * held to by its content: what is added afterwards changes nothing.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { FileRow } from "../job/effect.ts";
import { factsOf } from "./file-facts.ts";
import { quote } from "./path.ts";
import type { Progress } from "./storage-fault.ts";

const hashChunkBytes = 256 * 1024;

type Named = Pick<FileRow, "directory" | "path" | "diskPath">;

/** What of a file is uploaded, in this order: bytes of the file, or of ours. */
type Piece = { readonly from: number; readonly bytes: number } | Uint8Array;

export function piecesOf(row: Named & Pick<FileRow, "bytes" | "cut">): readonly Piece[] {
  if (row.cut === undefined) return [{ from: 0, bytes: row.bytes }];
  const { diskBytes, partBytes } = row.cut;
  return [{ from: 0, bytes: partBytes }, marker(row, row.cut), { from: diskBytes - partBytes, bytes: partBytes }];
}

/** At most `maxBytes` of the content from `at` on; none where the file is shorter than it was, or nothing is left. */
export async function readPieces(
  file: FileHandle,
  pieces: readonly Piece[],
  at: number,
  maxBytes: number,
): Promise<Uint8Array> {
  let offset = at;
  for (const piece of pieces) {
    const length = piece instanceof Uint8Array ? piece.length : piece.bytes;
    if (offset >= length) {
      offset -= length;
      continue;
    }
    const wanted = Math.min(maxBytes, length - offset);
    if (piece instanceof Uint8Array) return piece.subarray(offset, offset + wanted);
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, piece.from + offset);
    return buffer.subarray(0, bytesRead);
  }
  return new Uint8Array();
}

/** `mtimeMs` absent: it was written to meanwhile. */
type LogContent = Pick<FileRow, "bytes" | "mtimeMs" | "cut"> & { readonly sha256: string };

/** Hashes what is taken of an open log. `maxBytes`: above that it is cut. null: it was truncated meanwhile. */
export async function hashLog(
  file: FileHandle,
  name: Named,
  maxBytes: number | undefined,
  progress: Progress,
): Promise<LogContent | null> {
  const before = await factsOf(file);
  const cut =
    maxBytes !== undefined && before.size > maxBytes
      ? { diskBytes: before.size, partBytes: Math.floor(maxBytes / 2) }
      : undefined;
  const bytes = cut === undefined ? before.size : 2 * cut.partBytes + marker(name, cut).length;
  const taken = { bytes, ...(cut === undefined ? {} : { cut }) };
  const pieces = piecesOf({ ...name, ...taken });
  const hash = createHash("sha256");
  for (let at = 0; at < bytes; ) {
    const chunk = await readPieces(file, pieces, at, hashChunkBytes);
    progress.step();
    if (chunk.length === 0) return null;
    hash.update(chunk);
    at += chunk.length;
  }
  const after = await factsOf(file);
  if (after.size < before.size) return null;
  const isStill = after.size === before.size && after.mtimeNs === before.mtimeNs;
  return { ...taken, sha256: hash.digest("hex"), ...(isStill ? { mtimeMs: before.mtimeMs } : {}) };
}

/** Submitters read it: the path is the one within the job directory. */
function marker({ directory, path, diskPath = path }: Named, cut: NonNullable<FileRow["cut"]>): Uint8Array {
  const { diskBytes, partBytes } = cut;
  const what = `${diskBytes - 2 * partBytes} of the ${diskBytes} bytes of ${quote(`${directory}/${diskPath}`)}`;
  return Buffer.from(
    `\n[emx2-hpc-daemon: ${what} are left out here; all of it is in the job's directory on the cluster, while that is kept]\n`,
  );
}
