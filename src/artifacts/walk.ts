/**
 * Everything below a run's output directory, bounded in number and depth. Regular files come out as files, and so do links to
 * them, under the names of the links; a link to a directory stands for what is in it. A link that leads out of the directory
 * is never followed: it is named as left out, as FIFOs, sockets and devices are. What can not be read, or has a name that
 * EMX2 can not take, is trouble. The caller decides what each of them means. No `open` here follows a link.
 */
import type { Stats } from "node:fs";
import { type FileHandle, lstat, readdir } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { artifactPathOf, diskPathOf, latin, ofLatin } from "./disk-path.ts";
import { circle, follow, type Led, openRoot, type Root } from "./links.ts";
import { entry, openBelow } from "./no-follow.ts";
import { maxDepth, maxServerPathChars } from "./path.ts";

/** Files, links and directories together, as often as links lead to them; some 400 MB of a temporary file. */
const maxEntries = 1_000_000;

type Walked =
  | {
      readonly is: "file";
      /** Open until the next one is asked for. */
      readonly directory: FileHandle;
      readonly name: Uint8Array;
      /** As it is to be called in an artifact. */
      readonly path: string;
      readonly isEscaped: boolean;
      /** Where it lies below the root (`diskPathOf`): elsewhere than its path says where a link has led there. */
      readonly diskPath: string;
      readonly isLinked: boolean;
    }
  /** At its own place, wherever it leads. */
  | { readonly is: "link"; readonly diskPath: string }
  | { readonly is: "left out"; readonly path: string; readonly why: string }
  | { readonly is: "empty directory"; readonly path: string }
  /** `whole`: more than one file is out of reach. */
  | { readonly is: "trouble"; readonly path: string; readonly whole: boolean; readonly why: string };

interface Walk {
  readonly root: Root;
  readonly plainNames: boolean;
  left: number;
}

/** A directory on the way. Paths are text of one character a byte, without a slash at either end. */
interface Level {
  readonly directory: FileHandle;
  /** What it is called, and where it is: not the same where a link has led there. */
  readonly path: string;
  readonly place: string;
  readonly depth: number;
  /** Places of the directories that the way leads through. */
  readonly entered: readonly string[];
}

interface WalkOptions {
  readonly plainNames?: boolean;
  readonly limit?: number;
  /** Where the job's container had the root. */
  readonly mountedAt?: string | undefined;
}

/** `given`: the absolute path of the root as the job was told it. */
export async function* walk(
  directory: FileHandle,
  given: string,
  { plainNames = false, limit = maxEntries, mountedAt }: WalkOptions = {},
): AsyncGenerator<Walked, void> {
  const search = { root: await openRoot(directory, given, mountedAt), plainNames, left: limit };
  for await (const walked of below(search, { directory, path: "", place: "", depth: 1, entered: [""] })) {
    yield walked;
    if (search.left < 0) return;
  }
}

async function* below(search: Walk, level: Level): AsyncGenerator<Walked, void> {
  const names = await readdir(entry(level.directory, "."), { encoding: "buffer" });
  if (names.length === 0 && level.path !== "") yield { is: "empty directory", path: shown(level.path) };
  for (const bytes of names) {
    const name = latin(bytes);
    const path = join(level.path, name);
    search.left -= 1;
    if (search.left < 0) {
      const why = `it is one too many: at most ${maxEntries} files are taken`;
      yield { is: "trouble", path: shown(path), whole: true, why };
      return;
    }
    const stats = await statOrGone(entry(level.directory, bytes));
    if (stats === null) continue;
    if (stats.isSymbolicLink() && level.path === level.place) yield { is: "link", diskPath: diskPathOf(ofLatin(path)) };
    const led = stats.isSymbolicLink() ? await followed(search, level, name) : ledTo(stats, join(level.place, name));
    if (led.to === "nowhere") yield { is: "left out", path: shown(path), why: led.why };
    else yield* inside(search, level, { path, ...led });
  }
}

/** A link back to where it stands in, or where the way has come through, has no end. */
async function followed(search: Walk, { place, entered }: Level, name: string): Promise<Led> {
  const led = await follow(search.root, place, name);
  if (led.to === "nowhere") return { ...led, why: `symbolic link ${led.why}` };
  const isCircle = led.to === "directory" && entered.some((passed) => isWithin(passed, led.place));
  return isCircle ? { to: "nowhere", why: `symbolic link ${circle.why}` } : led;
}

function ledTo(stats: Stats, place: string): Led {
  if (stats.isFile() || stats.isDirectory()) return { to: stats.isFile() ? "file" : "directory", place };
  return { to: "nowhere", why: stats.isFIFO() ? "FIFO" : stats.isSocket() ? "socket" : "device" };
}

async function* inside(
  search: Walk,
  level: Level,
  { path, place, to }: { readonly path: string; readonly place: string; readonly to: "file" | "directory" },
): AsyncGenerator<Walked, void> {
  const isLinked = path !== place;
  const named = artifactPathOf(ofLatin(path), search.plainNames);
  // What a link leads to has a place of its own as well, so that nothing is lost without the link.
  const trouble = (why: string, whole = to === "directory"): Walked =>
    isLinked
      ? { is: "left out", path: named.path, why: `behind a symbolic link: ${why}` }
      : { is: "trouble", path: named.path, whole, why };
  if (named.path.length > maxServerPathChars) {
    return yield trouble(`its path is longer than ${maxServerPathChars} characters`);
  }
  if (to === "directory" && level.depth >= maxDepth)
    return yield trouble(`it is more than ${maxDepth} levels deep: ${lessDeep}`);
  const way = wayTo(search, level, place);
  const last = to === "file" ? way.names.pop() : undefined;
  const isHere = way.from === level.directory && way.names.length === 0;
  let directory: FileHandle;
  try {
    directory = isHere ? level.directory : await openBelow(entry(way.from, "."), way.names);
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" && !isLinked) return; // removed meanwhile
    if (!unopenable.has(code ?? "")) throw error;
    return yield trouble(`it can not be opened (${code})`);
  }
  try {
    if (last !== undefined) {
      yield { is: "file", directory, name: last, ...named, diskPath: diskPathOf(ofLatin(place)), isLinked };
    } else {
      const entered = [...level.entered, place];
      yield* below(search, { directory, path, place, depth: level.depth + 1, entered });
    }
  } finally {
    if (!isHere) await directory.close();
  }
}

const lessDeep = "the job should pack such a tree into one file (tar, zip), or write it less deep";

const unopenable: ReadonlySet<string> = new Set(["ENOENT", "EACCES", "ELOOP", "ENOTDIR"]);

/** From the directory that is open already, where the place lies below it; else from the root. */
function wayTo({ root }: Walk, level: Level, place: string): { from: FileHandle; names: Buffer[] } {
  const below = level.place === "" ? place : place.slice(level.place.length + 1);
  const [from, way] = isWithin(place, level.place) ? [level.directory, below] : [root.directory, place];
  return { from, names: way.split("/").map(ofLatin) };
}

function isWithin(place: string, directory: string): boolean {
  return directory === "" || place === directory || place.startsWith(`${directory}/`);
}

function join(directory: string, name: string): string {
  return directory === "" ? name : `${directory}/${name}`;
}

function shown(path: string): string {
  return artifactPathOf(ofLatin(path), false).path;
}

async function statOrGone(path: string | Buffer): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return null; // removed between the listing and now
    throw error;
  }
}
