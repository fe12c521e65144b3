/**
 * `decide(job, …)`: which effects a job wants next, one at most per lane, and why it waits where it wants none. Pure: it
 * may be asked as often as one likes, and asks nothing itself. Whether a lane is free, and when a pool has room, is the
 * engine's business.
 */

import { type Expiry, nextDeadline, type Timeouts } from "./deadline.ts";
import { asksServer, type Effect, type UploadRole } from "./effect.ts";
import {
  isOwnTimeout,
  isToBeSubmitted,
  type Job,
  keptFor,
  type Lane,
  mostNotTaken,
  movedOn,
  type Upload,
  type Wait,
} from "./job.ts";
import { newsOf } from "./news.ts";
import { type Graces, judge } from "./outcome.ts";
import { outcomeNeverSubmitted, phaseOf } from "./run.ts";

/** Milliseconds; `null` is never. */
export interface Policy {
  /** How long after an intent a submission may still turn up. */
  readonly fenceMs: number;
  readonly graces: Graces;
  /** Between two requests to end the same run. */
  readonly cancelRepeatMs: number;
  /** From the close of a job to the removal of its directory. */
  readonly keepJobDirsMs: number | null;
  /** Between two reports on a run that waits in the queue. */
  readonly queueReportIntervalMs: number;
  /** From the first failure of an upload to its end; `null`: it is tried for ever. */
  readonly uploadRetryMs: number | null;
  readonly timeouts: Timeouts;
}

export interface Health {
  /** False while the scheduler does not answer: nothing is asked of it but the one poll that finds out. */
  readonly schedulerUp: boolean;
  /** EMX2 can not be asked: nothing is asked of it but the one poll that finds out. */
  readonly serverDown?: boolean;
  /** When the run was last looked at; absent: not since the daemon has started. */
  readonly lookedAt?: number;
  /** The profile's submissions are refused for the operator's options: all but one job wait. */
  readonly held?: Held;
}

export interface Held {
  readonly since: number;
  readonly cause: string;
  /** This job is the one that tries whether the cause is gone. */
  readonly probe: boolean;
  readonly nextProbeAt: number;
  /** Not refused for good: the scheduler takes no more for now, which is no time of the hold's. */
  readonly busy?: true;
}

export interface Decision {
  readonly start: readonly Effect[];
  /** Lanes whose effect in flight has lost its purpose. */
  readonly abort: readonly Lane[];
  /** A time-out that is over: the engine makes an event of it, and nothing is started before. */
  readonly expired?: Expiry;
  /** When to ask again though nothing has happened; wall clock milliseconds. */
  readonly wakeAt?: number;
  readonly why: string;
}

/** A wait beyond the longest that is ever asked for was written by a clock that was ahead of this one. */
const longestWaitMs = 2 * 3_600_000;

/** In a row: some seconds. */
const logsFirstFailures = 3;

export function decide(job: Job, health: Health, policy: Policy, now: number): Decision {
  const deadline = nextDeadline(job, health, policy, now);
  if (deadline && deadline.at <= now && isSeenAfter(job, health, deadline.at))
    return { start: [], abort: [], expired: deadline, why: deadline.detail };
  const plans = planOf(job, health, policy, now);
  const start: Effect[] = [];
  const waits: number[] = deadline && deadline.at > now ? [deadline.at] : [];
  let why = "";
  for (const plan of plans) {
    if (health.serverDown && plan.effect && asksServer(plan.effect)) {
      why ||= "EMX2 can not be asked now";
      continue;
    }
    const wait = plan.lane === undefined ? undefined : job.waits[plan.lane];
    const parked = plan.effect && wait ? parkedUntil(wait, policy, now) : undefined;
    if (parked !== undefined) {
      if (Number.isFinite(parked)) waits.push(parked);
      why ||= `${plan.why}: waits for \`retry ${job.id}\`, since EMX2 has not taken it ${wait?.notTaken} times; ${wait?.cause}`;
      continue;
    }
    const waiting = wait !== undefined && wait.until > now && wait.until <= now + longestWaitMs;
    // Its verdict is news: a pause between two cancels is not for it. Without a stop the pause is its own.
    const passes = plan.effect?.kind === "CloseRun" && job.stop !== undefined && wait?.failures === 0;
    if (plan.effect && (!waiting || passes)) start.push(plan.effect);
    else if (plan.effect && wait) waits.push(wait.until);
    if (plan.wakeAt !== undefined) waits.push(plan.wakeAt);
    why ||= (plan.effect && wait ? `${plan.why}; ${wait.cause}` : plan.why) ?? "";
  }
  const wakeAt = waits.length > 0 ? { wakeAt: Math.min(...waits) } : {};
  return { start, abort: aborted(job), ...wakeAt, why };
}

/** When the last try is made though nobody has asked for it. undefined: it is not parked, or that time has come. */
function parkedUntil({ notTaken = 0, since }: Wait, { uploadRetryMs }: Policy, now: number): number | undefined {
  if (notTaken < mostNotTaken) return undefined;
  const until = (since ?? now) + (uploadRetryMs ?? Number.POSITIVE_INFINITY);
  return until > now ? until : undefined;
}

/** A run may have ended while nobody looked: its time is over only once a look after that moment has found it going on. */
function isSeenAfter({ run }: Job, { lookedAt }: Health, at: number): boolean {
  return run.stage !== "tracked" || (lookedAt !== undefined && lookedAt >= at);
}

interface Plan {
  readonly lane?: Lane;
  readonly effect?: Effect;
  readonly wakeAt?: number;
  readonly why?: string;
}

function planOf(job: Job, health: Health, policy: Policy, now: number): Plan[] {
  if (job.closed) return [clean(job, policy, now)];
  return [
    claim(job),
    inputs(job),
    run(job, health, policy, now),
    upload(job, "log"),
    upload(job, "output"),
    report(job, health, policy, now),
  ];
}

/** After a time-out of ours the logs and the report are what EMX2 learns it from. */
function aborted(job: Job): Lane[] {
  if (!job.stop) return [];
  if (!movedOn(job)) return ["inputs"];
  return job.stop.by === "server-cancelled" ? ["inputs", "outputs"] : ["inputs", "logs", "outputs", "report"];
}

function claim(job: Job): Plan {
  const lane = "claim";
  if (job.claim.stage === "wanted") return { lane, effect: { kind: "ClaimJob" }, why: "to be claimed" };
  const doubt = (job.claim.stage === "claiming" && job.claim.doubt) || job.server.doubt;
  if (doubt) return { lane, effect: { kind: "ReadJob" }, why: "reading the job at EMX2 to settle a doubt" };
  const forgotten = job.claim.stage === "ours" && job.server.status === "PENDING" && !movedOn(job);
  return forgotten
    ? { lane, effect: { kind: "ClaimJob" }, why: "EMX2 has forgotten that it is ours: claiming it again" }
    : {};
}

function inputs(job: Job): Plan {
  const lane = "inputs";
  if (job.claim.stage !== "ours" || job.stop || job.run.stage !== "none") return {};
  if (job.inputs.stage === "unlisted") return { lane, effect: { kind: "ListInputs" }, why: "listing inputs" };
  if (job.inputs.stage !== "staging") return {};
  const { next, total } = job.inputs;
  return {
    lane,
    effect: { kind: "StageFiles", from: next },
    why: `staging inputs: ${next} of ${total} files are here`,
  };
}

function run(job: Job, health: Health, policy: Policy, now: number): Plan {
  const lane = "run";
  const { run } = job;
  if (run.stage === "none") {
    if (job.inputs.stage !== "ready" || job.stop) return {};
    return { lane, effect: { kind: "WriteScript", attempt: "a1" }, why: "writing the batch script" };
  }
  if (run.stage === "ended") return {};
  if (!health.schedulerUp) return { why: "the scheduler does not answer" };
  const { held } = health;
  if (held && !held.probe && !job.stop && isToBeSubmitted(run, policy.fenceMs))
    return { wakeAt: held.nextProbeAt, why: `${held.busy ? "to be submitted" : "its profile is held"}: ${held.cause}` };
  if (run.stage === "written") return { lane, effect: { kind: "Submit", ref: run.ref }, why: "to be submitted" };
  return run.stage === "submitting" ? inDoubt(job, run, policy) : followed(job, run, policy, now);
}

/**
 * A submission whose answer was lost: looked for by name until it is found, or until none can turn up any more. Only an
 * absence that was seen after that moment allows a second submission, under the same attempt, or the end of a job that is
 * to stop.
 */
function inDoubt({ stop }: Job, run: Extract<Job["run"], { stage: "submitting" }>, policy: Policy): Plan {
  if (!run.doubt) return {};
  const lane = "run";
  const { ref } = run;
  if (!isToBeSubmitted(run, policy.fenceMs))
    return { lane, effect: { kind: "FindRun", ref }, why: "looking for a submission whose answer was lost" };
  if (!stop)
    return { lane, effect: { kind: "Submit", ref }, why: "the lost submission never arrived: submitting again" };
  const outcome = outcomeNeverSubmitted(isOwnTimeout(stop.by) ? "failed" : "cancelled", stop.detail);
  return { lane, effect: { kind: "CloseRun", ref, outcome }, why: "the lost submission never arrived" };
}

function followed(job: Job, run: Extract<Job["run"], { stage: "tracked" }>, policy: Policy, now: number): Plan {
  const lane = "run";
  const verdict = judge(run, policy.graces, job.stop);
  if (verdict.is === "ended")
    return { lane, effect: { kind: "CloseRun", ref: run.ref, outcome: verdict.outcome }, why: "reading how it ended" };
  // A workload that has ended is left to its script's last lines; one that only says so is not.
  const ending = run.exitSince !== undefined && now < run.exitSince + policy.cancelRepeatMs;
  if (job.stop && ending) return { wakeAt: run.exitSince + policy.cancelRepeatMs, why: verdict.why };
  if (job.stop && isGoing(run)) return { why: verdict.why };
  if (job.stop) return { lane, effect: { kind: "CancelRun", ref: run.ref }, why: `${job.stop.detail}: ending its run` };
  return { why: verdict.why };
}

/** The scheduler is closing it already, or has closed it: to ask for its end again would end nothing sooner. */
function isGoing({ row, ref, receipts, absentSince }: Extract<Job["run"], { stage: "tracked" }>): boolean {
  if (row === undefined || absentSince !== undefined) return false;
  if (row.schedulerId !== (receipts?.lease ?? ref.schedulerId)) return false;
  return phaseOf[row.state] === "ending" || phaseOf[row.state] === "ended";
}

/** Logs go first and apart; outputs follow once the logs are settled or in trouble: a failure of either leaves the other. */
function upload(job: Job, role: UploadRole): Plan {
  if (job.run.stage !== "ended") return {};
  const lane = role === "log" ? "logs" : "outputs";
  const inTrouble = (job.waits.logs?.failures ?? 0) >= logsFirstFailures;
  if (role === "output" && isOpen(job.logs) && !inTrouble) return {};
  const effect = nextUpload(job[lane], role);
  return effect ? { lane, effect, why: `uploading ${lane}` } : {};
}

function isOpen(upload: Upload): boolean {
  return upload.stage === "waiting" || upload.stage === "sealed" || upload.stage === "putting";
}

function nextUpload(upload: Upload, role: UploadRole): Effect | undefined {
  if (upload.stage === "waiting") return { kind: "SealFiles", role };
  if (upload.stage === "sealed") return { kind: "CreateArtifact", role };
  if (upload.stage !== "putting") return undefined;
  return upload.next < upload.total ? { kind: "PutFiles", role, from: upload.next } : { kind: "Commit", role };
}

function report(job: Job, health: Health, policy: Policy, now: number): Plan {
  if (job.server.doubt || job.server.status === "PENDING") return {};
  const lane = "report";
  const [next] = job.outbox;
  if (next) return { lane, effect: { kind: "Report", report: next }, why: `reporting ${next.status}` };
  const { news, dueAt } = newsOf(job, health.schedulerUp ? policy.queueReportIntervalMs : null, now);
  if (news) return { lane, effect: { kind: "Report", report: news } };
  return dueAt === undefined ? {} : { wakeAt: dueAt };
}

/** Nobody is to remove its directory, as far as is known. */
export function isKeptForEver({ cleanAsked }: Job, { keepJobDirsMs }: Policy): boolean {
  return keepJobDirsMs === null && !cleanAsked;
}

/** A refused claim has no directory of ours; every other job keeps its own for a while. */
function clean(job: Job, policy: Policy, now: number): Plan {
  if (job.cleaned || job.claim.stage === "refused" || !job.closed) return {};
  const kept = keptFor(job);
  if (kept !== undefined) return { why: `closed; ${kept}` };
  if (isKeptForEver(job, policy)) return { why: "closed; its directory is kept" };
  const due = job.cleanAsked ? now : job.closed.at + (policy.keepJobDirsMs ?? 0);
  if (now < due) return { wakeAt: due, why: "closed; its directory is kept for now" };
  return { lane: "clean", effect: { kind: "RemoveDir" }, why: "removing its directory" };
}
