/**
 * Where things are, as a configuration may say it. Paths: `~/` is home, relative ones are relative to the file that they
 * stand in. Entries of `apptainer.bind_paths`: `SOURCE[:DESTINATION[:ro|rw]]`, read-only unless it says otherwise. The
 * server: plain http is for this host alone, where nobody can listen in.
 */
import { join, resolve } from "node:path";
import type { Bind } from "../job/profile.ts";

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

/** Mounted by the daemon itself, of each job's own. */
const ownMounts = ["/input", "/output", "/work"];

/** The daemon's own mount that one at this destination would cover. */
export function coveredMount(destination: string): string | undefined {
  return ownMounts.find((mount) => destination === mount || destination.startsWith(`${mount}/`));
}

export function bindFault(text: string): string | undefined {
  const [source, destination = source, mode = "ro", ...rest] = text.split(":");
  if (!source || !destination || rest.length > 0 || !/^(ro|rw)$/.test(mode)) {
    return `must be SOURCE, SOURCE:DESTINATION or SOURCE:DESTINATION:rw`;
  }
  if (!/^(~?\/)/.test(source)) return "must have an absolute source";
  if (text.includes(":") && !destination.startsWith("/")) return "must have an absolute destination";
  const own = coveredMount(destination);
  if (own !== undefined) return `must not cover ${own}, where a job finds its own files`;
  return undefined;
}

export function bindOf(text: string, places: Places): Bind {
  const [from = "", to, mode] = text.split(":");
  const source = absolutePath(from, places);
  return { source, destination: to ?? source, writable: mode === "rw" };
}

/** What is wrong with a text as a base URL. The text itself is not repeated: it may hold a password. */
export function baseUrlFault(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) return "must be a URL with https (or http to this host)";
  if (url.username || url.password) return "must not hold a user name or password";
  if (/[?#]/.test(text)) return "must not hold a query or a fragment (? or #)";
  return undefined;
}

export function isPlainHttpElsewhere(text: string): boolean {
  const url = URL.parse(text);
  return url?.protocol === "http:" && !isLoopback(url);
}

export function isLoopback(url: URL): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
}
