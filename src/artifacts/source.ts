/**
 * Posix inputs on the file system: data that lies somewhere on the cluster and is neither copied nor changed. A place is
 * resolved once and used as it was resolved; what is opened in it is judged by where the kernel says that it is.
 */
import { constants } from "node:fs";
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readlink,
  realpath,
  rmdir,
  stat,
  symlink,
  unlink,
} from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, StorageError } from "../errors.ts";
import type { InputSource } from "../job/script.ts";
import { hashUnlessKnown, type Reading } from "./known-hashes.ts";
import type { Lateness } from "./missing.ts";
import { entry, withDirectory } from "./no-follow.ts";
import { quote } from "./path.ts";
import { isAllowed, type PosixRoots, resolveRoots } from "./posix-roots.ts";

export type FoundSource =
  | { readonly is: "found"; readonly path: string; readonly kind: InputSource["kind"]; readonly bytes: number }
  /** `mayShow`: it is where an input may lie, and is not there, or shut, now. */
  | { readonly is: "refused"; readonly why: string; readonly mayShow?: true };

export type HashedSource =
  | { readonly is: "hashed"; readonly bytes: number; readonly sha256: string }
  | { readonly is: "refused"; readonly why: string };

/** A file of a posix input, the SHA-256 that it is to have, and the job directory of the job that wants it. */
export interface WantedSource {
  readonly dir: string;
  readonly path: string;
  readonly sha256: string | undefined;
}

/** How a mount point or a link stands for a source in `input/`. */
export type Placing = "links" | "mount points";

/** FIFOs must not hang the open. */
const forReading = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

export async function findSource(path: string, roots: PosixRoots): Promise<FoundSource> {
  const resolved = await resolveRoots(roots, path);
  return unlessOutOfReach(path, resolved, async () => {
    const real = await realpath(path);
    if (!isAllowed(real, resolved)) return refused(outside(path));
    const stats = await stat(real);
    if (!stats.isDirectory() && !stats.isFile()) return refused(`${quote(path)} is neither a directory nor a file`);
    return { is: "found", path: real, kind: stats.isFile() ? "file" : "directory", bytes: stats.size };
  });
}

/** A mount that comes late, or went for a moment, leaves an empty directory behind: that is waited for, for some minutes. */
export async function unlessLate(lateness: Lateness, path: string, look: Promise<FoundSource>): Promise<FoundSource> {
  const found = await look;
  if (found.is === "refused" && found.mayShow && lateness.isLate(path)) {
    throw new StorageError(`${found.why}: it is looked for again`, { code: "ENOENT", syscall: "look for", path });
  }
  lateness.found(path);
  return found;
}

/** Links in the way are followed as long as they lead to a regular file within the roots. */
export async function hashSource(
  { path, sha256: expected }: WantedSource,
  roots: PosixRoots,
  reading: Pick<Reading, "known" | "now" | "progress">,
): Promise<HashedSource> {
  const resolved = await resolveRoots(roots, path);
  return unlessOutOfReach(path, resolved, async () => {
    if (!(await stat(path)).isFile()) return refused(`${quote(path)} is no regular file`); // opening a device can have effects
    const file = await open(path, forReading);
    try {
      const real = await readlink(`/proc/self/fd/${file.fd}`);
      if (!isAllowed(real, resolved)) return refused(outside(path));
      if (!(await file.stat()).isFile()) return refused(`${quote(path)} is no regular file`);
      const { bytes, sha256 } = await hashUnlessKnown(file, { ...reading, path: real, expected });
      return { is: "hashed", bytes, sha256 };
    } finally {
      await file.close();
    }
  });
}

/** Makes the sources visible in the job's `input/`, each under its artifact's id. */
export function placeSources(dir: string, sources: readonly InputSource[], placing: Placing): Promise<void> {
  return withDirectory(dir, ["input"], async (input) => {
    for (const { artifactId, kind, path } of sources) {
      const place = entry(input, artifactId);
      await clear(place);
      if (placing === "links") await symlink(path, place);
      else if (kind === "directory") await mkdir(place);
      else await emptyFile(place);
    }
  });
}

/** What a try before this one has left. */
async function clear(place: string): Promise<void> {
  try {
    await ((await lstat(place)).isDirectory() ? rmdir(place) : unlink(place));
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

async function emptyFile(place: string): Promise<void> {
  const file: FileHandle = await open(place, "wx", 0o600);
  await file.close();
}

/** The path itself is at fault, and will be: whatever else the file system says is not the submitter's doing. */
const atFault: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  ENOTDIR: "does not exist",
  EACCES: "may not be read by the account of this worker",
  EPERM: "may not be read by the account of this worker",
  ELOOP: "is a link that leads round in a circle",
  ENAMETOOLONG: "is too long",
};

async function unlessOutOfReach<T>(
  path: string,
  resolved: Parameters<typeof isAllowed>[1],
  look: () => Promise<T>,
): Promise<T | Extract<FoundSource, { is: "refused" }>> {
  try {
    return await look();
  } catch (error) {
    const fault = atFault[errnoOf(error) ?? ""];
    if (fault === undefined) throw error;
    if (!isAllowed(join(path), resolved)) return refused(outside(path));
    return { ...refused(`${quote(path)} ${fault}`), mayShow: true };
  }
}

/**
 * The same for whatever lies outside, whether it is there or not and wherever it leads: the submitter reads this, and is
 * not to learn what else there is on this host.
 */
function outside(path: string): string {
  return `${quote(path)}, or what it leads to, is in none of the directories that posix inputs may lie in: the operator allows one by apptainer.posix_roots`;
}

function refused(why: string): { readonly is: "refused"; readonly why: string } {
  return { is: "refused", why };
}
