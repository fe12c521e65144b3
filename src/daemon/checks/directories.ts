/**
 * The directories that the daemon writes to or that jobs read from: there, open to this user, with room, on a file system
 * that does. Rights are asked of the kernel (access), since a file made to try them would be a change.
 */
import { constants, type Stats } from "node:fs";
import { access, realpath, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { answeredWithin } from "../../artifacts/storage-fault.ts";
import type { Clock } from "../../clock.ts";
import type { Config } from "../../config/config.ts";
import { shellWord } from "../../config/printable.ts";
import { errnoOf, isSystemError, storageFault } from "../../errors.ts";
import { type CheckItem, failed, ok, warning } from "./item.ts";
import { isLocal, isNfs, type Mount, mountOf, readMounts } from "./mounts.ts";
import type { Cluster } from "./slurm.ts";

/** A dead mount never answers. */
const answerMs = 5_000;
/** A job directory takes some dozens. */
const fewInodes = 10_000;

export interface DirectoryParts {
  readonly clock: Clock;
  readonly config: Config;
  /** Who the daemon runs as, for messages. */
  readonly user: string;
}

/** What is known of a directory, or why nothing is. */
interface Look {
  readonly stats: Stats;
  readonly freeBytes: number;
  /** null: the file system does not count them. */
  readonly freeInodes: number | null;
  readonly mount: Mount | undefined;
}

/** tmp_dir has to be there: where it is missing, its file system is not mounted. */
export async function checkTmpDir(parts: DirectoryParts, cluster: Promise<Cluster>): Promise<CheckItem[]> {
  const { tmpDir: path } = parts.config.apptainer;
  const item = "tmp_dir";
  const look = await writable(parts, item, path);
  if ("result" in look) return [look];
  const { mount } = look;
  const items = [room(parts, item, path, look)];
  if (mount && isLocal(mount) && hasSeveralNodes(await cluster)) {
    const detail = `${path} is on ${mount.kind}, which the other nodes see only if this host exports it`;
    items.push(warning(item, detail, "choose a directory on the file system that compute nodes share"));
  }
  if ((look.stats.mode & 0o002) !== 0) {
    const detail = `anybody may make directories in ${path}: a job whose directory is there before us fails`;
    items.push(warning(item, detail, `chmod o-w ${shellWord(path)}, or choose a directory of your own`));
  }
  if (mount?.options.includes("noexec")) {
    const detail = `${mount.point} is mounted noexec: programs that a job brings or makes there can not be run`;
    items.push(warning(item, detail, "choose another directory where jobs need that"));
  }
  return items;
}

function hasSeveralNodes({ partitions = [] }: Cluster): boolean {
  return partitions.some(({ nodes }) => nodes > 1);
}

/** `run` makes one that is not there yet; then the directory above it must let us. */
export async function checkStateDir(parts: DirectoryParts): Promise<CheckItem[]> {
  const { stateDir: path } = parts.config.worker;
  const item = "state_dir";
  const existing = await existingAncestor(parts.clock, path);
  const look = await writable(parts, item, existing);
  if ("result" in look) return [look];
  const items = [room(parts, item, existing === path ? path : `${path} (will be made)`, look)];
  const mode = look.stats.mode & 0o777;
  if (existing === path && (mode & 0o077) !== 0) {
    const detail = `${path} is open to others (mode ${mode.toString(8).padStart(4, "0")})`;
    items.push(warning(item, detail, `chmod 700 ${shellWord(path)}`));
  }
  if (look.mount) items.push(ofFileSystem(item, look.mount, parts.config.worker.stateLeaseMs / 1_000));
  return items;
}

/** What follows for the state from where it lies. */
export function ofFileSystem(item: string, mount: Mount, leaseSeconds: number): CheckItem {
  const { point, kind } = mount;
  if (/^(tmpfs|ramfs)$/.test(kind)) {
    const detail = `${point} is ${kind}: a reboot takes the state away, and jobs have to be found again`;
    return warning(item, detail, "choose a directory on a disk");
  }
  if (isLocal(mount))
    return ok(
      item,
      `${point} is ${kind}, on this host alone: a daemon on another login node knows nothing of this state`,
    );
  const lease = `the lease keeps a second daemon out on every host, and a dead one is followed after ${leaseSeconds} s`;
  const locks = isNfs(mount) && mount.options.some((option) => /^(nolock|local_lock=(all|posix))$/.test(option));
  return ok(item, `${point} is ${kind}${locks ? " without locks between hosts" : ""}: ${lease}`);
}

/** Directories that profiles and images name. */
export async function checkOtherDirectories(parts: DirectoryParts): Promise<CheckItem[]> {
  const { profiles, apptainer } = parts.config;
  const outputs = new Set(profiles.flatMap(({ posixOutputDir }) => posixOutputDir ?? []));
  const binds = profiles.some(({ workload }) => workload.kind === "image") ? apptainer.binds : [];
  const perhapsOnNodes = "make it readable here, unless compute nodes alone have it";
  const items = await Promise.all([
    ...[...outputs].map(async (path) => {
      const look = await writable(parts, "posix_output_dir", path);
      return "result" in look ? look : room(parts, "posix_output_dir", path, look);
    }),
    ...apptainer.posixRoots.map((path) => reachable(parts.clock, "posix_roots", path, constants.R_OK)),
    ...binds.map(({ source, writable: rw }) =>
      reachable(parts.clock, "bind_paths", source, rw ? constants.R_OK | constants.W_OK : constants.R_OK),
    ),
  ]);
  return items.map((each) => (each.result === "warning" ? { ...each, fix: perhapsOnNodes } : each));
}

async function reachable(clock: Clock, item: string, path: string, mode: number): Promise<CheckItem> {
  try {
    await answeredWithin(clock, answerMs, path, () => access(path, mode));
    return ok(item, path);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return warning(item, `${path}: ${storageFault(error)}`, "make it readable here");
  }
}

async function writable({ clock, user }: DirectoryParts, item: string, path: string): Promise<Look | CheckItem> {
  try {
    return await answeredWithin(clock, answerMs, path, async () => {
      const stats = await stat(path);
      if (!stats.isDirectory()) return failed(item, `${path} is not a directory`, "choose another name");
      await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
      const { bavail, bsize, ffree, files } = await statfs(path);
      const mount = mountOf(await readMounts(), await realpath(path));
      return { stats, freeBytes: bavail * bsize, freeInodes: files > 0 ? ffree : null, mount };
    });
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return failed(item, `${path}: ${storageFault(error)}`, remedy(error.code, path, user));
  }
}

function remedy(code: string, path: string, user: string): string {
  if (code === "ENOENT") return `mkdir -p -m 700 ${shellWord(path)}, or see whether its file system is mounted`;
  if (code === "EROFS") return "it is mounted read-only: choose another directory, or ask the site";
  if (code === "ETIMEDOUT" || code === "ESTALE") return "its file server does not answer: ask the site";
  return `let ${user} write there, or choose another directory`;
}

function room({ config }: DirectoryParts, item: string, path: string, look: Look): CheckItem {
  const { freeBytes, freeInodes, mount } = look;
  const { minFreeDiskBytes } = config.worker;
  const on = mount ? `, ${mount.kind}${isLocal(mount) ? "" : ` (${mount.source})`}` : "";
  const detail = `${path}, ${gigabytes(freeBytes)} free${on}`;
  if (freeBytes < minFreeDiskBytes) {
    const fix = `free some space, or lower worker.min_free_disk (${gigabytes(minFreeDiskBytes)}): below it nothing new is claimed`;
    return failed(item, detail, fix);
  }
  if (freeInodes !== null && freeInodes < fewInodes) {
    return warning(item, `${detail}; only ${freeInodes} more files fit (inodes)`, "remove files there");
  }
  return ok(item, detail);
}

/** `path` itself, or the nearest directory above it that is there; one that does not answer is there. */
async function existingAncestor(clock: Clock, path: string): Promise<string> {
  for (let existing = path; dirname(existing) !== existing; existing = dirname(existing)) {
    const code = await answeredWithin(clock, answerMs, existing, () => stat(existing)).then(() => "", errnoOf);
    if (code !== "ENOENT") return existing;
  }
  return "/";
}

function gigabytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
