/**
 * The manifest that the batch script has made of a run's output directory, on the compute node and at the run's end: what
 * has to become visible here, and its hashes, so that this host reads each file once, for the upload. The job may have
 * written it itself, as it may have written the outputs.
 */
import { createHash } from "node:crypto";
import { diskPathOf, latin, ofLatin } from "./disk-path.ts";
import { controlDirectory } from "./manifest.ts";
import { orNothing } from "./missing.ts";
import { openRegular, withDirectory } from "./no-follow.ts";

/** More than the files of a walk take, unless their names are very long. */
const maxManifestBytes = 256 * 1024 * 1024;

export interface SealedFile {
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly sha256: string;
}

/** By place below the output directory, as `diskPathOf` writes it: names of any bytes are told apart. */
export type Seal = ReadonlyMap<string, SealedFile | "link">;

/** null: the one that its receipt speaks of is not there (yet), and nobody can tell what has to be. */
export async function readSeal(dir: string, outputDir: string, manifestSha256: string): Promise<Seal | null> {
  const run = outputDir === "output" ? "a1.0" : outputDir.replace(/^output\./, "");
  const bytes = await withDirectory(dir, [controlDirectory], async (control) => {
    const file = await orNothing(dir, () => openRegular(control, `manifest.${run}`), null);
    if (file === null) return null;
    try {
      const { size } = await file.stat();
      return size > maxManifestBytes ? null : await file.readFile();
    } finally {
      await file.close();
    }
  });
  if (bytes === null || createHash("sha256").update(bytes).digest("hex") !== manifestSha256) return null;
  return sealOf(bytes);
}

/** null: a file is named without its hash, or the other way round. */
export function sealOf(manifest: Uint8Array): Seal | null {
  const found = new Map<string, Omit<SealedFile, "sha256">>();
  const hashes = new Map<string, string>();
  const seal = new Map<string, SealedFile | "link">();
  for (const record of latin(manifest).split("\0")) {
    if (record === "") continue;
    const [, sha256, hashed] = /^([0-9a-f]{64}) [ *]\.\/(.+)$/s.exec(record) ?? [];
    const [, bytes, seconds, fraction = "", listed] =
      /^(\d{1,16}) (-?\d{1,12})(?:\.(\d{1,12}))? (.+)$/s.exec(record) ?? [];
    const [, link] = /^link (.+)$/s.exec(record) ?? [];
    if (link !== undefined) seal.set(diskPathOf(ofLatin(link)), "link");
    else if (sha256 !== undefined && hashed !== undefined) hashes.set(hashed, sha256);
    else if (bytes === undefined || seconds === undefined || listed === undefined) return null;
    else
      found.set(listed, {
        bytes: Number(bytes),
        mtimeMs: Number(seconds) * 1_000 + Number(fraction.padEnd(3, "0").slice(0, 3)),
      });
  }
  if (found.size !== hashes.size) return null;
  for (const [path, facts] of found) {
    const sha256 = hashes.get(path);
    if (sha256 === undefined) return null;
    seal.set(diskPathOf(ofLatin(path)), { ...facts, sha256 });
  }
  return seal;
}
