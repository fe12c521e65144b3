/**
 * What may be wrong with an input artifact as EMX2 lists it, in words for the submitter: paths that must not be written
 * here, and hashes that do not fit together.
 */
import type { Artifact } from "../emx2/client.ts";
import { checkArtifactPath } from "./path.ts";

export type Refused = { readonly is: "refused"; readonly cause: string };

export function refused(cause: string): Refused {
  return { is: "refused", cause };
}

export function whyUnsafe(id: string, path: string): string | null {
  const checked = checkArtifactPath(path);
  if ("ok" in checked) return null;
  return `input artifact ${id} has a file that can not be written: ${checked.refused}`;
}

/** `actual`: the content hash that its files make. */
export function whyDifferent({ id, sha256 }: Artifact, actual: string): string | null {
  const expected = sha256?.toLowerCase();
  if (expected === undefined || actual === expected) return null;
  return `input_hash_mismatch: artifact ${id} has sha256 ${expected}, its files make ${actual}`;
}
