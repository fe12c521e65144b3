/**
 * Where a symbolic link in a run's output directory leads. It is found out name by name, the way the kernel would go, but
 * nothing outside of that directory is ever touched: a look there could hang on a dead mount, mount one, or wake a device.
 * What comes out is a place below the directory, to be opened from there without following anything: whatever the job
 * swaps meanwhile, nothing else is read. Paths are text of one character a byte (`latin`).
 */
import type { Stats } from "node:fs";
import { type FileHandle, lstat, readlink } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { latin, ofLatin } from "./disk-path.ts";
import { entry, withDirectory } from "./no-follow.ts";

export type Led = { readonly to: "file" | "directory"; readonly place: string } | Nowhere;

/** `why`: to be read behind "symbolic link". */
interface Nowhere {
  readonly to: "nowhere";
  readonly why: string;
}

/** Links on the way of one: the kernel's own bound. */
const maxLinks = 40;
/** Names on the way of one; directories here are 64 deep. */
const maxLooks = 400;
/** Of all links together: each look opens its way anew. What is left is left out. */
const maxLooksInAll = 2_000_000;

export interface Root {
  /** Names that may still be looked at. */
  readonly looks: { left: number };
  readonly directory: FileHandle;
  /** Absolute: as the kernel of this host knows it, and as that of the job's container did. Nothing on their ways is a link. */
  readonly resolved: readonly (readonly string[])[];
  /** The same, and as the job was told. */
  readonly paths: readonly (readonly string[])[];
}

/** `mountedAt`: where the job's container had it. */
export async function openRoot(directory: FileHandle, given: string, mountedAt?: string): Promise<Root> {
  const real = await readlink(`/proc/self/fd/${directory.fd}`, { encoding: "buffer" });
  const resolved = [latin(real), ...(mountedAt === undefined ? [] : [mountedAt])].map(namesOf);
  return {
    directory,
    looks: { left: maxLooksInAll },
    resolved,
    paths: [...resolved, namesOf(latin(Buffer.from(given)))],
  };
}

/** `name` is a link in the directory at `place`. */
export async function follow(root: Root, place: string, name: string): Promise<Led> {
  let at = namesOf(place);
  let rest = [name];
  let links = 0;
  for (let looks = 0; looks < maxLooks && links <= maxLinks && rest.length <= maxLooks; looks++) {
    const [next, ...others] = rest;
    if (next === undefined) return { to: "directory", place: at.join("/") };
    if (next === ".." && at.length === 0) {
      const back = backInside(root, rest);
      if (back === null) return outside;
      rest = back;
      continue;
    }
    rest = others;
    if (next === "..") at = at.slice(0, -1);
    else if (next !== ".") {
      root.looks.left -= 1;
      if (root.looks.left < 0) return tooMany;
      const seen = await look(root, at, next);
      if ("to" in seen) return seen;
      if (seen.target === undefined) {
        at = [...at, next];
        if (seen.stats.isDirectory()) continue;
        if (rest.length > 0) return nothing;
        return seen.stats.isFile() ? { to: "file", place: at.join("/") } : toSpecial;
      }
      links += 1;
      if (seen.target.startsWith("/")) {
        const inside = insideOf(root, wayOf(seen.target));
        if (inside === null) return outside;
        at = [];
        rest = [...inside, ...rest];
      } else rest = [...wayOf(seen.target), ...rest];
    }
  }
  return circle;
}

const tooMany: Nowhere = { to: "nowhere", why: "not followed: there are too many" };
const outside: Nowhere = { to: "nowhere", why: "out of the output directory" };
const nothing: Nowhere = { to: "nowhere", why: "to nothing" };
const toSpecial: Nowhere = { to: "nowhere", why: "to what is no regular file" };
export const circle: Nowhere = { to: "nowhere", why: "that leads in a circle" };

/** The way is not there, or not any more. */
const noWay: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EINVAL", "ENAMETOOLONG"]);

async function look(
  { directory }: Root,
  at: readonly string[],
  name: string,
): Promise<{ readonly stats: Stats; readonly target?: string } | Nowhere> {
  try {
    return await withDirectory(entry(directory, "."), at.map(ofLatin), async (place) => {
      const path = entry(place, ofLatin(name));
      const stats = await lstat(path);
      if (!stats.isSymbolicLink()) return { stats };
      return { stats, target: latin(await readlink(path, { encoding: "buffer" })) };
    });
  } catch (error) {
    const code = errnoOf(error) ?? "";
    if (noWay.has(code)) return nothing;
    if (code === "EACCES") return { to: "nowhere", why: "into a directory that can not be opened (EACCES)" };
    throw error;
  }
}

/** A way that leads up and out may come back in by name: `../output/a`. Above a place that is resolved `..` is plain. */
function backInside(root: Root, rest: readonly string[]): string[] | null {
  const down = rest.findIndex((name) => name !== "..");
  if (down === -1) return null;
  for (const names of root.resolved) {
    const back = insideOf(root, [...names.slice(0, -down), ...rest.slice(down)]);
    if (back !== null) return back;
  }
  return null;
}

/** What an absolute path is below the directory; null: nothing. */
function insideOf({ paths }: Root, path: readonly string[]): string[] | null {
  const base = paths.find((names) => names.every((name, level) => path[level] === name));
  return base === undefined ? null : path.slice(base.length);
}

/** A slash at the end asks for a directory. */
function wayOf(target: string): string[] {
  return [...namesOf(target), ...(/\/\.?$/.test(target) ? ["."] : [])];
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}
