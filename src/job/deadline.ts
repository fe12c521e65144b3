/**
 * When a job's own time is over: the submitter's `timeout_seconds` from the claim, and the profile's time-outs. Once the
 * workload has ended none of them applies any more, however long the transfers take.
 */
import type { Health, Held, Policy } from "./decide.ts";
import { isToBeSubmitted, type Job, type OwnTimeout } from "./job.ts";

/** Milliseconds; `null` is never. */
export interface Timeouts {
  /** Of refusals alone: a scheduler that does not answer stops this clock. */
  readonly submissionMs: number | null;
  /** From the first sight of the running workload. */
  readonly executionMs: number | null;
  /** How long a job waits for a profile that is held. */
  readonly heldMs: number | null;
  /** How long it stays in the queue for a reason that can never clear. */
  readonly neverRunnableMs: number | null;
}

/** Two answers further apart than this had an outage, or our own absence, between them: that time does not count. */
export const longestBetweenAnswersMs = 600_000;

/** `at`: wall clock in milliseconds. */
export interface Expiry {
  readonly by: OwnTimeout;
  readonly at: number;
  readonly detail: string;
}

/** The earliest of those that apply. */
export function nextDeadline(
  job: Job,
  health: Health,
  { timeouts, fenceMs }: Pick<Policy, "timeouts" | "fenceMs">,
  now: number,
): Expiry | undefined {
  if (job.closed || job.stop || job.claim.stage !== "ours" || hasEnded(job)) return undefined;
  const all = [ofTheJob(job, job.claim.at), ofExecution(job, timeouts), ofQueue(job, timeouts)];
  // Silence of the scheduler is nobody's fault: nothing that it could still take expires meanwhile.
  if (health.schedulerUp && isToBeSubmitted(job.run, fenceMs))
    all.push(ofSubmission(job, timeouts, now), ofHold(job, health.held, timeouts));
  return all.reduce((first, next) => (next && (!first || next.at < first.at) ? next : first), undefined);
}

function hasEnded({ run, inputs }: Job): boolean {
  if (inputs.stage === "failed" || run.stage === "ended") return true;
  return run.stage === "tracked" && (run.exitSince !== undefined || run.endedSince !== undefined);
}

function ofTheJob({ timeoutSeconds }: Job, claimedAt: number): Expiry | undefined {
  if (timeoutSeconds === null || timeoutSeconds <= 0) return undefined;
  const detail = `the job's timeout_seconds are over: ${timeoutSeconds} s since it was claimed`;
  return { by: "timeout", at: claimedAt + timeoutSeconds * 1000, detail };
}

function ofSubmission({ refused, waits }: Job, { submissionMs }: Timeouts, now: number): Expiry | undefined {
  if (submissionMs === null || refused?.lastAt === undefined) return undefined;
  if (now > refused.lastAt + longestBetweenAnswersMs) return undefined;
  const said = waits.run?.cause === undefined ? "" : `: ${waits.run.cause}`;
  const detail = `submission_timeout_seconds are over: the scheduler has refused it for ${seconds(submissionMs)}${said}`;
  return { by: "submission-timeout", at: refused.lastAt + Math.max(0, submissionMs - refused.forMs), detail };
}

function ofExecution({ run }: Job, { executionMs }: Timeouts): Expiry | undefined {
  if (executionMs === null || run.stage !== "tracked" || run.startedAt === undefined) return undefined;
  const detail = `execution_timeout_seconds of the profile are over: ${seconds(executionMs)} since it started`;
  return { by: "execution-timeout", at: run.startedAt + executionMs, detail };
}

function ofQueue({ run }: Job, { neverRunnableMs }: Timeouts): Expiry | undefined {
  if (neverRunnableMs === null || run.stage !== "tracked" || run.stuckSince === undefined) return undefined;
  const why = run.row?.reason ?? "a reason that can never clear";
  const detail = `worker.never_runnable_patience is over: it waited ${seconds(neverRunnableMs)} in the queue for ${why}, which can never clear`;
  return { by: "never-runnable", at: run.stuckSince + neverRunnableMs, detail };
}

/** The job that tries whether the hold is over is tried first. */
function ofHold({ run }: Job, held: Held | undefined, { heldMs }: Timeouts): Expiry | undefined {
  if (!held || held.busy || held.probe || heldMs === null || (run.stage !== "written" && run.stage !== "submitting"))
    return undefined;
  const detail = `worker.held_jobs_wait is over: it has waited ${seconds(heldMs)} for its profile, which is held: ${held.cause}`;
  return { by: "held", at: Math.max(held.since, run.ref.notBefore) + heldMs, detail };
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
