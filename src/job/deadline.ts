/**
 * When a job's own time is over: the submitter's `timeout_seconds` from the claim, and the profile's time-outs. Once the
 * workload has ended none of them applies any more, however long the transfers take.
 */
import type { Health, Held } from "./decide.ts";
import type { Job, OwnTimeout } from "./job.ts";

/** Milliseconds; `null` is never. */
export interface Timeouts {
  /** Of refusals alone: a scheduler that does not answer stops this clock. */
  readonly submissionMs: number | null;
  /** From the first sight of the running workload. */
  readonly executionMs: number | null;
  /** How long a job waits for a profile that is held. */
  readonly heldMs: number | null;
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
export function nextDeadline(job: Job, health: Health, timeouts: Timeouts, now: number): Expiry | undefined {
  if (job.closed || job.stop || job.claim.stage !== "ours" || hasEnded(job)) return undefined;
  const all = [ofTheJob(job, job.claim.at), ofExecution(job, timeouts)];
  // Silence of the scheduler is nobody's fault: nothing that it could still take expires meanwhile.
  if (health.schedulerUp) all.push(ofSubmission(job, timeouts, now), ofHold(job, job.claim.at, health.held, timeouts));
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

function ofSubmission({ run, refused, waits }: Job, { submissionMs }: Timeouts, now: number): Expiry | undefined {
  if (submissionMs === null || run.stage !== "written" || refused?.lastAt === undefined) return undefined;
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

function ofHold({ run }: Job, claimedAt: number, held: Held | undefined, timeouts: Timeouts): Expiry | undefined {
  const bounds = [timeouts.heldMs, timeouts.submissionMs].filter((bound) => bound !== null);
  if (!held || bounds.length === 0 || run.stage !== "written") return undefined;
  const boundMs = Math.min(...bounds);
  const key = boundMs === timeouts.heldMs ? "worker.held_jobs_wait" : "submission_timeout_seconds";
  const detail = `${key} is over: it has waited ${seconds(boundMs)} for its profile, which is held: ${held.cause}`;
  return { by: "held", at: Math.max(held.since, claimedAt) + boundMs, detail };
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
