/** What a run has used, asked of accounting at its end. The job's end waits some seconds for it, and never longer. */
import type { Clock } from "../clock.ts";
import type { Job } from "../job/job.ts";
import type { RunRef } from "../job/run.ts";
import type { Scheduler, UsageAnswer } from "../scheduler/scheduler.ts";

/** An accounting that does not answer is done without. */
const answerMs = 10_000;
/** Accounting hears of an end some seconds late: so long after the end was first seen it is asked again. */
const waitMs = 15_000;
/** No longer than `once` lingers. */
export const usagePauseMs = 1_500;

export async function usageAtEnd(
  job: Job,
  run: RunRef,
  scheduler: Pick<Scheduler, "usage">,
  clock: Clock,
  signal: AbortSignal,
): Promise<UsageAnswer> {
  if (scheduler.usage === undefined || run.schedulerId === undefined) return { is: "nothing" };
  const late = new AbortController();
  const callOff = clock.timer(answerMs, () => late.abort());
  try {
    const answer = await scheduler.usage(run, AbortSignal.any([signal, late.signal]));
    signal.throwIfAborted();
    return answer.is === "pending" && !mayCome(job, clock.wall()) ? { is: "nothing" } : answer;
  } finally {
    callOff();
  }
}

/** Whoever has asked for the end does not wait for what it has cost. */
function mayCome({ run, stop }: Job, now: number): boolean {
  if (run.stage !== "tracked" || stop) return false;
  const since = [run.exitSince, run.endedSince, run.absentSince].filter((at) => at !== undefined);
  const seen = Math.min(...since, now);
  return since.length > 0 && now - seen < waitMs && Math.max(...since) <= now;
}
