/** Effects that move files: inputs from EMX2 to the job directory, outputs and logs back into artifacts. */
import { contentHash } from "../artifacts/manifest.ts";
import { listInputs, stageFile } from "../artifacts/stage.ts";
import { artifactFor, putFile } from "../artifacts/upload.ts";
import type { EffectOf, FileRow, UploadRole } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { EffectContext } from "./effect-context.ts";
import type { Ending } from "./effects.ts";
import { callFor } from "./server-effects.ts";

/** The other daemon may be at its end; a job is not held for it for more than some minutes. */
const foreignTries = 10;

/** Takes the job directory, then finds out which files the inputs consist of. */
export async function listJobInputs(
  job: Job,
  _effect: EffectOf<"ListInputs">,
  { client, files, owner }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"ListInputs">> {
  const taken = await files.create(job.dir, owner);
  if (taken.is === "foreign") {
    const cause = `${job.dir} belongs to another daemon (${taken.owner}): move it away, or end that one`;
    return { result: { is: (job.waits.inputs?.failures ?? 0) < foreignTries ? "retry" : "refused", cause } };
  }
  const listed = await listInputs(client, job.inputRefs, callFor(job, signal));
  if (listed.is === "refused") return { result: listed };
  const value = { total: listed.rows.length, bytes: listed.bytes };
  return { result: { is: "ok", value }, files: listed.rows };
}

export async function stageJobFile(
  job: Job,
  effect: EffectOf<"StageFile">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"StageFile">> {
  const row = rowOf(context, job, "input", effect.index);
  const staged = await stageFile(context.client, context.files, job.dir, row, callFor(job, signal));
  return { result: staged.is === "ok" ? { is: "ok", value: { bytes: staged.bytes } } : staged };
}

/** Fixes what is to be uploaded: names, sizes and hashes, after the run's end. */
export async function sealFiles(
  job: Job,
  effect: EffectOf<"SealFiles">,
  { files }: EffectContext,
): Promise<Ending<"SealFiles">> {
  if (job.run.stage !== "ended") throw new Error(`SealFiles of job ${job.id}, whose run has not ended`);
  const rows = await files.list(job.dir, job.run.outcome.outputDir, effect.role);
  const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
  const value = { total: rows.length, bytes, sha256: contentHash(rows) };
  return { result: { is: "ok", value }, files: rows };
}

export async function createArtifact(
  job: Job,
  effect: EffectOf<"CreateArtifact">,
  { client }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"CreateArtifact">> {
  const { artifactId } = await client.createArtifact(artifactFor(job, effect.role), callFor(job, signal));
  return { result: { is: "ok", value: { artifactId } } };
}

export async function putJobFile(
  job: Job,
  effect: EffectOf<"PutFile">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"PutFile">> {
  const row = rowOf(context, job, effect.role, effect.index);
  const { artifactId } = putting(job, effect.role);
  await putFile(context.client, context.files, job.dir, row, artifactId, callFor(job, signal));
  return { result: { is: "ok", value: { bytes: row.bytes } } };
}

export async function commit(
  job: Job,
  effect: EffectOf<"Commit">,
  { client }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"Commit">> {
  const { artifactId, sha256, bytes } = putting(job, effect.role);
  await client.commit(artifactId, { sha256, bytes }, callFor(job, signal));
  return { result: { is: "ok", value: {} } };
}

export async function removeDir(
  job: Job,
  _effect: EffectOf<"RemoveDir">,
  { files }: EffectContext,
): Promise<Ending<"RemoveDir">> {
  await files.remove(job.dir);
  return { result: { is: "ok", value: {} } };
}

function rowOf(context: EffectContext, job: Job, role: FileRow["role"], index: number): FileRow {
  const row = context.journal.file(job.id, role, index);
  if (!row) throw new Error(`the journal has no ${role} file ${index} of job ${job.id}`);
  return row;
}

function putting(job: Job, role: UploadRole): Extract<Job["logs"], { stage: "putting" }> {
  const upload = role === "log" ? job.logs : job.outputs;
  if (upload.stage !== "putting") throw new Error(`${role} upload of job ${job.id} is ${upload.stage}, not putting`);
  return upload;
}
