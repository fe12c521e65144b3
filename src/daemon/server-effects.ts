/** Effects that ask EMX2 about a job itself: claim, read, report. */
import type { Clock } from "../clock.ts";
import type { Call, Emx2Client } from "../emx2/client.ts";
import { ApiError } from "../errors.ts";
import type { EffectOf } from "../job/effect.ts";
import type { Job, Report, ServerJob } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
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

export async function readJob(
  job: Job,
  _effect: EffectOf<"ReadJob">,
  context: Pick<EffectContext, "client" | "clock">,
  signal: AbortSignal,
): Promise<Ending<"ReadJob">> {
  return { result: { is: "ok", value: { job: await readSurely(context, job.id, callFor(job, signal)) } } };
}

/** That EMX2 does not know the job (null) is believed when it says so twice: a redeploy may be under way. */
export async function readSurely(
  { client, clock }: { readonly client: Pick<Emx2Client, "readJob">; readonly clock: Clock },
  jobId: JobId,
  call: Call,
): Promise<ServerJob | null> {
  const first = await client.readJob(jobId, call);
  if (first !== null) return first;
  await clock.sleep(secondLookMs, call.signal);
  return client.readJob(jobId, call);
}

export async function report(
  job: Job,
  effect: EffectOf<"Report">,
  { client }: EffectContext,
  signal: AbortSignal,
): Promise<Ending<"Report">> {
  const call = callFor(job, signal);
  try {
    await client.report(job.id, effect.report, call);
    return { result: { is: "ok", value: {} } };
  } catch (error) {
    // 2026-05 answers 500, as to anything it did not foresee, to a report that names an artifact which it does not know.
    const asksWhy = error instanceof ApiError && error.answer.status === 500;
    if (!asksWhy || !(await hasLostOf(effect.report, client, call))) throw error;
    return { result: { is: "ok", value: { lost: true } } };
  }
}

async function hasLostOf(named: Report, client: Pick<Emx2Client, "readArtifact">, call: Call): Promise<boolean> {
  const ids = [named.outputArtifactId, named.logArtifactId].filter((id) => id !== undefined);
  const found = await Promise.all(ids.map((id) => client.readArtifact(id, call)));
  return found.includes(null);
}
