/** By what a file is known to be the one that was hashed. */
import type { FileHandle } from "node:fs/promises";

/**
 * Size and modification time, in whole milliseconds, cut off as the batch script's manifest has it: as a floating-point
 * number of milliseconds, what lies just below a whole one has been rounded up to it (one file in some 8,000).
 */
export async function factsOf(file: FileHandle): Promise<{ size: number; mtimeMs: number; mtimeNs: bigint }> {
  const { size, mtimeNs } = await file.stat({ bigint: true });
  return { size: Number(size), mtimeMs: Number(mtimeNs / 1_000_000n), mtimeNs };
}
