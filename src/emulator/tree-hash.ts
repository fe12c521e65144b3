/** The hash of an artifact's content: that of its one file, or of `path:sha256` of all, sorted by code unit. */
import { sha256Hex } from "../emx2/signature.ts";

/** null: there are no files, or the only one is without a hash. */
export function contentSha256(
  files: readonly { readonly path: string; readonly sha256: string | null }[],
): string | null {
  const [first] = files;
  if (files.length <= 1) return first?.sha256 ?? null;
  const hashes = new Map(files.map(({ path, sha256 }) => [path, sha256]));
  const lines = [...hashes.keys()].sort().map((path) => `${path}:${hashes.get(path)}`);
  return sha256Hex(lines.join(""));
}
