/**
 * Inputs of posix residence: EMX2 knows where they lie and what each file is to be; the bytes never pass through it. They
 * are found, verified file by file where they lie, and used there.
 */
import { basename, dirname } from "node:path";
import * as v from "valibot";
import type { Artifact, ArtifactFile, Call, Emx2Client } from "../emx2/client.ts";
import type { FileRow } from "../job/effect.ts";
import { type Refused, refused, whyDifferent, whyUnsafe } from "./input-checks.ts";
import type { JobFiles } from "./job-files.ts";
import { quote } from "./path.ts";
import type { PosixRoots } from "./posix-roots.ts";
import type { FoundSource } from "./source.ts";
import type { InputParts, ListedInput, Listing } from "./stage.ts";

/** Of what 2026-02 holds about one file. */
const maxFactsBytes = 64 * 1024;

const hex = v.pipe(v.string(), v.toLowerCase(), v.regex(/^[0-9a-f]{64}$/));
const size = v.pipe(
  v.union([v.number(), v.pipe(v.string(), v.regex(/^\d+$/), v.transform(Number))]),
  v.safeInteger(),
  v.minValue(0),
);
const Facts = v.object({ sha256: hex, size_bytes: size });
const FactsText = v.pipe(v.string(), v.parseJson(), Facts);

/** The rows name the directory in which each file is verified. */
export async function listPosixInput(
  { client, files, posixRoots }: InputParts,
  { artifact, rows, part, room }: Listing,
  call: Call,
): Promise<ListedInput | Refused> {
  const { id, contentUrl } = artifact;
  const place = pathOf(contentUrl ?? "");
  if ("wrong" in place)
    return refused(`input artifact ${id} has content_url ${quote(contentUrl ?? "")}: ${place.wrong}`);
  const found = await files.findSource(place.path, posixRoots);
  if (found.is === "refused") return refused(`input artifact ${id}: ${found.why}`);
  const { path, kind } = found;
  const only = kind === "file" ? { directory: dirname(path), diskPath: basename(path) } : { directory: path };
  const kept = { artifactId: id, ...only };
  const source = { artifactId: id, kind, path };
  for await (const page of client.listFiles(id, { maxFiles: room }, call))
    for (const file of page) {
      const unsafe = whyUnsafe(id, file.path);
      if (unsafe !== null) return refused(unsafe);
      const facts = await factsOf(client, artifact, file, call);
      if ("is" in facts) return facts;
      const { size_bytes: bytes, sha256 } = facts;
      rows.add(file.path, { ...kept, bytes, sha256 }, part, file.sha256 ?? "");
    }
  const listed = rows.sumOf(part).files;
  if (listed === 0) {
    const whole = withoutList(artifact, found);
    if ("is" in whole) return whole;
    rows.add(whole.path, { ...kept, bytes: whole.bytes, sha256: whole.sha256 }, part);
    return { source };
  }
  const collision = rows.collision(part);
  if (collision !== null) return refused(`input artifact ${id}: ${collision}`);
  const different = whyDifferent(artifact, rows.contentHash(part));
  if (different !== null) return refused(different);
  if (kind === "file" && listed > 1)
    return refused(`input artifact ${id}: ${quote(path)} is one file, EMX2 lists ${listed}`);
  return { source };
}

/** Verifies one file where it lies. */
export async function verifyPosixFile(
  files: JobFiles,
  dir: string,
  row: FileRow,
  roots: PosixRoots,
  signal: AbortSignal,
): Promise<{ readonly is: "ok"; readonly bytes: number } | Refused> {
  const path = `${row.directory}/${row.diskPath ?? row.path}`;
  const hashed = await files.hashSource({ dir, path, sha256: row.sha256 }, roots, signal);
  if (hashed.is === "refused") return refused(`input artifact ${row.artifactId}: ${hashed.why}`);
  const { bytes, sha256 } = hashed;
  if (bytes === row.bytes && sha256 === row.sha256) return { is: "ok", bytes };
  // What is there instead is not the submitter's to learn.
  const difference = bytes === row.bytes ? `expected sha256 ${row.sha256}, has another` : "has another size";
  return refused(`input_hash_mismatch: ${quote(row.path)} of artifact ${row.artifactId}: ${difference}`);
}

/** The path that a `file:` URL names. Whoever registers a path as it is, with `#` or spaces in it, means that path. */
export function pathOf(contentUrl: string): { readonly path: string } | { readonly wrong: string } {
  if (!contentUrl.startsWith("file:///")) return { wrong: "a posix artifact lies at file:///…, without a host" };
  let path: string;
  try {
    path = decodeURIComponent(contentUrl.slice("file://".length));
  } catch {
    return { wrong: "it is not percent-encoded as a URL is" };
  }
  if (path.includes("\0")) return { wrong: "it holds a NUL character" };
  if (path.split("/").includes("..")) return { wrong: 'it has a segment ".."' };
  return { path };
}

/** A single file needs no list: the artifact's own hash says what it is to be. */
function withoutList(
  { id, sha256 }: Artifact,
  found: Extract<FoundSource, { is: "found" }>,
): { path: string; bytes: number; sha256: string } | Refused {
  if (found.kind === "directory")
    return refused(`input artifact ${id} lists no files, so that nothing in ${quote(found.path)} can be verified`);
  if (sha256 === null) return refused(`input artifact ${id} has no sha256, so that it can not be verified`);
  return { path: basename(found.path), bytes: found.bytes, sha256 };
}

/** 2026-02 takes the description of a file for its content, and knows size and hash of that alone. */
async function factsOf(
  client: Emx2Client,
  { id }: Artifact,
  file: ArtifactFile,
  call: Call,
): Promise<v.InferOutput<typeof Facts> | Refused> {
  const described = (await client.generation(call)) === "2026-02";
  const parsed = described
    ? v.safeParse(FactsText, await client.readFileText(id, file.path, { maxBytes: maxFactsBytes }, call))
    : v.safeParse(Facts, { sha256: file.sha256, size_bytes: file.bytes });
  return parsed.success ? parsed.output : refused(`input artifact ${id} tells no size and hash of ${quote(file.path)}`);
}
