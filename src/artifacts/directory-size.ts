/** What a directory takes on disk, for a person who thinks of removing it: no link is followed, and its number bounds the look. */
import { type FileHandle, lstat, readdir } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { entry, openDirectory } from "./no-follow.ts";

const maxEntries = 100_000;
const maxDepth = 64;
const blockBytes = 512;

/** `isWhole` false: it is at least so much. */
export interface DirectorySize {
  readonly bytes: number;
  readonly isWhole: boolean;
}

/** null: there is none. Throws the system's errors about the directory itself. */
export async function sizeOfDirectory(path: string): Promise<DirectorySize | null> {
  const sum = { bytes: 0, left: maxEntries, isWhole: true };
  const root = await openOr(path, ["ENOENT"]);
  if (root === null) return null;
  await add(root, 1, sum);
  return { bytes: sum.bytes, isWhole: sum.isWhole && sum.left >= 0 };
}

async function add(
  directory: FileHandle,
  depth: number,
  sum: { bytes: number; left: number; isWhole: boolean },
): Promise<void> {
  try {
    for (const name of await readdir(entry(directory, "."), { encoding: "buffer" })) {
      sum.left -= 1;
      if (sum.left < 0) return;
      const path = entry(directory, name);
      const stats = await lstat(path).catch(unless(["ENOENT"]));
      if (!stats) continue;
      sum.bytes += stats.blocks * blockBytes;
      if (!stats.isDirectory()) continue;
      const inner = depth < maxDepth ? await openOr(path, ["ENOENT", "EACCES", "ELOOP", "ENOTDIR"]) : null;
      if (inner === null) sum.isWhole = false;
      else await add(inner, depth + 1, sum);
    }
  } finally {
    await directory.close();
  }
}

function openOr(path: string | Buffer, codes: readonly string[]): Promise<FileHandle | null> {
  return openDirectory(path).catch(unless(codes));
}

function unless(codes: readonly string[]): (error: unknown) => null {
  return (error) => {
    if (!codes.includes(errnoOf(error) ?? "")) throw error;
    return null;
  };
}
