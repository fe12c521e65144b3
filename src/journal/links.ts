/**
 * Symbolic links as small records: one carries its value from the moment it is there, a name is made by one maker alone, and
 * rename(2) replaces it as a whole, on local disks and on NFS. Whatever else the file system refuses is a StateError.
 *
 * NFS repeats a request whose answer was lost, and the second answer is then "exists" of what we made, or "not there" of what
 * we renamed or removed. So an answer alone decides nothing: what is there afterwards does.
 */
import { readdirSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from "node:fs";
import { errnoOf } from "../errors.ts";
import { stateError } from "./state-error.ts";

/** undefined: there is none. */
export function readLink(path: string): string | undefined {
  return guarded(path, "ENOENT", () => readlinkSync(path));
}

/** False: there is another already. */
export function makeLink(target: string, path: string): boolean {
  const made = guarded(path, "EEXIST", () => {
    symlinkSync(target, path);
    return true;
  });
  return made ?? readLink(path) === target;
}

export function renameLink(from: string, to: string): void {
  guarded(to, "ENOENT", () => renameSync(from, to));
}

export function removeLink(path: string): void {
  guarded(path, "ENOENT", () => unlinkSync(path));
}

export function namesIn(directory: string): string[] {
  return guarded(directory, "ENOENT", () => readdirSync(directory)) ?? [];
}

function guarded<T>(path: string, expected: string, act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (errnoOf(error) === expected) return undefined;
    throw stateError(error, path);
  }
}
