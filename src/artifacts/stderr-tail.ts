/** The end of a run's stderr, for reports: of the container if it said anything, else of the batch script. */
import type { FileHandle } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { openRegular } from "./no-follow.ts";

const maxTailBytes = 64 * 1024;

/** Names in `.emx2/` where the run's stderr may be, the more telling first. */
export function stderrNames(schedulerId: string | undefined): string[] {
  const isName = schedulerId !== undefined && /^[A-Za-z0-9_-]{1,64}$/.test(schedulerId);
  return ["container-stderr.log", ...(isName ? [`slurm-${schedulerId}.err`] : [])];
}

/** Bytes of the file's end, at most `maxTailBytes`; `cut`: there is more before them. null: no such file. */
export async function readTail(control: FileHandle, name: string): Promise<{ bytes: Uint8Array; cut: boolean } | null> {
  let file: FileHandle | null;
  try {
    file = await openRegular(control, name);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return null;
    throw error;
  }
  if (file === null) return null;
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - maxTailBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    return { bytes: buffer.subarray(0, bytesRead), cut: from > 0 };
  } finally {
    await file.close();
  }
}

/** The last `lines` lines of a tail, as they are. A first line of which the beginning is cut off is left out. */
export function lastLines(tail: { readonly bytes: Uint8Array; readonly cut: boolean }, lines: number): string[] {
  if (lines <= 0) return [];
  const all = new TextDecoder().decode(tail.bytes).split("\n");
  if (all.at(-1) === "") all.pop();
  if (tail.cut && all.length > 1) all.shift();
  return all.slice(-lines);
}
