/**
 * What EMX2 has failed to take for so long, and so often, it will not take: the job fails, and its outputs stay where they
 * are. So with an input that it has failed to give. While EMX2 can not be asked at all nobody tries, so that the time alone says little.
 */
import { ApiError, NetworkError } from "../errors.ts";
import { type Effect, type EffectKind, laneOf } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import { duration } from "../job/run.ts";
import type { EffectContext } from "./effect-context.ts";
import type { Fault } from "./faults.ts";

const uploads: ReadonlySet<EffectKind> = new Set<EffectKind>(["CreateArtifact", "PutFiles", "Commit"]);
const inputs: ReadonlySet<EffectKind> = new Set<EffectKind>(["ListInputs", "StageFiles"]);
const leastTries = 10;
/** The job's end is reported with its log: a result must not wait for that for days. */
const longestForLogsMs = 3_600_000;

/** Tries are counted anew with each file. `error`: what was thrown. */
export function givenUp(
  { clock, uploadRetryMs }: Pick<EffectContext, "clock" | "uploadRetryMs">,
  job: Job,
  effect: Effect,
  result: Fault,
  error?: unknown,
): Fault {
  // An input may as well wait for this host's storage.
  const isOfEmx2 = uploads.has(effect.kind) || (inputs.has(effect.kind) && isAnswer(error));
  if (!isOfEmx2 || result.is === "refused") return result;
  const longestMs = uploadRetryMs ?? Number.POSITIVE_INFINITY;
  const limitMs = laneOf(effect) === "logs" ? Math.min(longestMs, longestForLogsMs) : longestMs;
  const { since, failures } = job.waits[laneOf(effect)] ?? { failures: 0 };
  if (since === undefined || failures < leastTries) return result;
  const triedMs = clock.wall() - since;
  if (triedMs < limitMs) return result;
  return { is: "refused", cause: `${result.cause} (tried ${failures + 1} times in ${duration(triedMs)})` };
}

function isAnswer(error: unknown): boolean {
  return error instanceof ApiError || error instanceof NetworkError;
}
