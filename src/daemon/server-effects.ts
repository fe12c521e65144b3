/** Effects that ask EMX2 about a job itself: claim, read, report. */
import type { Call } from "../emx2/client.ts";
import type { EffectOf } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { EffectContext } from "./effect-context.ts";
import type { Ending } from "./effects.ts";

/** Every request about a job shares its trace id. */
export function callFor(job: Job, signal: AbortSignal): Call {
  return { signal, traceId: job.traceId };
}

export async function claimJob(
  job: Job,
  _effect: EffectOf<"ClaimJob">,
  { client }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"ClaimJob">> {
  return { result: { is: "ok", value: { job: await client.claim(job.id, callFor(job, signal)) } } };
}

export async function readJob(
  job: Job,
  _effect: EffectOf<"ReadJob">,
  { client }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"ReadJob">> {
  return { result: { is: "ok", value: { job: await client.readJob(job.id, callFor(job, signal)) } } };
}

export async function report(
  job: Job,
  effect: EffectOf<"Report">,
  { client }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"Report">> {
  await client.report(job.id, effect.report, callFor(job, signal));
  return { result: { is: "ok", value: {} } };
}
