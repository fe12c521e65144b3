/** Paths in a configuration: `~/` is home, relative ones are relative to the file that they stand in. */
import { join, resolve } from "node:path";

export interface Places {
  /** The user's home directory. */
  readonly home: string;
  /** Directory of the configuration file. */
  readonly directory: string;
}

export function absolutePath(path: string, places: Places): string {
  const fromHome = /^~(\/|$)/.exec(path);
  return fromHome ? join(places.home, path.slice(1)) : resolve(places.directory, path);
}

/** A program: a path where there is a slash in it, else a name that is looked for on PATH. */
export function programPath(nameOrPath: string, places: Places): string {
  return nameOrPath.includes("/") ? absolutePath(nameOrPath, places) : nameOrPath;
}
