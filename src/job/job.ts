/**
 * A job as the daemon knows it: not one status but a few lanes that move side by side. Everything here is plain data:
 * it is stored as JSON, folded from events (`fold.ts`) and read by `decide.ts`. Instants are wall clock milliseconds.
 */
import type { BackendName } from "./profile.ts";
import type { ImageSeen, JobId, Outcome, Receipts, RunRef, SchedulerRow, SlurmState } from "./run.ts";
import type { JobStatus } from "./status.ts";

export const lanes = ["claim", "inputs", "run", "logs", "outputs", "report", "clean"] as const;
/** At most one effect is in flight per job and lane. */
export type Lane = (typeof lanes)[number];

/** An input artifact of a job. `name` is the key it had in `inputs`, where it had one. */
export interface InputRef {
  readonly artifactId: string;
  readonly name?: string;
}

/** What EMX2 says of a job, reduced to what the daemon acts on. Its date-times are left out: they carry no zone. */
export interface ServerJob {
  readonly id: JobId;
  readonly processor: string;
  readonly profile: string | null;
  readonly status: JobStatus;
  readonly workerId: string | null;
  readonly submitUser: string | null;
  /** As a worker once reported it; the first that was reported stays. */
  readonly slurmJobId?: string;
  readonly inputs: readonly InputRef[];
  readonly timeoutSeconds: number | null;
  /** What the submitter wrote can not be read, and why: such a job is claimed to fail with this reason. */
  readonly unreadable?: string;
  /** The source text of `parameters`, untouched (number spellings and key order survive); `{}` where there is none. */
  readonly parametersText: string;
}

export interface Job {
  readonly id: JobId;
  readonly processor: string;
  /** EMX2's profile name, as the server gave it; null: any. */
  readonly serverProfile: string | null;
  /** Key of the profile in the configuration that runs it. */
  readonly profileKey: string;
  /** A job stays with the backend that took it. */
  readonly backend: BackendName;
  readonly dir: string;
  /** Absolute directory that holds the runs' output directories; absent: `dir`. */
  readonly outputBase?: string;
  /** What stays where it is, fixed with the script: a later change of the configuration moves nothing. */
  readonly inPlace?: InPlace;
  /** Our own worker id at the time of the claim. */
  readonly workerId: string;
  /** `X-Trace-Id` of every request about this job. */
  readonly traceId: string;
  readonly submitUser: string | null;
  readonly inputRefs: readonly InputRef[];
  readonly timeoutSeconds: number | null;
  readonly parametersHash?: string;
  readonly image?: ImageSeen;
  readonly offeredAt: number;

  readonly server: ServerView;
  readonly claim: Claim;
  readonly inputs: Inputs;
  readonly run: Run;
  readonly logs: Upload;
  readonly outputs: Upload;
  /** What lies among the outputs and is no part of them: no file, out of reach, written too late; empty directories. */
  readonly leftOut?: LeftOut;
  /** Logs that could not be taken. */
  readonly leftOutLogs?: LeftOut;
  /** Files that could not keep their names, as their artifact calls them. */
  readonly escaped?: { readonly output?: LeftOut; readonly log?: LeftOut };
  /** Reports to EMX2, sent strictly in order. */
  readonly outbox: readonly Report[];
  /** What the workload last said of itself. */
  readonly progress?: Progress;
  /** What EMX2 was last told while a status went on. */
  readonly said?: Said;
  /** How long the scheduler has refused the submission, in time between answers alone: silence does not count. */
  readonly refused?: { readonly forMs: number; readonly lastAt?: number };
  /** The furthest status that was ever put in the outbox, so that none is put there twice. */
  readonly announced: JobStatus;
  /** The first reason stays, unless EMX2 moves on after a time-out of ours. */
  readonly stop?: Stop;
  /** Nothing more will be said to EMX2 about this job. */
  readonly closed?: { readonly at: number; readonly status: JobStatus; readonly why: string };
  readonly cleaned: boolean;
  /** The operator does not want its directory kept any longer. */
  readonly cleanAsked?: true;
  /** Lanes that wait before their next try. */
  readonly waits: Readonly<Partial<Record<Lane, Wait>>>;
}

/** Residence posix: EMX2 gets the place and the hashes, the bytes stay. */
export interface InPlace {
  readonly outputs: boolean;
  /** Absolute directory that the logs are put into, to stay there. */
  readonly logs?: string;
}

/** `names`: the first few of `count`. */
export interface LeftOut {
  readonly count: number;
  readonly names: readonly string[];
}

export interface Said {
  readonly at: number;
  readonly state?: SlurmState;
  readonly progress?: Progress;
}

export interface ServerView {
  readonly status: JobStatus;
  /** EMX2 refused a move or an answer was lost: read the job before anything else is said. */
  readonly doubt: boolean;
}

/** `failures` in a row, the next try at `until`, and what went wrong last. */
export interface Wait {
  readonly failures: number;
  /** How many of them were large bodies that EMX2 did not take. */
  readonly notTaken?: number;
  /** When the first of these failures was. */
  readonly since?: number;
  readonly until: number;
  readonly cause: string;
}

export type Claim =
  | { readonly stage: "wanted" }
  /** A claim was sent, and its answer has not been read: only the job itself tells. */
  | { readonly stage: "claiming"; readonly doubt: boolean; readonly refusal?: string }
  /** `byReading`: the answer was lost, or a refusal. Another daemon of the same worker id may have made the claim. */
  | { readonly stage: "ours"; readonly at: number; readonly byReading?: true }
  | { readonly stage: "refused"; readonly why: string };

export type Inputs =
  | { readonly stage: "unlisted" }
  /** Files `next` to `total - 1` of the job's input file rows are still to be fetched; those before have `movedBytes`. */
  | {
      readonly stage: "staging";
      readonly total: number;
      readonly next: number;
      readonly bytes: number;
      readonly movedBytes: number;
    }
  | { readonly stage: "ready"; readonly total: number; readonly bytes: number }
  | { readonly stage: "failed"; readonly detail: string };

export type Run =
  | { readonly stage: "none" }
  /** The job directory holds script, arguments and environment; nothing was submitted yet. */
  | { readonly stage: "written"; readonly ref: RunRef }
  /**
   * The intent to submit is on disk, since `intentAt`. `doubt`: sbatch's answer is not known, so that the run has to be
   * looked for by name, and `intentAt` is when that was found out; `absentAt`: the last healthy answer that did not know it.
   */
  | {
      readonly stage: "submitting";
      readonly ref: RunRef;
      readonly intentAt: number;
      readonly doubt: boolean;
      readonly absentAt?: number;
      /** A submission before this one was lost, and its fence is over: should this one not be sent, it still holds. */
      readonly before?: { readonly intentAt: number; readonly absentAt: number };
    }
  | {
      readonly stage: "tracked";
      readonly ref: RunRef;
      readonly row?: SchedulerRow;
      /** When the row's state was first seen; until there is a row, when the run was submitted. */
      readonly since: number;
      /** When the workload was first seen to have started; absent again while Slurm has it in the queue again. */
      readonly startedAt?: number;
      /** The restart count of the last run that Slurm has requeued: its receipts are no evidence any more. */
      readonly startsAfter?: number;
      /** How often the row's submit time has changed, as each requeue makes it. */
      readonly requeues?: number;
      /** Since when it waits in the queue for a reason that can never clear. */
      readonly stuckSince?: number;
      /** When the scheduler first showed a terminal state; the receipt may still be on its way. */
      readonly endedSince?: number;
      /** When the exit receipt was first seen; the seal may still be on its way. */
      readonly exitSince?: number;
      /** First of an unbroken row of healthy answers that did not know the run. */
      readonly absentSince?: number;
      /** The last look, kept while one of these three is set: a grace ends by a look after it, never by time alone. */
      readonly lookedAt?: number;
      readonly receipts?: Receipts;
    }
  | {
      readonly stage: "ended";
      readonly ref?: RunRef;
      readonly outcome: Outcome;
      readonly stderrTail: readonly string[];
    };

/** Outputs or logs on their way into an artifact. `sha256` is the artifact's content hash, `bytes` the sum of sizes. */
export type Upload =
  /** `refusedIn`, here and below: the artifact in which a name was refused; each that might be is percent-escaped now. */
  | { readonly stage: "waiting"; readonly refusedIn?: string }
  | {
      readonly stage: "sealed";
      readonly total: number;
      readonly bytes: number;
      readonly sha256: string;
      /** EMX2 has forgotten the artifact that there was. */
      readonly anew?: true;
      readonly refusedIn?: string;
    }
  | {
      readonly stage: "putting";
      readonly artifactId: string;
      readonly total: number;
      readonly next: number;
      readonly bytes: number;
      /** Of the files before `next`. */
      readonly movedBytes: number;
      readonly sha256: string;
      readonly anew?: true;
      readonly refusedIn?: string;
    }
  | { readonly stage: "committed"; readonly artifactId: string; readonly sha256: string; readonly bytes: number }
  /** Nothing to upload, which is no failure. */
  | { readonly stage: "none"; readonly why: string }
  | { readonly stage: "failed"; readonly detail: string };

/** One status report; the fields are EMX2's own. */
export interface Report {
  readonly status: Exclude<JobStatus, "PENDING" | "CLAIMED">;
  readonly detail?: string;
  readonly slurmJobId?: string;
  readonly outputArtifactId?: string;
  readonly logArtifactId?: string;
  readonly progress?: Progress;
  /** The state that `detail` tells of; not a field of EMX2's. */
  readonly state?: SlurmState;
}

/** So often a large body is sent in vain: then a log is done without, and with an output a person is waited for. */
export const mostNotTaken = 10;

/** EMX2's, in characters. */
export const progressBounds = { phaseChars: 100, messageChars: 500 } as const;

/** What a job says of itself while it runs. `fraction` is in [0, 1]. */
export interface Progress {
  readonly phase?: string;
  readonly message?: string;
  readonly fraction?: number;
}

/** Why the job is to end before its run does: EMX2 has moved on, a time-out of ours is over, or the operator wants it so. */
export interface Stop {
  readonly by: ServerStop | OwnTimeout | "operator";
  readonly at: number;
  readonly detail: string;
}

const serverStops = ["server-cancelled", "server-deleted", "other-worker", "server-ended"] as const;
type ServerStop = (typeof serverStops)[number];

/**
 * `timeout`: the job's own `timeout_seconds`; `held`: its profile was held for too long; `never-runnable`: it waited in the
 * queue for what can never clear. EMX2 is told FAILED.
 */
export const ownTimeouts = ["timeout", "submission-timeout", "execution-timeout", "held", "never-runnable"] as const;
export type OwnTimeout = (typeof ownTimeouts)[number];

export function isOwnTimeout(by: Stop["by"]): by is OwnTimeout {
  return (ownTimeouts as readonly string[]).includes(by);
}

/** EMX2 has moved on from this job. Any other stop is an end made here, and EMX2 has yet to hear of it. */
export function movedOn({ stop }: Job): Stop | undefined {
  return stop && (serverStops as readonly string[]).includes(stop.by) ? stop : undefined;
}

/**
 * Nothing of it is in the scheduler's hands, and handing it over comes next: its script is written, or a submission was lost
 * and has not turned up within `fenceMs` of its intent.
 */
export function isToBeSubmitted(run: Run, fenceMs: number): boolean {
  if (run.stage === "written") return true;
  if (run.stage !== "submitting" || !run.doubt || run.absentAt === undefined) return false;
  return run.absentAt >= run.intentAt + fenceMs;
}

/** Why its directory stays, however long it is kept already. undefined: it may go. */
export function keptFor({ closed, claim, cleaned, outputs }: Job): string | undefined {
  if (!closed) return "it has not ended";
  if (claim.stage === "refused" || cleaned) return "it has none here";
  // A result that EMX2 has not taken is nowhere else.
  return outputs.stage === "failed" ? "its outputs are not at EMX2, and stay in its directory" : undefined;
}
