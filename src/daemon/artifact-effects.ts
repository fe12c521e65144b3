/** Effects that move files: inputs from EMX2 to the job directory, outputs and logs back into artifacts. */
import { basename, dirname } from "node:path";
import type { Place } from "../artifacts/manifest.ts";
import { verifyPosixFile } from "../artifacts/posix-input.ts";
import type { PosixRoots } from "../artifacts/posix-roots.ts";
import { sourcesFile } from "../artifacts/sources-file.ts";
import { listInputs, stageFile } from "../artifacts/stage.ts";
import {
  artifactFor,
  BodyNotTaken,
  nameRefused,
  placeInPlace,
  putFile,
  registeredContent,
  registerFile,
} from "../artifacts/upload.ts";
import type { Call } from "../emx2/client.ts";
import { concernsAll } from "../emx2/retry.ts";
import { ApiError, StorageError } from "../errors.ts";
import { type EffectOf, type FileRow, groupFiles, laneOf, type UploadRole } from "../job/effect.ts";
import { type Job, mostNotTaken, type Upload } from "../job/job.ts";
import type { Movement } from "../journal/overview.ts";
import { escapeText } from "../log.ts";
import type { EffectContext } from "./effect-context.ts";
import type { Ending } from "./effects.ts";
import { type MoveEnd, moveGroup } from "./file-group.ts";
import { keepMade, madeBefore } from "./made-before.ts";
import { callFor } from "./server-effects.ts";

/** With pauses that double up to a minute: some six. */
const unseenTries = 10;
/** Half an hour: what a process that the job left behind has not finished by then, it never will. */
const writtenTries = 35;
/** A stray of the job may write for ever; it is tried for some quarter of a minute. */
const growingTries = 4;
/** The other daemon may be at its end; a job is not held for it for more than some minutes. */
const foreignTries = 10;

/** Takes the job directory, then finds out which files the inputs consist of. */
export async function listJobInputs(
  job: Job,
  _effect: EffectOf<"ListInputs">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"ListInputs">> {
  const { files, owner } = context;
  const taken = await files.create(job.dir, owner);
  if (taken.is === "foreign") {
    const cause = `${job.dir} belongs to another daemon (${taken.owner}): move it away, or end that one`;
    if ((job.waits.inputs?.failures ?? 0) < foreignTries) return { result: { is: "retry", cause } };
    // Two daemons of one worker id: what the other one claimed is not ours to fail.
    const isOthers = job.claim.stage === "ours" && job.claim.byReading === true;
    return { result: isOthers ? { is: "ok", value: { heldBy: cause } } : { is: "refused", cause } };
  }
  const listed = await listInputs(context, job.inputRefs, callFor(job, signal));
  if (listed.is === "refused") return { result: listed };
  const { rows } = listed;
  using scope = new DisposableStack();
  scope.use(rows);
  if (listed.sources.length > 0) await files.writeControl(job.dir, [sourcesFile(listed.sources)]);
  const room = await context.takeRoom(job, listed.bytesToCome);
  if (room.is !== "taken") return { result: room };
  scope.move();
  return { result: { is: "ok", value: { total: rows.total, bytes: rows.bytes } }, files: rows };
}

export async function stageJobFiles(
  job: Job,
  effect: EffectOf<"StageFiles">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"StageFiles">> {
  const { client, files, journal } = context;
  const rows = journal.files(job.id, "input", effect.from, groupFiles);
  const result = await move(job, "inputs", rows, context, signal, (row, call) =>
    row.directory.startsWith("/")
      ? verifyPosixFile(files, job.dir, row, rootsFor(job, row, context), signal)
      : stageFile(client, files, job.dir, row, call),
  );
  return { result };
}

/** A container sees of a posix input what lies in its directory: a link out of that would lead nowhere. */
function rootsFor(job: Job, row: FileRow, { posixRoots, profileOf }: EffectContext): PosixRoots {
  return profileOf(job.profileKey)?.workload.kind === "image" ? { directories: [row.directory] } : posixRoots;
}

/** Fixes what is to be uploaded: names, sizes and hashes, after the run's end. */
export async function sealFiles(
  job: Job,
  effect: EffectOf<"SealFiles">,
  { files, maxLogBytes, log }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"SealFiles">> {
  if (job.run.stage !== "ended") throw new Error(`SealFiles of job ${job.id}, whose run has not ended`);
  const { outputDir, manifestSha256 } = job.run.outcome;
  const sealed = manifestSha256 === undefined ? {} : { manifestSha256 };
  const logs = effect.role === "log" ? job.inPlace?.logs : undefined;
  const place = { ...placeOf(job), outputDir, ...sealed };
  const { refusedIn } = uploadAt(job, effect.role, "waiting");
  const readInPlace = effect.role === "output" && job.inPlace?.outputs === true;
  const how = { signal, plainNames: refusedIn !== undefined, readInPlace, ...(logs === undefined && { maxLogBytes }) };
  const failures = job.waits[laneOf(effect)]?.failures ?? 0;
  const listed = await files.list(place, effect.role, how).catch((error) => {
    if (!(error instanceof StorageError) || error.code !== "EBUSY" || failures < writtenTries) throw error;
    return { is: "refused", cause: `${error.message}, and goes on being written to long after the job's end` } as const;
  });
  if ("is" in listed) return { result: listed };
  const { rows, leftOut, escaped, unseen, growing } = listed;
  using scope = new DisposableStack();
  scope.use(rows);
  if (unseen) {
    const names = unseen.names.map(escapeText).join(", ");
    const cause = `${unseen.count} output file(s) can not be seen on this host as the job has left them: ${names}`;
    // A network file system may be minutes behind the compute node.
    const mayCome = failures < unseenTries;
    return { result: mayCome ? { is: "retry", cause } : { is: "refused", cause } };
  }
  if (growing) {
    const cause = `${growing.count} log file(s) are still being written to: ${growing.names.map(escapeText).join(", ")}`;
    if (failures < growingTries) return { result: { is: "retry", cause } };
    log.warn("logs are taken as far as they are written: somebody goes on writing", { jobId: job.id, cause });
  }
  if (logs !== undefined && rows.total > 0) await files.keepLogs(placeOf(job), rows, dirname(logs), signal);
  const value = {
    ...{ total: rows.total, bytes: rows.bytes, sha256: rows.sha256 },
    ...(leftOut.count > 0 ? { leftOut: { ...leftOut, names: leftOut.names.map(escapeText) } } : {}),
    ...(escaped && { escaped }),
  };
  scope.move();
  return { result: { is: "ok", value }, files: rows };
}

export async function createArtifact(
  job: Job,
  effect: EffectOf<"CreateArtifact">,
  { client, files, log }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"CreateArtifact">> {
  const { role } = effect;
  const call = callFor(job, signal);
  const artifact = artifactFor(job, role);
  const { sha256, refusedIn } = uploadAt(job, role, "sealed");
  const content = { sha256, ...(refusedIn !== undefined && { not: refusedIn }) };
  const before = await madeBefore({ client, files }, job.dir, role, artifact, content, call);
  if (before) return { result: { is: "ok", value: before } };
  // What that one has already is not to be there twice; where EMX2 keeps it, an open artifact is better than no result.
  if (refusedIn !== undefined)
    await client.deleteArtifact(refusedIn, call).catch((error) => {
      if (!(error instanceof ApiError) || concernsAll(error)) throw error;
      log.warn("an artifact stays at EMX2, open and unused", {
        jobId: job.id,
        artifactId: refusedIn,
        cause: error.message,
      });
    });
  const { artifactId } = await client.createArtifact(artifact, call);
  await keepMade({ client, files }, job.dir, role, artifactId);
  return { result: { is: "ok", value: { artifactId } } };
}

export async function putJobFiles(
  job: Job,
  effect: EffectOf<"PutFiles">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"PutFiles">> {
  const { client, files, journal, log } = context;
  const rows = journal.files(job.id, effect.role, effect.from, groupFiles);
  const { artifactId } = uploadAt(job, effect.role, "putting");
  const inPlace = placeInPlace(job, effect.role) !== null;
  const result = await move(
    job,
    effect.role === "log" ? "logs" : "outputs",
    rows,
    context,
    signal,
    async (row, call) => {
      try {
        if (inPlace) await registerFile(client, row, artifactId, call);
        else await putFile(client, files, placeOf(job), row, artifactId, call);
        return { is: "ok" };
      } catch (error) {
        if (error instanceof BodyNotTaken) {
          if (job.waits[laneOf(effect)]?.notTaken === mostNotTaken - 1)
            log.error("EMX2 does not take a large file, over and over", { jobId: job.id, cause: error.message });
          return { is: "retry", cause: error.message, notTaken: true };
        }
        const refused = nameRefused(error, row);
        if (!refused) throw error;
        log.warn("EMX2 does not take the name of a file", { jobId: job.id, file: row.path, cause: refused.cause });
        return refused;
      }
    },
  );
  return { result };
}

/** Moves a group, and lets be seen how far it has got. */
async function move(
  job: Job,
  lane: Movement["lane"],
  rows: readonly FileRow[],
  { slots, movements }: EffectContext,
  signal: AbortSignal,
  moveOne: (row: FileRow, call: Call) => Promise<MoveEnd>,
): ReturnType<typeof moveGroup> {
  const moving = movements.begin(job, lane);
  try {
    return await moveGroup(job.id, rows, slots, signal, async (row) => {
      const onBytes = (passed: number) => moving.bytes(row, passed);
      const end = await moveOne(row, { ...callFor(job, signal), onBytes });
      if (end.is === "ok") moving.arrived(row);
      return end;
    });
  } finally {
    moving.end();
  }
}

export async function commit(
  job: Job,
  effect: EffectOf<"Commit">,
  { client }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"Commit">> {
  const { artifactId, total, sha256, bytes } = uploadAt(job, effect.role, "putting");
  const call = callFor(job, signal);
  const inPlace = placeInPlace(job, effect.role) !== null;
  const content = inPlace ? await registeredContent(client, artifactId, total, call) : { sha256, bytes };
  await client.commit(artifactId, content, call);
  return { result: { is: "ok", value: {} } };
}

export async function removeDir(
  job: Job,
  _effect: EffectOf<"RemoveDir">,
  { files }: EffectContext,
): Promise<Ending<"RemoveDir">> {
  await files.remove(job.dir, committedParts(job));
  return { result: { is: "ok", value: {} } };
}

/** A posix artifact is for ever, also where it lies in the job directory, and whoever has committed it. */
export function committedParts(job: Job): string[] {
  // A state that was lost may have done so: then EMX2 had the end of the job from it.
  const unseen = job.stop?.by === "server-ended" || job.stop?.by === "server-deleted";
  const committed = [
    unseen || job.outputs.stage === "committed" ? placeInPlace(job, "output") : null,
    unseen || job.logs.stage === "committed" ? placeInPlace(job, "log") : null,
  ];
  return committed.flatMap((place) => (place !== null && dirname(place) === job.dir ? [basename(place)] : []));
}

function placeOf({ dir, outputBase }: Job): Place {
  return { dir, ...(outputBase === undefined ? {} : { outputBase }) };
}

function uploadAt<S extends Upload["stage"]>(job: Job, role: UploadRole, stage: S): Extract<Upload, { stage: S }> {
  const upload = role === "log" ? job.logs : job.outputs;
  if (upload.stage !== stage) throw new Error(`${role} upload of job ${job.id} is ${upload.stage}, not ${stage}`);
  return upload as Extract<Upload, { stage: S }>;
}
