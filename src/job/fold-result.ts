/**
 * What a job is after an effect has ended: one small function per kind. Whatever asks for another try only moves its
 * lane's next date; whatever may have happened becomes a doubt that `decide.ts` resolves by looking.
 */
import { longestBetweenAnswersMs } from "./deadline.ts";
import {
  type EffectKind,
  type EffectOf,
  type JobEvent,
  laneOf,
  type MovedFiles,
  type Result,
  type UploadRole,
} from "./effect.ts";
import { claimed, seenAtServer, taken } from "./fold-server.ts";
import { type Job, mostNotTaken, type Report, type Run, type Said, type Upload } from "./job.ts";
import { unlessOutOfMemory } from "./outcome.ts";
import { isTerminal } from "./status.ts";

type Ended = Extract<JobEvent, { kind: "Ended" }>;
type Refused = Extract<Result, { is: "refused" }>;
type Submitting = Extract<Run, { stage: "submitting" }>;

export function foldResult(job: Job, event: Ended): Job {
  const lane = laneOf(event.effect);
  const { [lane]: waited, ...waits } = job.waits;
  const { result, retryAt, at } = event;
  if (result.is !== "ok") {
    const failures = (waited?.failures ?? 0) + 1;
    const notTaken = (waited?.notTaken ?? 0) + (result.is === "retry" && result.notTaken ? 1 : 0);
    const counted = notTaken > 0 ? { failures, notTaken } : { failures };
    const wait = { ...counted, since: waited?.since ?? at, until: retryAt ?? at, cause: result.cause };
    return folded({ ...job, waits: { ...waits, [lane]: wait } }, event);
  }
  // What went well and is to be asked again (a run that is not found yet, or still ending) waits without a failure.
  const wait = retryAt === undefined ? {} : { [lane]: { failures: 0, until: retryAt, cause: "to be asked again" } };
  const next = folded(waited || retryAt !== undefined ? { ...job, waits: { ...waits, ...wait } } : job, event);
  // A claim that has to be made again goes on counting: else a server that fails each one would be asked without pause.
  const again = waited && event.effect.kind === "ReadJob" && isToClaimAgain(job, next);
  return again ? { ...next, waits: { ...next.waits, claim: waited } } : next;
}

function isToClaimAgain(job: Job, next: Job): boolean {
  if (next.claim.stage === "wanted") return job.claim.stage === "claiming";
  return next.claim.stage === "ours" && next.server.status === "PENDING" && job.server.doubt && !next.server.doubt;
}

type Fold<K extends EffectKind> = (job: Job, effect: EffectOf<K>, result: Result<K>, at: number) => Job;

function folded(job: Job, event: Ended): Job {
  // The event's union ties effect and result together; indexing by kind loses the tie, so it is stated once here.
  const step = foldOf[event.effect.kind] as Fold<EffectKind>;
  return step(job, event.effect, event.result, event.at);
}

const unchanged = (job: Job): Job => job;

const foldOf: { readonly [K in EffectKind]: Fold<K> } = {
  ClaimJob(job, _effect, result, at) {
    if (job.claim.stage === "ours") return claimedAgain(job, result);
    if (job.claim.stage !== "claiming") return job;
    if (result.is === "ok") return claimed(job, result.value.job, at);
    if (result.is === "retry") return { ...job, claim: { stage: "wanted" } };
    // Even a plain refusal is looked into: a claim that a proxy or a resend doubled is refused the second time.
    const refusal = result.is === "refused" ? { refusal: result.cause } : {};
    return { ...job, claim: { stage: "claiming", doubt: true, ...refusal } };
  },

  ReadJob: (job, _effect, result, at) => (result.is === "ok" ? readResult(job, result.value.job, at) : job),

  ListInputs(job, _effect, result) {
    if (job.inputs.stage !== "unlisted") return job;
    if (result.is === "refused") return { ...job, inputs: { stage: "failed", detail: result.cause } };
    if (result.is !== "ok") return job;
    if ("heldBy" in result.value) return { ...job, claim: { stage: "refused", why: result.value.heldBy } };
    const { total, bytes } = result.value;
    return {
      ...job,
      inputs:
        total === 0 ? { stage: "ready", total, bytes } : { stage: "staging", total, bytes, next: 0, movedBytes: 0 },
    };
  },

  StageFiles(job, effect, result) {
    const { inputs } = job;
    if (inputs.stage !== "staging" || inputs.next !== effect.from) return job;
    if (result.is === "refused") return { ...job, inputs: { stage: "failed", detail: result.cause } };
    if (result.is !== "ok") return job;
    const { total, bytes } = inputs;
    const moved = movedOnBy(inputs, result.value);
    return { ...job, inputs: moved.next === total ? { stage: "ready", total, bytes } : { ...inputs, ...moved } };
  },

  WriteScript(job, _effect, result) {
    if (job.run.stage !== "none") return job;
    // What the job itself asks for can not be run: it fails as an input would, before anything was submitted.
    if (result.is === "refused") return { ...job, inputs: { stage: "failed", detail: result.cause } };
    if (result.is !== "ok") return job;
    const { ref, ...facts } = result.value;
    return { ...job, ...facts, run: { stage: "written", ref } };
  },

  Submit(job, effect, result, at) {
    if (job.run.stage !== "submitting") return job;
    const { before, ...run } = job.run;
    // The fence counts from here: the clock may have been set between the intent of another life and now.
    if (result.is === "doubt") return { ...job, run: { ...run, intentAt: at, doubt: true } };
    const written = { stage: "written", ref: effect.ref } as const;
    // Its script is gone: as with an input that can not be had, the job fails before anything was run.
    if (result.is === "refused") return { ...job, run: written, inputs: { stage: "failed", detail: result.cause } };
    if (result.is === "retry") return { ...refusedAgain(job, result, at), run: unsent(run, before, result) ?? written };
    const { schedulerId, image } = result.value;
    const ref = { ...effect.ref, schedulerId };
    return { ...job, ...(image && { image }), run: { stage: "tracked", ref, since: at } };
  },

  FindRun(job, effect, result) {
    if (job.run.stage !== "submitting" || !job.run.doubt || result.is !== "ok") return job;
    const { schedulerId, askedAt, fenceOver } = result.value;
    // Its script was not ours to submit again: the job begins anew, with a script of our own.
    if (schedulerId === null && fenceOver && effect.ref.unreceipted)
      return { ...job, inputs: { stage: "unlisted" }, run: { stage: "none" } };
    if (schedulerId === null) return { ...job, run: { ...job.run, absentAt: askedAt } };
    return { ...job, run: { stage: "tracked", ref: { ...effect.ref, schedulerId }, since: job.run.intentAt } };
  },

  CancelRun: unchanged,

  CloseRun(job, effect, result) {
    const { ref, outcome } = effect;
    const closable = outcome.state === "NEVER_SUBMITTED" ? "submitting" : "tracked";
    if (job.run.stage === "submitting" && result.is === "doubt") {
      // It may have turned up after all: it is looked for again.
      const { absentAt: _absentAt, ...submitting } = job.run;
      return { ...job, run: submitting };
    }
    if (job.run.stage !== closable || result.is !== "ok" || "later" in result.value) return job;
    const { stderrTail, ...found } = result.value;
    return { ...job, run: { stage: "ended", ref, outcome: unlessOutOfMemory({ ...outcome, ...found }), stderrTail } };
  },

  SealFiles(job, effect, result) {
    const next = upload(job, effect.role, "waiting", ({ stage: _waiting, ...how }) => {
      if (result.is === "refused") return { stage: "failed", detail: result.cause };
      if (result.is !== "ok") return undefined;
      const { total, bytes, sha256 } = result.value;
      return total === 0
        ? { stage: "none", why: "there are no files" }
        : { stage: "sealed", total, bytes, sha256, ...how };
    });
    if (next === job || result.is !== "ok") return next;
    const { leftOut, escaped } = result.value;
    return {
      ...next,
      ...(leftOut && (effect.role === "log" ? { leftOutLogs: leftOut } : { leftOut })),
      ...(escaped && { escaped: { ...job.escaped, [effect.role]: escaped } }),
    };
  },

  CreateArtifact(job, effect, result) {
    return upload(job, effect.role, "sealed", ({ stage: _sealed, ...sealed }) => {
      if (result.is === "refused") return { stage: "failed", detail: result.cause };
      if (result.is !== "ok") return undefined;
      const { artifactId, committed } = result.value;
      if (committed) return { stage: "committed", artifactId, sha256: sealed.sha256, bytes: sealed.bytes };
      return { stage: "putting", artifactId, next: 0, movedBytes: 0, ...sealed };
    });
  },

  PutFiles(job, effect, result) {
    return upload(job, effect.role, "putting", (putting) => {
      if (putting.next !== effect.from) return undefined;
      if (result.is === "refused") return refusedUpload(putting, result);
      // The outputs and the job's end do not wait for a log.
      if (effect.role === "log" && result.is === "retry" && (job.waits.logs?.notTaken ?? 0) >= mostNotTaken)
        return { stage: "failed", detail: result.cause };
      return result.is === "ok" ? { ...putting, ...movedOnBy(putting, result.value) } : undefined;
    });
  },

  Commit(job, effect, result) {
    return upload(job, effect.role, "putting", (putting) => {
      const { artifactId, sha256, bytes } = putting;
      if (result.is === "refused") return refusedUpload(putting, result);
      return result.is === "ok" ? { stage: "committed", artifactId, sha256, bytes } : undefined;
    });
  },

  Report(job, effect, result, at) {
    const report = job.outbox[0];
    const head = report !== undefined && Bun.deepEquals(report, effect.report);
    const doubted = { ...job, server: { ...job.server, doubt: true } };
    const conflict = result.is === "refused" && (result.status === 409 || result.status === 404);
    // News of a status that goes on: said once, and dropped where EMX2 will not have it.
    if (!head && !isTerminal(effect.report.status) && effect.report.status === job.server.status) {
      if (result.is !== "ok" && result.is !== "refused") return job;
      return { ...(conflict ? doubted : job), said: saidOf(effect.report, at) };
    }
    if (!head) return job;
    if (result.is === "ok" && result.value.lost) return uploadedAgain(job);
    if (result.is === "ok") return { ...taken(job, report, report.status), said: saidOf(report, at) };
    if (result.is !== "refused") return job;
    if (conflict) return doubted;
    // EMX2 takes offence at the report itself: its bare facts still have to arrive.
    const tired = (job.waits.report?.failures ?? 0) >= plainAfterRefusals;
    return tired ? { ...job, outbox: [plain(report), ...job.outbox.slice(1)] } : job;
  },

  RemoveDir: (job, _effect, result) => (result.is === "ok" ? { ...job, cleaned: true } : job),
};

function movedOnBy(at: { readonly next: number; readonly movedBytes: number }, { files, bytes }: MovedFiles) {
  return { next: at.next + files, movedBytes: at.movedBytes + bytes };
}

/** EMX2 had lost the claim of a job that goes on here. */
function claimedAgain(job: Job, result: Result<"ClaimJob">): Job {
  if (job.server.status !== "PENDING" || result.is === "retry") return job;
  return { ...job, server: result.is === "ok" ? { status: "CLAIMED", doubt: false } : { ...job.server, doubt: true } };
}

/** What was committed is uploaded once more, and the end that names it is said then. */
function uploadedAgain(job: Job): Job {
  const again = (upload: Upload): Upload => (upload.stage === "committed" ? { stage: "waiting" } : upload);
  return { ...job, logs: again(job.logs), outputs: again(job.outputs), announced: job.server.status, outbox: [] };
}

function saidOf({ state, progress }: Report, at: number): Said {
  return { at, ...(state === undefined ? {} : { state }), ...(progress === undefined ? {} : { progress }) };
}

/** The one before it is still in doubt; and where the scheduler was silent since, it may have turned up meanwhile. */
function unsent(
  { absentAt: _looked, ...run }: Submitting,
  before: Submitting["before"],
  result: { readonly answered?: true },
): Submitting | undefined {
  if (!before) return undefined;
  return { ...run, intentAt: before.intentAt, doubt: true, ...(result.answered ? { absentAt: before.absentAt } : {}) };
}

/** A scheduler that answers and says no lets the submission's time run; one that does not answer stops it. */
function refusedAgain(job: Job, result: { readonly answered?: true }, at: number): Job {
  const { forMs = 0, lastAt } = job.refused ?? {};
  if (result.answered === undefined) return lastAt === undefined ? job : { ...job, refused: { forMs } };
  const sinceMs = lastAt === undefined ? 0 : Math.max(0, at - lastAt);
  return { ...job, refused: { forMs: forMs + (sinceMs <= longestBetweenAnswersMs ? sinceMs : 0), lastAt: at } };
}

/** Refusals of one report after which only its bare facts are sent. */
const plainAfterRefusals = 5;

function plain({ detail: _left, ...facts }: Report): Report {
  return facts;
}

function readResult(job: Job, seen: Parameters<typeof seenAtServer>[1], at: number): Job {
  return seenAtServer(job, seen, at, true);
}

/** An EMX2 that was restored from a backup may not know the artifact that it gave us: it is asked for another, once. */
function refusedUpload(putting: Extract<Upload, { stage: "putting" }>, refused: Refused): Upload {
  const { cause, status } = refused;
  if (refused.oddName && putting.refusedIn === undefined) return { stage: "waiting", refusedIn: putting.artifactId };
  if (status !== 404 || putting.anew) return { stage: "failed", detail: cause };
  const { total, bytes, sha256, refusedIn } = putting;
  return { stage: "sealed", total, bytes, sha256, anew: true, ...(refusedIn !== undefined && { refusedIn }) };
}

/** Moves an upload on, if it still is in the stage that the result is about; `undefined` leaves it as it is. */
function upload<S extends Upload["stage"]>(
  job: Job,
  role: UploadRole,
  stage: S,
  move: (upload: Extract<Upload, { stage: S }>) => Upload | undefined,
): Job {
  const lane = role === "log" ? "logs" : "outputs";
  const current = job[lane];
  if (current.stage !== stage) return job;
  const next = move(current as Extract<Upload, { stage: S }>);
  return next ? { ...job, [lane]: next } : job;
}
