/**
 * Outputs and logs that stay on the cluster. Other accounts meet us there, unlike in the job directory: what they planted is
 * neither taken nor followed.
 */
import { type FileHandle, link, lstat, mkdir, mkdtemp, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, StorageError } from "../errors.ts";
import type { FileRow } from "../job/effect.ts";
import { type Name, segmentsOnDisk } from "./disk-path.ts";
import { readHeldStill } from "./file-content.ts";
import { factsOf } from "./file-facts.ts";
import { type Place, rootOf } from "./manifest.ts";
import { entry, openDirectory, openRegular, withDirectory } from "./no-follow.ts";
import { checkArtifactPath } from "./path.ts";
import type { Progress } from "./storage-fault.ts";
import { removeIfThere, writeStream, writeWhole } from "./whole-file.ts";

/** Results are for the group that works with them; the rest of the machine has no part in them. */
const forTheGroup = 0o050;

/** Makes `<posix_output_dir>/<job id>`, whose parent has to exist. `foreign`: whose it is. */
export async function makeOutputBase(
  base: string,
): Promise<{ readonly is: "ours" } | { readonly is: "foreign"; readonly owner: string }> {
  const isNew = await made(base);
  let directory: FileHandle;
  try {
    directory = await openDirectory(base);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== "ENOTDIR" && code !== "ELOOP" && code !== "EACCES") throw error;
    return { is: "foreign", owner: (await lstat(base)).isSymbolicLink() ? "a symbolic link" : `unusable (${code})` };
  }
  try {
    const { uid, mode } = await directory.stat();
    const isOurs = isNew || uid === process.geteuid?.() || uid === (await uidGiven(dirname(base)));
    if (!isOurs) return { is: "foreign", owner: `uid ${uid}` };
    await directory.chmod((mode & 0o7777) | forTheGroup);
    return { is: "ours" };
  } finally {
    await directory.close();
  }
}

/** The owner that this file system shows of what we make: network file systems map accounts. */
async function uidGiven(parent: string): Promise<number> {
  const probe = await mkdtemp(join(parent, ".emx2-"));
  try {
    return (await lstat(probe)).uid;
  } finally {
    await rmdir(probe);
  }
}

async function made(base: string): Promise<boolean> {
  try {
    await mkdir(base, { mode: 0o700 });
    return true;
  } catch (error) {
    const code = errnoOf(error);
    if (code === "EEXIST") return false;
    if (code !== "ENOENT") throw error;
    const message = `${dirname(base)} (posix_output_dir) does not exist: make it, or mount its file system`;
    throw new StorageError(message, { code, syscall: "make", path: base }, { cause: error });
  }
}

/** In `logs/` of the directory that keeps them. */
export const logsDirectory = "logs";
const temporary = ".emx2-part";

/** Puts log files below `<base>/logs`, each at its path in the artifact: by a second name where that can be, else copied. */
export async function keepLogs(place: Place, rows: Iterable<FileRow>, base: string, progress: Progress): Promise<void> {
  try {
    await withDirectory(base, [logsDirectory], (logs) => openToGroup(logs), { create: true });
    for (const row of rows) {
      progress.step();
      await keepLog(place, row, base, progress);
    }
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined || !blocked.has(code)) throw error;
    const message = `something stands where logs are to be kept, in ${base}/${logsDirectory} (${code})`;
    throw new StorageError(message, { code, syscall: "keep logs", path: base, permanent: true }, { cause: error });
  }
}

/** A link, file or directory of the job's is in the way. */
const blocked: ReadonlySet<string> = new Set(["ELOOP", "ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY"]);
/** No second name: another file system, one without hard links, or one that forbids them. */
const unlinkable: ReadonlySet<string> = new Set(["EXDEV", "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

function keepLog(place: Place, row: FileRow, base: string, progress: Progress): Promise<void> {
  const source = [...segmentsOnDisk(row)];
  const sourceName = source.pop() ?? "";
  const target = [logsDirectory, ...keptSegments(row, base)];
  const name = target.pop() ?? "";
  return withDirectory(rootOf(place, row), source, (from) =>
    withDirectory(
      base,
      target,
      async (directory) => {
        await openToGroup(directory);
        await removeIfThere(entry(directory, name));
        try {
          await link(entry(from, sourceName), entry(directory, name));
        } catch (error) {
          if (!unlinkable.has(errnoOf(error) ?? "")) throw error;
          return copy(row, from, sourceName, directory, name, progress);
        }
        if (await isTheOne(row, directory, name)) return;
        // Somebody still writes to it, or its name is another file's by now.
        await removeIfThere(entry(directory, name));
        await copy(row, from, sourceName, directory, name, progress);
      },
      { create: true },
    ),
  );
}

/** A name that was escaped, or moved, may have become too long for this file system. */
function keptSegments({ path }: FileRow, base: string): readonly string[] {
  const checked = checkArtifactPath(path);
  if ("ok" in checked) return checked.ok;
  const failure = { code: "EINVAL", syscall: "keep logs", path: base, permanent: true };
  throw new StorageError(`a log can not be kept in ${base}/${logsDirectory}: ${checked.refused}`, failure);
}

async function openToGroup(directory: FileHandle): Promise<void> {
  await directory.chmod(((await directory.stat()).mode & 0o7777) | forTheGroup);
}

async function copy(
  row: FileRow,
  from: FileHandle,
  sourceName: Name,
  directory: FileHandle,
  name: Name,
  progress: Progress,
): Promise<void> {
  await writeWhole({ control: directory, temporary, directory, name }, 0o640, async (file) => {
    const body = readHeldStill(row, { open: () => openRegular(from, sourceName), within: (work) => work() });
    await writeStream(file, body, { what: row.path, bytes: row.bytes, sha256: row.sha256 }, progress);
    await file.chmod(0o640);
  });
}

/** As it was when it was hashed. */
async function isTheOne(row: FileRow, directory: FileHandle, name: Name): Promise<boolean> {
  const file = await openRegular(directory, name);
  if (file === null) return false;
  try {
    const { size, mtimeMs } = await factsOf(file);
    return size === row.bytes && mtimeMs === row.mtimeMs;
  } finally {
    await file.close();
  }
}
