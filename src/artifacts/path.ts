/**
 * Which names may become paths here. A server's file path, an artifact id and a job id come from strangers (one server
 * generation stores `..` and absolute names as they are), so nothing of them reaches the file system unchecked. A name
 * is refused, never repaired: a repaired one would no longer be the name that the workload or the submitter knows.
 */

/** Linux: one name, in bytes of UTF-8. */
const maxSegmentBytes = 255;
/** Linux: a whole path, of which the job directory needs its share. */
const maxPathBytes = 4096 - 512;
/** Each level costs an open directory while its files are read or written. */
export const maxDepth = 64;
/** EMX2's column, in characters; EMX2 of 2026-02 takes 255 and says so itself. */
export const maxServerPathChars = 1024;

type PathCheck = { readonly ok: readonly string[] } | { readonly refused: string };

/** The segments of a path that a server gave, or why it may not be written here. Backslashes and newlines are legal. */
export function checkArtifactPath(path: string): PathCheck {
  if (path === "") return refused(path, "is empty");
  if (path.startsWith("/")) return refused(path, "is absolute");
  if (path.includes("\0")) return refused(path, "holds a NUL character");
  // A lone surrogate has no UTF-8 form: on disk it would become U+FFFD, the same for every such name.
  if (!path.isWellFormed()) return refused(path, "is not valid Unicode");
  if (Buffer.byteLength(path) > maxPathBytes) return refused(path, `is longer than ${maxPathBytes} bytes`);
  const segments = path.split("/");
  if (segments.length > maxDepth) return refused(path, `is more than ${maxDepth} levels deep`);
  for (const segment of segments) {
    if (segment === "") return refused(path, "has an empty segment");
    if (segment === "." || segment === "..") return refused(path, `has a segment "${segment}"`);
    if (Buffer.byteLength(segment) > maxSegmentBytes) {
      return refused(path, `has a segment longer than ${maxSegmentBytes} bytes`);
    }
  }
  return { ok: segments };
}

/**
 * Why the files of one input can not lie side by side: the same path twice, or a file where another needs a directory.
 * `paths` come in any order in which the same ones follow each other; `isFile` knows all of them.
 */
export function findCollision(paths: Iterable<string>, isFile: (path: string) => boolean): string | null {
  let before: string | undefined;
  let directory = "";
  for (const path of paths) {
    if (path === before) return `the path ${quote(path)} occurs twice`;
    before = path;
    const parents = path.slice(0, path.lastIndexOf("/") + 1);
    // Of many files in one directory its own way is looked at once.
    if (parents === directory) continue;
    directory = parents;
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      const parent = path.slice(0, at);
      if (isFile(parent)) return `${quote(parent)} is a file, and ${quote(path)} needs it to be a directory`;
    }
  }
  return null;
}

function refused(name: string, why: string): { readonly refused: string } {
  return { refused: `${quote(name)} ${why}` };
}

/** For messages: JSON quoting keeps control characters out, and a name of any length short. */
export function quote(name: string): string {
  const longest = 200;
  return JSON.stringify(name.length > longest ? `${name.slice(0, longest)}…` : name);
}
