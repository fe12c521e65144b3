/** The hash of an artifact's content: that of its one file, or of `path:sha256` of all, sorted by code unit. */
import { sha256Hex } from "../emx2/signature.ts";

/** null: there are no files, or the only one is without a hash. A path that is there twice counts twice. */
export function contentSha256(
  files: readonly { readonly path: string; readonly sha256: string | null }[],
): string | null {
  const [first] = files;
  if (files.length <= 1) return first?.sha256 ?? null;
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : Number(a.path > b.path)));
  return sha256Hex(sorted.map(({ path, sha256 }) => `${path}:${sha256}`).join(""));
}
