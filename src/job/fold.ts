/**
 * `fold(job, event)`: what a job is after something happened to it. Pure, and the only place where a job changes, so that
 * the stored events replay to the stored job. An event that changes nothing gives back the very same object, which costs
 * the engine nothing.
 */
import { adopted } from "./adopt.ts";
import type { Effect, JobEvent } from "./effect.ts";
import { foldResult } from "./fold-result.ts";
import { seenAtServer } from "./fold-server.ts";
import { type Job, keptFor } from "./job.ts";
import type { Tracked } from "./outcome.ts";
import { neverRunnable } from "./pending-reason.ts";
import { phaseOf, type SchedulerRow, type SlurmState } from "./run.ts";
import { settle } from "./settle.ts";

/** Undefined in: the job is not known yet. Undefined out: the event is about a job that is not known. */
export function fold(job: Job | undefined, event: JobEvent): Job | undefined {
  if (event.kind === "Offered") return job ?? offered(event);
  if (event.kind === "Adopted") return job ?? adopted(event);
  if (!job) return undefined;
  const next = step(job, event);
  return next === job ? job : settle(next, event.at);
}

function step(job: Job, event: Exclude<JobEvent, { kind: "Offered" | "Adopted" }>): Job {
  // What was still under way when the job closed changes nothing any more; only its directory goes.
  const isOfDirectory = event.kind === "CleanAsked" || (event.kind === "Ended" && event.effect.kind === "RemoveDir");
  if (job.closed && !isOfDirectory) return job;
  switch (event.kind) {
    case "ServerSaw":
      return seenAtServer(job, event.job, event.at, false);
    case "RunObserved":
      return observed(job, event);
    case "Progressed":
      return Bun.deepEquals(job.progress, event.progress) ? job : { ...job, progress: event.progress };
    case "Expired":
      if (job.stop || job.claim.stage !== "ours") return job;
      return { ...job, stop: { by: event.by, at: event.at, detail: event.detail } };
    case "CancelAsked":
      if (job.stop || job.claim.stage !== "ours") return job;
      return { ...job, stop: { by: "operator", at: event.at, detail: `cancelled by ${event.by}` } };
    case "CleanAsked":
      return keptFor(job) !== undefined || job.cleanAsked ? job : { ...job, cleanAsked: true };
    case "RetryAsked":
      return triedNow(job);
    case "Begun":
      return begun(job, event.effect, event.at);
    case "Ended":
      return foldResult(job, event);
  }
}

/** A pause without a failure is none of waiting: a run that is cancelled is not cancelled once more for it. */
function triedNow(job: Job): Job {
  const waits = Object.entries(job.waits).filter(([, wait]) => wait.failures === 0);
  return waits.length === Object.keys(job.waits).length ? job : { ...job, waits: Object.fromEntries(waits) };
}

function offered(event: Extract<JobEvent, { kind: "Offered" }>): Job {
  const { job } = event;
  return {
    id: job.id,
    processor: job.processor,
    serverProfile: job.profile,
    profileKey: event.profileKey,
    backend: event.backend,
    dir: event.dir,
    workerId: event.workerId,
    traceId: event.traceId,
    submitUser: job.submitUser,
    inputRefs: job.inputs,
    timeoutSeconds: job.timeoutSeconds,
    offeredAt: event.at,
    server: { status: job.status, doubt: false },
    claim: { stage: "wanted" },
    inputs: { stage: "unlisted" },
    run: { stage: "none" },
    logs: { stage: "waiting" },
    outputs: { stage: "waiting" },
    outbox: [],
    announced: "CLAIMED",
    cleaned: false,
    waits: {},
  };
}

/** What must be remembered from the moment an effect starts, whatever becomes of it. */
function begun(job: Job, effect: Effect, at: number): Job {
  const { claim, run } = job;
  if (effect.kind === "ClaimJob" && claim.stage === "wanted")
    return { ...job, claim: { stage: "claiming", doubt: false } };
  if (effect.kind !== "Submit") return job;
  const submitting = { stage: "submitting", ref: effect.ref, intentAt: at, doubt: false } as const;
  if (run.stage === "written") return { ...job, run: submitting };
  if (run.stage !== "submitting") return job;
  const { intentAt, absentAt } = run;
  return { ...job, run: absentAt === undefined ? submitting : { ...submitting, before: { intentAt, absentAt } } };
}

/** A scheduler cycle's evidence, kept until `outcome.ts` finds it enough. */
function observed(job: Job, event: Extract<JobEvent, { kind: "RunObserved" }>): Job {
  const run = job.run;
  if (run.stage !== "tracked") return job;
  const { at } = event;
  const row = event.row && run.row && isBehind(event.row, run.row) ? undefined : event.row;
  // What a receipt has said stays said when the directory is gone.
  const receipts = event.receipts.directory
    ? event.receipts
    : { ...(run.receipts ?? event.receipts), directory: false };
  const lease = receipts.lease;
  // Another run of ours holds the lease: this id is a twin that did nothing, the lease's is the one to follow.
  const ref = lease !== undefined && lease !== run.ref.schedulerId ? { ...run.ref, schedulerId: lease } : run.ref;
  const lastRow = row && run.row && sameButElapsed(row, run.row) ? run.row : (row ?? run.row);
  // An end that was shown stays one when the scheduler forgets it: absence takes nothing back.
  const ended = lastRow !== undefined && phaseOf[lastRow.state] === "ended";
  // A program that has left the queue by itself needs no accounting to be over; what a signal meant only it can tell. And
  // its silence breaks no absence off that had begun.
  const silent = row === undefined && (receipts.exit?.signal === null || run.absentSince !== undefined);
  // Of a run that a controller has forgotten accounting may say for ever that it lives. What a signal meant it may yet tell.
  const runaway =
    event.row?.source === "sacct" && phaseOf[event.row.state] !== "ended" && typeof receipts.exit?.signal !== "string";
  const absent = row === null || silent || runaway;
  const { lookedAt, ...known } = run;
  const since = run.row === undefined || lastRow?.state === run.row.state ? run.since : at;
  const phase = lastRow && phaseOf[lastRow.state];
  // What was seen of a twin says nothing about the run that has the lease.
  const isSame = ref.schedulerId === run.ref.schedulerId;
  // Slurm has requeued it: what the run before has left is no evidence about the next.
  const again = receipts.restart > (run.receipts?.restart ?? 0);
  const moved = submittedAgain(run, lastRow);
  const inQueueAgain = phase === "pending" && run.startedAt !== undefined && since > run.startedAt;
  // A controller that was killed may show a run as PENDING that goes on, with the submit time that it had.
  const isToldSo = moved || lastRow?.submittedAt === undefined || requeueWords.has(lastRow.state);
  const requeued = isSame && inQueueAgain && isToldSo;
  // A requeue may be over before anybody looks; then its new submit time alone tells of it.
  const requeues = isSame ? (moved ? (run.requeues ?? 0) + 1 : run.requeues) : undefined;
  const seenAgain = requeued || (requeues ?? 0) > Math.max(receipts.restart, run.requeues ?? 0);
  // Where the next run's receipts came with the same look, the run before it is the one that was requeued.
  const requeuedRun = seenAgain ? receipts.restart - (again ? 1 : 0) : isSame ? run.startsAfter : undefined;
  // Receipts may be seen late: as often as it was requeued, so many runs at least are over.
  const startsAfter = requeues === undefined ? requeuedRun : Math.max(requeuedRun ?? 0, requeues - 1);
  const stuck = phase === "pending" && neverRunnable(lastRow?.reason);
  const superseded = startsAfter !== undefined && receipts.restart <= startsAfter;
  const exitSince = again ? undefined : run.exitSince;
  const startedAt = again || seenAgain ? undefined : run.startedAt;
  const running = phase === "running" || (receipts.start !== undefined && !superseded);
  const evidence = {
    stage: "tracked" as const,
    ref,
    receipts,
    since,
    ...(startsAfter === undefined ? {} : { startsAfter }),
    ...(requeues === undefined ? {} : { requeues }),
    ...(running ? { startedAt: startedAt ?? at } : {}),
    ...(lastRow ? { row: lastRow } : {}),
    ...(stuck ? { stuckSince: run.stuckSince ?? at } : {}),
    ...(ended ? { endedSince: run.endedSince ?? at } : {}),
    ...(receipts.exit && !superseded ? { exitSince: exitSince ?? at } : {}),
    ...(absent ? { absentSince: run.absentSince ?? at } : {}),
  };
  const waiting = ended || receipts.exit !== undefined || row === null || runaway;
  const next = waiting ? { ...evidence, lookedAt: at } : evidence;
  if (Bun.deepEquals(evidence, known, true)) return waiting && lookedAt !== at ? { ...job, run: next } : job;
  // News may make an end of what was only to be asked again later (CancelRun): the lane need not wait it out.
  const { run: _waited, ...waits } = job.waits;
  return { ...job, run: next, waits };
}

const requeueWords: ReadonlySet<string> = new Set<SlurmState>([
  "REQUEUED",
  "REQUEUE_HOLD",
  "REQUEUE_FED",
  "SPECIAL_EXIT",
]);
const rank = { pending: 0, unknown: 0, running: 1, ending: 1, ended: 2 } as const;

/** Accounting lags: what it shows of a run that has left the queue may be older than what the queue has shown. */
function isBehind(row: SchedulerRow, known: SchedulerRow): boolean {
  if (row.source !== "sacct" || row.schedulerId !== known.schedulerId) return false;
  const [at = 0, knownAt = 0] = [row.submittedAt, known.submittedAt];
  return at < knownAt || (at === knownAt && rank[phaseOf[row.state]] < rank[phaseOf[known.state]]);
}

function submittedAgain(run: Tracked, row: SchedulerRow | undefined): boolean {
  if (run.row?.submittedAt === undefined || row?.submittedAt === undefined) return false;
  return row.schedulerId === run.row.schedulerId && row.submittedAt > run.row.submittedAt;
}

/** The time a run has been going changes with every look and is no news, until the run has ended. */
function sameButElapsed(row: SchedulerRow, known: SchedulerRow): boolean {
  if (phaseOf[row.state] === "ended") return false;
  return Bun.deepEquals({ ...row, elapsed: "" }, { ...known, elapsed: "" });
}
