/** Effects that ask EMX2 about a job itself: claim, read, report. */
import type { Call } from "../emx2/client.ts";
import { ApiError } from "../errors.ts";
import type { EffectOf } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { EffectContext } from "./effect-context.ts";
import type { Ending } from "./effects.ts";

const secondLookMs = 2_000;

/** Every request about a job shares its trace id. */
export function callFor(job: Job, signal: AbortSignal): Call {
  return { signal, traceId: job.traceId };
}

export async function claimJob(
  job: Job,
  _effect: EffectOf<"ClaimJob">,
  { client, capabilityMissing }: Pick<EffectContext, "client" | "capabilityMissing">,
  signal: AbortSignal,
): Promise<Ending<"ClaimJob">> {
  try {
    return { result: { is: "ok", value: { job: await client.claim(job.id, callFor(job, signal)) } } };
  } catch (error) {
    if (lacksCapability(error)) capabilityMissing();
    throw error;
  }
}

/** As 2026-05 says it where it was restored from a backup, and knows an older registration of this worker's. */
function lacksCapability(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  const { status, detail = "" } = error.answer;
  return status === 409 && detail.includes("does not have a registered capability");
}

/** That EMX2 does not know the job is believed when it says so twice: a redeploy may be under way. */
export async function readJob(
  job: Job,
  _effect: EffectOf<"ReadJob">,
  { client, clock }: Pick<EffectContext, "client" | "clock">,
  signal: AbortSignal,
): Promise<Ending<"ReadJob">> {
  const call = callFor(job, signal);
  const first = await client.readJob(job.id, call);
  if (first === null) await clock.sleep(secondLookMs, signal);
  return { result: { is: "ok", value: { job: first ?? (await client.readJob(job.id, call)) } } };
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
