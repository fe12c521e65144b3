/** Outputs and logs on their way from the job directory into artifacts of EMX2. */
import type { Call, Emx2Client, NewArtifact } from "../emx2/client.ts";
import { ApiError, IntegrityError, NetworkError } from "../errors.ts";
import type { FileRow, UploadRole } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import { timeLimitMs } from "../job/profile.ts";
import { isPlain } from "./disk-path.ts";
import { FileRows } from "./file-rows.ts";
import type { JobFiles } from "./job-files.ts";
import type { Place } from "./manifest.ts";
import { quote } from "./path.ts";

/** From this size on a question whether the file is there already is cheaper than sending it again. */
const headFirstFromBytes = 1024 * 1024;

/** From this size on a body is sent for minutes or more: what can not be taken is not to be sent for days. */
const heavyBytes = 10_000_000;

/** The artifact that a job's outputs or logs go into. The job's script was written, so its parameters have a hash. */
export function artifactFor(job: Job, role: UploadRole): NewArtifact {
  const place = placeInPlace(job, role);
  return {
    type: role === "log" ? "log" : "blob",
    ...(place === null ? { residence: "managed" } : { residence: "posix", contentUrl: fileUrl(place) }),
    name: `${role}-${job.id.slice(0, 8)}`,
    metadata: {
      jobId: job.id,
      processor: job.processor,
      profile: job.serverProfile,
      role,
      createdBy: job.submitUser,
      inputArtifactIds: job.inputRefs.map((input) => input.artifactId),
      parametersHash: job.parametersHash ?? "",
      ...provenance(job),
      ...(job.backend === "simulate" ? { simulated: true } : {}),
      ...(job.escaped?.[role] && { escapedNames: job.escaped[role] }),
    },
  };
}

/** Where outputs or logs stay; null: they are uploaded. */
export function placeInPlace(job: Job, role: UploadRole): string | null {
  if (role === "log") return job.inPlace?.logs ?? null;
  if (!job.inPlace?.outputs || job.run.stage !== "ended") return null;
  return `${job.outputBase ?? job.dir}/${job.run.outcome.outputDir}`;
}

function fileUrl(path: string): string {
  return `file://${path.split("/").map(encodeURIComponent).join("/")}`;
}

/** The run that made it, as far as is known. */
function provenance({ run, image }: Job): Partial<NewArtifact["metadata"]> {
  if (run.stage !== "ended") return {};
  const { node, elapsed, imageChanged, used } = run.outcome;
  // Slurm spells what has passed and what is allowed alike.
  const elapsedMs = elapsed === undefined ? undefined : (timeLimitMs(elapsed) ?? 0);
  return {
    ...(run.ref?.schedulerId === undefined ? {} : { slurmJobId: run.ref.schedulerId }),
    ...(node === undefined ? {} : { node }),
    ...(elapsedMs === undefined ? {} : { elapsedSeconds: elapsedMs / 1_000 }),
    ...(imageChanged ? { imageChanged } : image && { imageSha256: image.sha256 }),
    ...(used && { used }),
  };
}

/**
 * Puts one file, streamed. Putting it twice does no harm, so that after a crash it is simply done again; a large one that
 * has arrived is not sent again. Throws IntegrityError where the file is no longer the one that was hashed.
 */
export async function putFile(
  client: Emx2Client,
  files: JobFiles,
  place: Place,
  row: FileRow,
  artifactId: string,
  call: Call,
): Promise<void> {
  const { path, bytes } = row;
  const sha256 = hashOf(row);
  if (bytes >= headFirstFromBytes) {
    const there = await client.headFile(artifactId, path, call);
    if (there?.bytes === bytes && there.sha256 === sha256) return;
  }
  const isHeavy = bytes >= heavyBytes;
  const once = isHeavy ? { ...call, attempts: 1 } : call;
  try {
    await client.putFile(artifactId, { path, bytes, sha256, body: () => files.read(place, row) }, once);
  } catch (error) {
    if (isHeavy && isNotTaken(error))
      throw new BodyNotTaken(`${quote(path)} of ${bytes} bytes: ${error.message}`, { cause: error });
    throw isRefusal(error) ? explained(error, row) : error;
  }
}

/** EMX2 was there the moment before, and this body, which takes its time, did not get through. */
export class BodyNotTaken extends Error {
  override name = "BodyNotTaken";
}

/** A gateway's time-out counts: it is what bodies die of that are too much for the server behind it. */
function isNotTaken(error: unknown): error is ApiError | NetworkError {
  if (error instanceof NetworkError) return isSend(error.failure.method) && error.failure.maybeDelivered;
  if (!(error instanceof ApiError) || !isSend(error.answer.method)) return false;
  const { status, tooLarge, retryAfterMs } = error.answer;
  // Who says when to come again has nothing against the body.
  return status >= 500 && status !== 503 && tooLarge === undefined && retryAfterMs === undefined;
}

/** 2026-02 is asked before it is sent a large file: such a question that fails says nothing of the body. */
function isSend(method: string): boolean {
  return method === "PUT" || method === "POST";
}

/** Tells EMX2 of one file that stays where it is. */
export async function registerFile(client: Emx2Client, row: FileRow, artifactId: string, call: Call): Promise<void> {
  const { path, bytes } = row;
  await client.putFileFacts(artifactId, { path, bytes, sha256: hashOf(row) }, call);
}

/**
 * The content of a posix artifact as EMX2 itself makes it of what it was told: 2026-02 of the descriptions' hashes and sizes,
 * not of the files' own. So it is asked what it holds, whichever it was when the files were registered.
 */
export async function registeredContent(
  client: Emx2Client,
  artifactId: string,
  total: number,
  call: Call,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  using held = new FileRows("output");
  for await (const page of client.listFiles(artifactId, { maxFiles: total }, call))
    for (const { path, sha256, bytes } of page)
      held.add(path, { directory: "", sha256: sha256 ?? "", bytes: bytes ?? 0 });
  if (held.total !== total) {
    const mismatch = { what: "number of files", expected: String(total), actual: String(held.total) };
    throw new IntegrityError(`artifact ${artifactId} has ${held.total} of ${total} files`, mismatch);
  }
  return { sha256: held.sha256, bytes: held.bytes };
}

/** With these EMX2, or whoever stands in front of it, says no to a URL that is not to its taste. */
const ofName: ReadonlySet<number> = new Set([400, 406, 414, 422]);

/** Another name may be taken: `path` has characters that mean something to somebody. undefined: that is not why it failed. */
export function nameRefused(error: unknown, { path }: FileRow) {
  if (!(error instanceof ApiError) || isPlain(path) || !ofName.has(error.answer.status)) return undefined;
  return { is: "refused", cause: error.message, status: error.answer.status, oddName: true } as const;
}

function hashOf({ role, path, sha256 }: FileRow): string {
  if (sha256 === undefined) throw new Error(`${role} file ${quote(path)} was not hashed`);
  return sha256;
}

/** For what the file is, and no other would be. */
function isRefusal(error: unknown): error is ApiError {
  if (!(error instanceof ApiError)) return false;
  const { status, tooLarge } = error.answer;
  return tooLarge !== undefined || [400, 409, 415, 422, 507].includes(status);
}

function explained(error: ApiError, { path, bytes }: FileRow): ApiError {
  const advice = "large outputs belong in posix residence (output_residence: posix in the profile)";
  const words = error.answer.tooLarge === undefined ? error.message : `${advice}. ${error.message}`;
  return new ApiError(`EMX2 does not take ${quote(path)} of ${bytes} bytes: ${words}`, error.answer);
}
