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
import type { InputParts, ListedInput } from "./stage.ts";

/** Of what 2026-02 holds about one file. */
const maxFactsBytes = 64 * 1024;

const hex = v.pipe(v.string(), v.toLowerCase(), v.regex(/^[0-9a-f]{64}$/));
const size = v.pipe(v.union([v.number(), v.pipe(v.string(), v.regex(/^\d+$/), v.transform(Number))]), v.minValue(0));
const Facts = v.object({ sha256: hex, size_bytes: size });
const FactsText = v.pipe(v.string(), v.parseJson(), Facts);

/** The rows name the directory in which each file is verified. */
export async function listPosixInput(
  { client, files, posixRoots }: InputParts,
  artifact: Artifact,
  maxFiles: number,
  call: Call,
): Promise<ListedInput | Refused> {
  const { id, contentUrl } = artifact;
  const place = pathOf(contentUrl ?? "");
  if ("wrong" in place)
    return refused(`input artifact ${id} has content_url ${quote(contentUrl ?? "")}: ${place.wrong}`);
  const listed = await client.listFiles(id, { maxFiles }, call);
  const wrong = whyUnsafe(id, listed) ?? (listed.length === 0 ? null : whyDifferent(artifact, withoutNull(listed)));
  if (wrong !== null) return refused(wrong);
  const found = await files.findSource(place.path, posixRoots);
  if (found.is === "refused") return refused(`input artifact ${id}: ${found.why}`);
  const { path, kind } = found;
  const source = { artifactId: id, kind, path };
  const single = kind === "file" ? { directory: dirname(path), diskPath: basename(path) } : { directory: path };
  if (listed.length === 0) {
    const only = withoutList(artifact, found);
    return "is" in only ? only : { source, files: [{ ...only, ...single }] };
  }
  if (kind === "file" && listed.length > 1)
    return refused(`input artifact ${id}: ${quote(path)} is one file, EMX2 lists ${listed.length}`);
  const verifiable: ListedInput["files"][number][] = [];
  for (const file of listed) {
    const facts = await factsOf(client, artifact, file, call);
    if ("is" in facts) return facts;
    verifiable.push({ path: file.path, bytes: facts.size_bytes, sha256: facts.sha256, ...single });
  }
  return { source, files: verifiable };
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

function withoutNull(files: readonly ArtifactFile[]): { readonly path: string; readonly sha256: string }[] {
  return files.map(({ path, sha256 }) => ({ path, sha256: sha256 ?? "" }));
}
