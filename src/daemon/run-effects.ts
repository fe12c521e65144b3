/** Effects on the job directory's script and on the scheduler: write, submit, find, cancel, close. */

import type { EffectOf } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import { canonicalHash } from "../job/raw-json.ts";
import { runName } from "../job/run.ts";
import { controlFiles } from "../job/script.ts";
import type { EffectContext } from "./effect-context.ts";
import type { Ending } from "./effects.ts";
import { callFor } from "./server-effects.ts";

/** The parameters are read from EMX2 anew and go to the job directory alone: neither journal nor log ever holds them. */
export async function writeScript(
  job: Job,
  effect: EffectOf<"WriteScript">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"WriteScript">> {
  const profile = context.profileOf(job.profileKey);
  if (!profile) return { result: profileGone(job) };
  const fresh = await context.client.readJob(job.id, callFor(job, signal));
  if (!fresh) return { result: { is: "retry", cause: "EMX2 no longer knows the job" } };
  const { parametersText } = fresh;
  const script = controlFiles({ jobId: job.id, dir: job.dir, profile, apptainer: context.apptainer, parametersText });
  if (script.is === "refused") return { result: script };
  await context.files.writeControl(job.dir, script.files);
  const { attempt } = effect;
  const ref = { jobId: job.id, attempt, name: runName(job.id), dir: job.dir, notBefore: context.clock.wall() };
  return { result: { is: "ok", value: { parametersHash: canonicalHash(parametersText), ref } } };
}

/** A refusal is mended by a person, or by another time of day. */
const refusedPauseMs = 300_000;

export async function submit(
  job: Job,
  effect: EffectOf<"Submit">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"Submit">> {
  const profile = context.profileOf(job.profileKey);
  if (!profile) return { result: profileGone(job) };
  const answer = await context.schedulerOf(job.backend).submit(effect.ref, profile, signal);
  switch (answer.is) {
    case "submitted":
      return { result: { is: "ok", value: { schedulerId: answer.schedulerId } } };
    case "refused":
      // The operator's options, not the job's fault: it waits, and the log says once what was refused.
      if (!job.waits.run)
        context.log.error("the scheduler refused the submission; it is tried again every few minutes", {
          jobId: job.id,
          profile: job.profileKey,
          cause: answer.cause,
        });
      return { result: { is: "retry", cause: answer.cause, afterMs: refusedPauseMs } };
    case "unavailable":
      context.schedulerDown();
      return { result: { is: "retry", cause: answer.cause } };
    case "doubt":
      return { result: answer };
  }
}

export async function findRun(
  job: Job,
  effect: EffectOf<"FindRun">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"FindRun">> {
  const answer = await context.schedulerOf(job.backend).find(effect.ref, signal);
  if (answer.is === "unavailable") return { result: unavailable(context, answer.cause) };
  const schedulerId = answer.is === "found" ? answer.schedulerId : null;
  return { result: { is: "ok", value: { schedulerId } } };
}

export async function cancelRun(
  job: Job,
  effect: EffectOf<"CancelRun">,
  context: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"CancelRun">> {
  const answer = await context.schedulerOf(job.backend).cancel(effect.ref, signal);
  if (answer.is === "unavailable") return { result: unavailable(context, answer.cause) };
  return { result: { is: "ok", value: {} } };
}

export async function closeRun(
  job: Job,
  effect: EffectOf<"CloseRun">,
  { files, stderrLinesInReports }: EffectContext,
): Promise<Ending<"CloseRun">> {
  const lines = effect.outcome.result === "succeeded" ? 0 : stderrLinesInReports;
  const stderrTail = lines === 0 ? [] : await files.stderrTail(job.dir, effect.ref.schedulerId, lines);
  return { result: { is: "ok", value: { stderrTail } } };
}

function unavailable(context: EffectContext, cause: string): { readonly is: "retry"; readonly cause: string } {
  context.schedulerDown();
  return { is: "retry", cause };
}

function profileGone(job: Job): { readonly is: "retry"; readonly cause: string } {
  return { is: "retry", cause: `the configuration has no profile "${job.profileKey}" any more: put it back to go on` };
}
