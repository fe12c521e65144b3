/**
 * What a directory takes on disk, for a person who thinks of removing it: no link is followed, its number bounds the look, and
 * what a job has shut is not looked into.
 */
import { type FileHandle, lstat, readdir } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { entry, openDirectory } from "./no-follow.ts";

const maxEntries = 100_000;
const maxDepth = 64;
const blockBytes = 512;
/** Shut, or another by now than it was a moment ago. */
const unreadable = ["ENOENT", "EACCES", "ELOOP", "ENOTDIR"];

/** `isWhole` false: it is at least so much. */
export interface DirectorySize {
  readonly bytes: number;
  readonly isWhole: boolean;
}

/** null: there is none. `except`: names directly in it that do not count. Throws the system's errors. */
export async function sizeOfDirectory(path: string, except: readonly string[] = []): Promise<DirectorySize | null> {
  const sum = { bytes: 0, left: maxEntries, isWhole: true };
  const stats = await lstat(path).catch(unless(["ENOENT"]));
  if (!stats?.isDirectory()) return null;
  const root = await openOr(path, unreadable);
  if (root === null) return { bytes: 0, isWhole: false };
  await add(root, 1, sum, except);
  return { bytes: sum.bytes, isWhole: sum.isWhole && sum.left >= 0 };
}

async function add(
  directory: FileHandle,
  depth: number,
  sum: { bytes: number; left: number; isWhole: boolean },
  except: readonly string[] = [],
): Promise<void> {
  try {
    const names = await readdir(entry(directory, "."), { encoding: "buffer" }).catch(unless(unreadable));
    if (names === null) sum.isWhole = false;
    for (const name of names ?? []) {
      if (except.includes(name.toString())) continue;
      sum.left -= 1;
      if (sum.left < 0) return;
      const path = entry(directory, name);
      const stats = await lstat(path).catch(unless(unreadable));
      if (!stats) {
        sum.isWhole = false;
        continue;
      }
      sum.bytes += stats.blocks * blockBytes;
      if (!stats.isDirectory()) continue;
      const inner = depth < maxDepth ? await openOr(path, unreadable) : null;
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
