/**
 * Inputs on their way from EMX2 to the job directory. What cannot become right by trying again (an artifact that is not
 * committed, a path that may not be written, content that is not what its hash says) is `refused`, with the detail that
 * EMX2 is to show; errors of the network and the API are thrown through.
 */
import { createHash } from "node:crypto";
import type { Artifact, ArtifactFile, Call, Emx2Client, FileFacts } from "../emx2/client.ts";
import { ApiError, IntegrityError, NetworkError } from "../errors.ts";
import type { FileRow } from "../job/effect.ts";
import type { InputRef } from "../job/job.ts";
import type { InputSource } from "../job/script.ts";
import { FileRows, type ListedRows } from "./file-rows.ts";
import { type Refused, refused, whyDifferent, whyUnsafe } from "./input-checks.ts";
import type { JobFiles } from "./job-files.ts";
import { quote } from "./path.ts";
import { listPosixInput } from "./posix-input.ts";
import type { PosixRoots } from "./posix-roots.ts";

type Listed =
  | {
      readonly is: "ok";
      readonly rows: ListedRows;
      /** Of those files that are brought to the job directory. */
      readonly bytesToCome: number;
      /** Of the posix inputs among them. */
      readonly sources: readonly InputSource[];
    }
  | Refused;

/** Of one job, over all its inputs. */
const maxInputFiles = 1_000_000;
/** EMX2 and all between here and there get a second chance before a job fails for its input. */
const maxTries = 2;

/** Where inputs are looked up: at EMX2, and for those of posix residence where they lie. */
export interface InputParts {
  readonly client: Emx2Client;
  readonly files: JobFiles;
  readonly posixRoots: PosixRoots;
}

/** Every file of every input artifact, numbered through, with paths checked and each artifact's own hash verified. */
export async function listInputs(parts: InputParts, inputs: readonly InputRef[], call: Call): Promise<Listed> {
  using scope = new DisposableStack();
  const rows = scope.use(new FileRows("input"));
  const sources: InputSource[] = [];
  let bytesToCome = 0;
  for (const [part, { artifactId }] of inputs.entries()) {
    const artifact = await parts.client.readArtifact(artifactId, call);
    const unusable = whyUnusable(artifact);
    if (artifact === null || unusable !== null) return refused(`input artifact ${artifactId} ${unusable}`);
    const listing = { artifact, rows, part, room: maxInputFiles - rows.total };
    const isPosix = artifact.residence === "posix";
    const listed = await (isPosix ? listPosixInput(parts, listing, call) : listManaged(parts.client, listing, call));
    if ("is" in listed) return listed;
    if (listed.source) sources.push(listed.source);
    else bytesToCome += rows.sumOf(part).bytes;
  }
  scope.move();
  return { is: "ok", rows, bytesToCome, sources };
}

/** One input, and where its files go. */
export interface Listing {
  readonly artifact: Artifact;
  readonly rows: FileRows;
  readonly part: number;
  /** As many may still come. */
  readonly room: number;
}

/** Where an input is not brought here, what it is. */
export interface ListedInput {
  readonly source?: InputSource;
}

async function listManaged(
  client: Emx2Client,
  { artifact, rows, part, room }: Listing,
  call: Call,
): Promise<ListedInput | Refused> {
  const { id } = artifact;
  const place = { directory: `input/${id}`, artifactId: id };
  let fault = "";
  for (let tries = 0; tries < maxTries; tries++) {
    rows.drop(part);
    for await (const page of client.listFiles(id, { maxFiles: room }, call))
      for (const file of page) {
        const unsafe = whyUnsafe(id, file.path);
        if (unsafe !== null) return refused(unsafe);
        rows.add(file.path, { ...place, ...(await completed(client, id, file, call)) }, part);
      }
    if (rows.sumOf(part).files === 0) return refused(`input artifact ${id} has no files`);
    const collision = rows.collision(part);
    if (collision !== null) return refused(`input artifact ${id}: ${collision}`);
    fault = whyDifferent(artifact, rows.contentHash(part)) ?? "";
    if (fault === "") return {};
  }
  return refused(fault);
}

function whyUnusable(artifact: Artifact | null): string | null {
  if (artifact === null) return "is unknown to EMX2";
  const { status, residence } = artifact;
  if (status !== "COMMITTED") return `is ${status}, not COMMITTED`;
  if (residence !== null && residence !== "managed" && residence !== "posix") {
    return `has residence ${residence}: only managed and posix inputs can be had here`;
  }
  return null;
}

/** Size and hash where the listing lacks them: as HEAD tells, else measured by fetching the file once for that. */
async function completed(client: Emx2Client, id: string, { path, ...listed }: ArtifactFile, call: Call) {
  let { bytes, sha256 } = listed;
  if (bytes === null || sha256 === null) {
    const head = await client.headFile(id, path, call);
    bytes ??= head?.bytes ?? null;
    sha256 ??= head?.sha256 ?? null;
  }
  return bytes === null || sha256 === null ? await measure(client, id, path, call) : { bytes, sha256 };
}

async function measure(client: Emx2Client, id: string, path: string, call: Call) {
  const { body } = await client.getFile(id, path, call);
  const hash = createHash("sha256");
  let bytes = 0;
  const reader = body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    hash.update(next.value);
    bytes += next.value.length;
  }
  return { bytes, sha256: hash.digest("hex") };
}

/** Brings one input file to its place, unless it is there already. */
export async function stageFile(
  client: Emx2Client,
  files: JobFiles,
  dir: string,
  row: FileRow,
  call: Call,
): Promise<{ readonly is: "ok"; readonly bytes: number } | Refused> {
  const { artifactId } = row;
  if (artifactId === undefined) throw new Error(`input file ${row.index} in ${dir} names no artifact`);
  if (await files.hasInput(dir, row)) return { is: "ok", bytes: row.bytes };
  let cause = "";
  for (let tries = 0; tries < maxTries; tries++) {
    const download = await client.getFile(artifactId, row.path, call);
    try {
      const { bytes } = await files.writeInput(dir, row, download.body);
      return { is: "ok", bytes };
    } catch (error) {
      // Storage that refuses before a byte was read: nobody else lets go of the answer. One that was read is cancelled.
      if (!download.body.locked) await download.body.cancel(error);
      if (!(error instanceof IntegrityError)) throw error;
      throwIfNotTheFile(error, artifactId, row, download.sha256);
      const { what, expected, actual } = error.mismatch;
      cause = `input_hash_mismatch: ${quote(row.path)} of artifact ${artifactId}: expected ${what} ${expected}, got ${actual}`;
    }
  }
  return refused(cause);
}

/**
 * A download that was cut short, or that has none of EMX2's headers (a proxy's page with status 200), says nothing about
 * the artifact: it must cost delay, not the job. What has the hash that came with it is what EMX2 has, whatever it lists.
 */
function throwIfNotTheFile(error: IntegrityError, artifactId: string, row: FileRow, told: FileFacts["sha256"]): void {
  const { what, expected, actual, sha256 } = error.mismatch;
  const path = `/artifacts/${artifactId}/files/${row.path}`;
  if (what === "bytes" && Number(actual) < row.bytes && (told === null || sha256 !== told)) {
    const message = `${quote(row.path)} of artifact ${artifactId} ended after ${actual} of ${expected} bytes`;
    throw new NetworkError(message, { code: "ERR_BODY_CUT", method: "GET", path, maybeDelivered: true });
  }
  if (told !== null) return;
  const message = `the answer to GET ${quote(path)} is not the file: ${error.message}, and no X-Content-SHA256`;
  throw new ApiError(message, { status: 200, method: "GET", path });
}
