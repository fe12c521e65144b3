/** The rows of an artifact, as they were made with all files in memory: plain, to hold `ResultRows` against. */
import { contentHash, controlDirectory, type FoundFile } from "../../../src/artifacts/manifest.ts";
import type { FileRow, UploadRole } from "../../../src/job/effect.ts";

export type NumberedRow = FileRow & Pick<FoundFile, "isEscaped">;

export function hashInMemory(files: readonly Pick<FileRow, "path" | "sha256">[]): string {
  return contentHash([...files].sort(byPath));
}

export function rowsInMemory(role: UploadRole, files: readonly FoundFile[]): NumberedRow[] {
  const ours = files.filter((file) => file.directory === controlDirectory);
  const theirs = files.filter((file) => file.directory !== controlDirectory);
  const ourNames = new Set(ours.map((file) => file.path));
  const collides = ({ path }: FoundFile) => ourNames.has(path.split("/", 1)[0] ?? "");
  const stay = theirs.filter((file) => !file.isEscaped && !collides(file));
  const taken = { files: new Set<string>(), directories: new Set<string>() };
  const named: { readonly file: FoundFile; readonly path: string }[] = ours.map((file) => ({ file, path: file.path }));
  const isFree = (path: string) =>
    !taken.files.has(path) &&
    !taken.directories.has(path) &&
    !parentsOf(path).some((parent) => taken.files.has(parent));
  const take = (file: FoundFile, path: string) => {
    taken.files.add(path);
    for (const parent of parentsOf(path)) taken.directories.add(parent);
    named.push({ file, path });
  };
  // Both loops end: each turn begins with what fewer of the files begin with.
  const takeFree = (file: FoundFile, first: string, before: string) => {
    let path = first;
    while (!isFree(path)) path = before + path;
    take(file, path);
  };
  for (const file of stay) take(file, file.path);
  const moved = theirs.filter((file) => file.isEscaped || collides(file)).sort(byPlace);
  for (const file of moved) if (!collides(file)) takeFree(file, file.path, "%25");
  for (const file of moved) if (collides(file)) takeFree(file, `output/${file.path}`, "output/");
  return named.sort(byPath).map(({ file, path }, index) => rowOf(role, index, file, path));
}

function rowOf(role: UploadRole, index: number, file: FoundFile, path: string): NumberedRow {
  const { directory, bytes, sha256, mtimeMs, cut, isEscaped } = file;
  const diskPath = file.diskPath ?? file.path;
  return {
    ...{ role, index, directory, path, bytes, sha256 },
    ...(mtimeMs === undefined ? {} : { mtimeMs }),
    ...(cut === undefined ? {} : { cut }),
    ...(diskPath === path ? {} : { diskPath }),
    ...(isEscaped ? { isEscaped } : {}),
  };
}

function parentsOf(path: string): string[] {
  const segments = path.split("/");
  return segments.slice(1).map((_, index) => segments.slice(0, index + 1).join("/"));
}

function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

function byPlace(a: FoundFile, b: FoundFile): number {
  return byPath(a, b) || byPath({ path: a.diskPath ?? "" }, { path: b.diskPath ?? "" });
}
