/** Effects on the job directory's script and on the scheduler: write, submit, find, cancel, close. */
import { join } from "node:path";
import { factsOnNode } from "../artifacts/image.ts";
import { logsDirectory } from "../artifacts/posix-output.ts";
import { readSources } from "../artifacts/sources-file.ts";
import { StorageError } from "../errors.ts";
import { saidIn } from "../job/diagnosis.ts";
import type { EffectOf } from "../job/effect.ts";
import type { InPlace, Job } from "../job/job.ts";
import type { Profile } from "../job/profile.ts";
import { type Receipts, runName, type Said } from "../job/run.ts";
import { controlFiles, seenImageFile } from "../job/script.ts";
import { escapeText } from "../log.ts";
import { busyPauseMs } from "./busy.ts";
import type { EffectContext } from "./effect-context.ts";
import type { Ending } from "./effects.ts";
import { imageChanged, imageFit, imageSeen } from "./image-check.ts";
import { callFor } from "./server-effects.ts";
import { usageAtEnd } from "./usage.ts";

/** The parameters are read from EMX2 anew and go to the job directory alone: neither journal nor log ever holds them. */
export async function writeScript(
  job: Job,
  effect: EffectOf<"WriteScript">,
  context: Pick<EffectContext, "profileOf" | "client" | "files" | "apptainer" | "clock" | "sealMs" | "isTrial">,
  signal: AbortSignal,
): Promise<Ending<"WriteScript">> {
  const profile = context.profileOf(job.profileKey);
  if (!profile) return { result: profileGone(job) };
  const fresh = await context.client.readJob(job.id, callFor(job, signal));
  if (!fresh) return { result: { is: "retry", cause: "EMX2 no longer knows the job" } };
  if (fresh.unreadable !== undefined) return { result: { is: "refused", cause: fresh.unreadable } };
  const { parametersText } = fresh;
  const { files, apptainer } = context;
  const { inPlace, outputBase, made } = staying(job, profile);
  const based = outputBase === undefined ? {} : { outputBase };
  const sources = await readSources(files, job.dir);
  const { sealMs, isTrial } = context;
  const asked = { jobId: job.id, dir: job.dir, ...based, sources, profile, apptainer, sealMs, isTrial, parametersText };
  const script = controlFiles(asked);
  if (script.is === "refused") return { result: script };
  const taken = made === undefined ? null : await files.makeOutputBase(made);
  if (taken?.is === "foreign")
    return { result: { is: "refused", cause: `${made} is somebody else's (${taken.owner}): move it away` } };
  await files.placeSources(job.dir, sources, profile.workload.kind === "image" ? "mount points" : "links");
  await files.writeControl(job.dir, script.files);
  const { attempt } = effect;
  const ref = { jobId: job.id, attempt, name: runName(job.id), dir: job.dir, notBefore: context.clock.wall() };
  const image = await imageSeen(job, profile, files, signal);
  const value = { parametersHash: script.parametersHash, ref, inPlace, ...based, ...image };
  return { result: { is: "ok", value } };
}

/** What of the job is to stay where it is, and the directory that is made for it outside of the job directory. */
export function staying(
  { id, dir }: Pick<Job, "id" | "dir">,
  { outputResidence, logResidence, posixOutputDir }: Profile,
): { readonly inPlace: InPlace; readonly outputBase?: string; readonly made?: string } {
  const outputs = outputResidence === "posix";
  const base = posixOutputDir === undefined ? dir : join(posixOutputDir, id);
  const inPlace = { outputs, ...(logResidence === "posix" ? { logs: join(base, logsDirectory) } : {}) };
  if (base === dir || (!outputs && inPlace.logs === undefined)) return { inPlace };
  return { inPlace, made: base, ...(outputs ? { outputBase: base } : {}) };
}

export async function submit(
  job: Job,
  effect: EffectOf<"Submit">,
  context: Pick<EffectContext, "files" | "profileOf" | "schedulerOf" | "schedulerDown" | "holds" | "busy">,
  signal: AbortSignal,
): Promise<Ending<"Submit">> {
  const profile = context.profileOf(job.profileKey);
  if (!profile) return { result: profileGone(job) };
  if (!(await context.files.receipts(effect.ref)).directory)
    return {
      result: { is: "refused", cause: `the job directory ${job.dir} was removed before the job was submitted` },
    };
  const fit = await imageFit(job, profile, context.files, signal);
  if (fit.is === "refused") {
    context.holds.refused(job, fit.cause);
    return { result: { is: "retry", cause: fit.cause, answered: true } };
  }
  const seen = fit.image === undefined ? {} : { image: fit.image };
  const checked = fit.image ?? job.image;
  if (checked) await context.files.writeControl(job.dir, [seenImageFile(factsOnNode(checked), profile)]);
  const answer = await context.schedulerOf(job.backend).submit(effect.ref, profile, signal);
  switch (answer.is) {
    case "submitted":
      context.holds.taken(job);
      context.busy.taken(job);
      return { result: { is: "ok", value: { schedulerId: answer.schedulerId, ...seen } } };
    case "refused":
      // The operator's options, not the job's fault: it is tried again soon, and waits once its profile is held.
      context.holds.refused(job, answer.cause);
      return { result: { is: "retry", cause: answer.cause, answered: true } };
    case "busy":
      context.busy.began(job, answer.cause, answer.full);
      return { result: { is: "retry", cause: answer.cause, afterMs: busyPauseMs, answered: true } };
    case "unavailable":
      return { result: unavailable(context, job, answer.cause) };
    case "doubt":
      if (answer.full) context.busy.began(job, answer.cause, answer.full);
      return { result: { is: "doubt", cause: answer.cause } };
  }
}

export async function findRun(
  job: Job,
  effect: EffectOf<"FindRun">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"FindRun">> {
  const scheduler = context.schedulerOf(job.backend);
  const { run } = job;
  const askedAt = context.clock.wall();
  const fenceOver = run.stage === "submitting" && askedAt >= run.intentAt + scheduler.fenceMs;
  const answer = await scheduler.find(effect.ref, signal);
  if (answer.is === "unavailable" && answer.queueAnswers) return { result: { is: "retry", cause: answer.cause } };
  if (answer.is === "unavailable") return { result: unavailable(context, job, answer.cause) };
  const schedulerId = answer.is === "found" ? answer.schedulerId : null;
  if (schedulerId !== null) context.holds.taken(job);
  return { result: { is: "ok", value: { schedulerId, askedAt, ...(fenceOver ? { fenceOver } : {}) } } };
}

export async function cancelRun(
  job: Job,
  effect: EffectOf<"CancelRun">,
  context: Pick<EffectContext, "schedulerOf" | "schedulerDown">,
  signal: AbortSignal,
): Promise<Ending<"CancelRun">> {
  const { ref } = effect;
  // Another program's name for it is not the job's alone, and another worker may run the job under the same name. Of the
  // former EMX2 may never have been told the id: then it is the one that its row has.
  const shown = ref.unreceipted && job.run.stage === "tracked" ? job.run.row?.schedulerId : undefined;
  const ids =
    ref.unreceipted || job.stop?.by === "other-worker"
      ? [ref.schedulerId ?? shown].filter((id) => id !== undefined)
      : undefined;
  if (ids?.length === 0) return { result: { is: "ok", value: {} } };
  const answer = await context.schedulerOf(job.backend).cancel(ref, signal, ids);
  if (answer.is === "unavailable") return { result: unavailable(context, job, answer.cause) };
  return { result: { is: "ok", value: {} } };
}

/** A run may still lie in a queue, or come back to it: before its end is told, the attempt is taken from it. */
export async function closeRun(
  job: Job,
  effect: EffectOf<"CloseRun">,
  context: Pick<EffectContext, "files" | "stderrLinesInReports" | "schedulerOf" | "clock" | "holds">,
  signal: AbortSignal,
): Promise<Ending<"CloseRun">> {
  const { files, stderrLinesInReports, clock } = context;
  const seen = job.run.stage === "tracked" ? job.run.receipts : undefined;
  const begun = seen?.lease === undefined ? undefined : seen.restart;
  if ((await despite(files.closeLease(effect.ref, begun), { is: "closed" })).is === "held")
    return { result: { is: "doubt", cause: "the run has just taken its lease" } };
  // What never began has used nothing.
  const usage =
    begun === undefined
      ? undefined
      : await usageAtEnd(job, effect.ref, context.schedulerOf(job.backend), clock, signal);
  if (usage?.is === "pending") return { result: { is: "ok", value: { later: true } } };
  const used = usage?.is === "known" ? { used: usage.usage } : {};
  const { outcome } = effect;
  const lines =
    outcome.result === "succeeded"
      ? []
      : await despite(files.stderrTail(job.dir, effect.ref.schedulerId, tellingLines), []);
  const said = saidIn(outcome, lines);
  tellHolds(job, seen, said, context.holds);
  // EMX2 shows the detail to people, some of them in a terminal.
  const stderrTail = stderrLinesInReports === 0 ? [] : lines.slice(-stderrLinesInReports).map(escapeText);
  const changed = begun === undefined ? {} : await imageChanged(job, files);
  return { result: { is: "ok", value: { stderrTail, ...changed, ...used, ...(said && { said }) } } };
}

/** Of stderr's last lines, read to tell why a run has failed: as long as Apptainer's help for an option that it does not know. */
const tellingLines = 200;

function tellHolds(
  job: Job,
  receipts: Receipts | undefined,
  said: Said | undefined,
  holds: Pick<EffectContext["holds"], "unstarted" | "begun">,
): void {
  const { exit } = receipts ?? {};
  if (!exit) return;
  const startedAt = exit.start * 1_000;
  const cause = said?.apptainer?.cause ?? `its image can not be started on ${exit.node}`;
  if (exit.unstarted) holds.unstarted(job, cause, startedAt);
  else if (exit.unstarted === false) holds.begun(job, startedAt);
}

/** A job that spoilt its own directory has ended all the same: what can not be read there for ever is done without. */
async function despite<T>(reading: Promise<T>, nothing: T): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof StorageError && error.permanent) return nothing;
    throw error;
  }
}

function unavailable(
  context: Pick<EffectContext, "schedulerDown">,
  job: Job,
  cause: string,
): { readonly is: "retry"; readonly cause: string } {
  context.schedulerDown(job.backend);
  return { is: "retry", cause };
}

function profileGone(job: Job): { readonly is: "retry"; readonly cause: string } {
  return { is: "retry", cause: `the configuration has no profile "${job.profileKey}" any more: put it back to go on` };
}
