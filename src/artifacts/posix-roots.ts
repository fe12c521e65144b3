/**
 * Where posix inputs may lie. A submitter names the place, and the daemon's account can read much: so it must lie, links
 * resolved, in what the operator has opened to jobs, or in what an earlier job left as its outputs or logs.
 */
import { realpath } from "node:fs/promises";
import type { Config } from "../config/config.ts";
import { errnoOf, StorageError } from "../errors.ts";

export interface PosixRoots {
  readonly directories: readonly string[];
  /** Of what lies here, `<job>/output*` and `<job>/logs`. */
  readonly tmpDir?: string;
}

export function posixRoots({ apptainer, profiles }: Pick<Config, "apptainer" | "profiles">): PosixRoots {
  const binds = apptainer.binds.map(({ source }) => source);
  const outputs = profiles.flatMap(({ posixOutputDir }) => posixOutputDir ?? []);
  return { directories: [...new Set([...apptainer.posixRoots, ...binds, ...outputs])], tmpDir: apptainer.tmpDir };
}

/** The roots without links in them. One that is not there is left out, unless `path` lies in it: then that throws. */
export async function resolveRoots({ directories, tmpDir }: PosixRoots, path: string): Promise<PosixRoots> {
  const resolved: string[] = [];
  for (const directory of directories) {
    const real = await resolveRoot(directory, path);
    if (real !== null) resolved.push(real);
  }
  const realTmpDir = tmpDir === undefined ? null : await resolveRoot(tmpDir, path);
  return { directories: resolved, ...(realTmpDir === null ? {} : { tmpDir: realTmpDir }) };
}

async function resolveRoot(root: string, path: string): Promise<string | null> {
  try {
    return await realpath(root);
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    if (!isWithin(path, root)) return null;
    const message = `${root} can not be entered (${code}): is its file system mounted?`;
    throw new StorageError(message, { code, syscall: "resolve", path: root }, { cause: error });
  }
}

/** Both without links in them. */
export function isAllowed(path: string, { directories, tmpDir }: PosixRoots): boolean {
  if (directories.some((directory) => isWithin(path, directory))) return true;
  if (tmpDir === undefined || !isWithin(path, tmpDir)) return false;
  const [, part] = path.slice(tmpDir.length + 1).split("/");
  return part === "logs" || part === "output" || (part?.startsWith("output.") ?? false);
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory.endsWith("/") ? directory : `${directory}/`);
}
