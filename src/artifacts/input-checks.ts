/**
 * What may be wrong with an input artifact as EMX2 lists it, in words for the submitter: paths that must not be written
 * here, and hashes that do not fit together.
 */
import type { Artifact, ArtifactFile } from "../emx2/client.ts";
import type { FileRow } from "../job/effect.ts";
import { contentHash } from "./manifest.ts";
import { checkArtifactPath, findCollision } from "./path.ts";

export type Refused = { readonly is: "refused"; readonly cause: string };

export function refused(cause: string): Refused {
  return { is: "refused", cause };
}

export function whyUnsafe(id: string, files: readonly ArtifactFile[]): string | null {
  for (const { path } of files) {
    const checked = checkArtifactPath(path);
    if ("refused" in checked) return `input artifact ${id} has a file that can not be written: ${checked.refused}`;
  }
  const collision = findCollision(files.map((file) => file.path));
  return collision === null ? null : `input artifact ${id}: ${collision}`;
}

export function whyDifferent(
  { id, sha256 }: Artifact,
  files: readonly Pick<FileRow, "path" | "sha256">[],
): string | null {
  const expected = sha256?.toLowerCase();
  const actual = contentHash(files);
  if (expected === undefined || actual === expected) return null;
  return `input_hash_mismatch: artifact ${id} has sha256 ${expected}, its files make ${actual}`;
}
