/**
 * Everything below a directory of the job, without following a link, bounded in number and depth. Only regular files
 * come out as files: links, FIFOs, sockets and devices are named as left out, and what can not be read, or has a name
 * that EMX2 can not take, as trouble. The caller decides what each of them means.
 */
import type { Stats } from "node:fs";
import { type FileHandle, lstat, readdir } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { entry, openDirectory } from "./no-follow.ts";
import { checkOutputName, maxDepth } from "./path.ts";

/** Files, links and directories together; some 300 MB of rows. */
const maxEntries = 1_000_000;

type Walked =
  /** `directory` is open until the next one is asked for. */
  | { readonly is: "file"; readonly directory: FileHandle; readonly name: string; readonly path: string }
  | { readonly is: "left out"; readonly path: string; readonly why: string }
  /** `whole`: more than one file is out of reach. */
  | { readonly is: "trouble"; readonly path: string; readonly whole: boolean; readonly why: string };

export async function* walk(root: FileHandle, limit = maxEntries): AsyncGenerator<Walked, void> {
  const budget = { left: limit };
  for await (const walked of below(root, "", 1, budget)) {
    yield walked;
    if (budget.left < 0) return;
  }
}

async function* below(
  directory: FileHandle,
  prefix: string,
  depth: number,
  budget: { left: number },
): AsyncGenerator<Walked, void> {
  for (const name of await readdir(entry(directory, "."), { encoding: "buffer" })) {
    const shown = prefix + Buffer.from(name).toString();
    budget.left -= 1;
    if (budget.left < 0) {
      yield { is: "trouble", path: shown, whole: true, why: `is one too many: at most ${maxEntries} files are taken` };
      return;
    }
    const stats = await statOrGone(entry(directory, name));
    if (stats === null) continue;
    if (!stats.isFile() && !stats.isDirectory()) {
      yield { is: "left out", path: shown, why: kindOf(stats) };
      continue;
    }
    const checked = checkOutputName(Buffer.concat([Buffer.from(prefix), name]));
    if ("refused" in checked) {
      yield { is: "trouble", path: shown, whole: stats.isDirectory(), why: checked.refused };
    } else if (stats.isFile()) yield { is: "file", directory, name: name.toString(), path: checked.ok };
    else if (depth >= maxDepth)
      yield { is: "trouble", path: shown, whole: true, why: `is more than ${maxDepth} levels deep` };
    else yield* inside(directory, name.toString(), checked.ok, depth, budget);
  }
}

async function* inside(
  parent: FileHandle,
  name: string,
  path: string,
  depth: number,
  budget: { left: number },
): AsyncGenerator<Walked, void> {
  let directory: FileHandle;
  try {
    directory = await openDirectory(entry(parent, name));
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT") return;
    if (code !== "EACCES" && code !== "ELOOP" && code !== "ENOTDIR") throw error;
    yield { is: "trouble", path, whole: true, why: `can not be opened (${code})` };
    return;
  }
  try {
    yield* below(directory, `${path}/`, depth + 1, budget);
  } finally {
    await directory.close();
  }
}

async function statOrGone(path: string | Buffer): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return null; // removed between the listing and now
    throw error;
  }
}

function kindOf(stats: Stats): string {
  if (stats.isSymbolicLink()) return "symbolic link";
  if (stats.isFIFO()) return "FIFO";
  if (stats.isSocket()) return "socket";
  return "device";
}
