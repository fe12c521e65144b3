/**
 * Strays: submissions in doubt that arrived after all, beside the one that has the job. They would find the lease taken and
 * do nothing, but wait in the queue for it; and one whose job is closed waits for nothing. They are cancelled by id, name
 * and user together. While no run has the lease nobody knows which will: none is cancelled then, for it could be the one.
 * Rows of jobs that are not in this journal, or that another worker has, are left alone.
 */
import type { Clock } from "../clock.ts";
import type { Job } from "../job/job.ts";
import type { JobId, RunRef, SchedulerRow } from "../job/run.ts";
import type { Log } from "../log.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";

type Live = ReadonlyMap<string, readonly SchedulerRow[]>;

export interface Strays {
  readonly run: RunRef;
  readonly ids: readonly string[];
}

/** How far clocks may be apart. */
const clockSkewS = 60;
/** Calls of scancel in one cycle; the others wait for the next. */
const cancelsACycle = 8;
const repeatMs = 30_000;

export function straysOf(job: Job, live: Live): Strays | undefined {
  const { run, claim, stop } = job;
  if (claim.stage !== "ours" || stop?.by === "other-worker") return undefined;
  // Another program's name for it is not the job's alone.
  if (run.stage === "none" || run.ref?.unreceipted) return undefined;
  if (run.stage === "tracked") return othersThan(run.receipts?.lease, run.ref, live);
  if (run.stage !== "ended" || run.ref === undefined || job.closed === undefined) return undefined;
  // The run that has ended may still be in its last lines; one whose end nothing shows must not go on.
  const own = run.outcome.proof === "none" ? "" : run.ref.schedulerId;
  return othersThan(own, run.ref, live, job.closed.at);
}

/**
 * `closedAt`: what was submitted later is nobody's stray. An EMX2 that was restored may have given the job to another worker
 * of the same account, whose run has the same name.
 */
function othersThan(own: string | undefined, run: RunRef, live: Live, closedAt?: number): Strays | undefined {
  if (own === undefined) return undefined;
  const earliestS = run.notBefore / 1_000 - clockSkewS;
  const latestS = closedAt === undefined ? Number.POSITIVE_INFINITY : closedAt / 1_000 + clockSkewS;
  const isOurs = ({ schedulerId, submittedAt = 0 }: SchedulerRow) =>
    schedulerId === run.schedulerId || (submittedAt >= earliestS && submittedAt <= latestS);
  const rows = (live.get(run.name) ?? []).filter((row) => row.schedulerId !== own && isOurs(row));
  return rows.length === 0 ? undefined : { run, ids: rows.map(({ schedulerId }) => schedulerId) };
}

export function createStrayHunt(clock: Clock, log: Log) {
  /** When the end of each job's strays was last asked for. */
  const askedAt = new Map<JobId, number>();
  return async (jobs: Iterable<Job>, live: Live, scheduler: Scheduler, signal: AbortSignal): Promise<void> => {
    const due = (jobId: JobId) => clock.mono() >= (askedAt.get(jobId) ?? Number.NEGATIVE_INFINITY) + repeatMs;
    const found = live.size === 0 ? [] : [...jobs].flatMap((job) => straysOf(job, live) ?? []);
    const known = new Set(found.map(({ run }) => run.jobId));
    for (const jobId of askedAt.keys()) if (!known.has(jobId)) askedAt.delete(jobId);
    for (const { run, ids } of found.filter(({ run }) => due(run.jobId)).slice(0, cancelsACycle)) {
      if (signal.aborted) return;
      const fields = { jobId: run.jobId, slurmJobIds: ids.join(" ") };
      if (askedAt.has(run.jobId)) log.debug("strays of a job are still there", fields);
      else log.warn("a submission in doubt has arrived beside the run: the stray is cancelled", fields);
      askedAt.set(run.jobId, clock.mono());
      const answer = await scheduler.cancel(run, signal, ids);
      if (answer.is === "unavailable") return;
    }
  };
}
