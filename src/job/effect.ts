/**
 * What the daemon does to the world (effects), what comes back (results) and everything that can happen to a job
 * (events). `decide.ts` chooses effects, `daemon/effects.ts` knows how to run each kind, `fold.ts` folds the events.
 */
import type { InPlace, Lane, LeftOut, OwnTimeout, Progress, Report, Run, ServerJob } from "./job.ts";
import type { BackendName } from "./profile.ts";
import type { ImageSeen, Outcome, Receipts, RunRef, SchedulerRow } from "./run.ts";

export type FileRole = "input" | "output" | "log";
export type UploadRole = Exclude<FileRole, "input">;

export type Effect =
  | { readonly kind: "ClaimJob" }
  | { readonly kind: "ReadJob" }
  | { readonly kind: "ListInputs" }
  /** A group of input files, the first of them this one. */
  | { readonly kind: "StageFiles"; readonly from: number }
  | { readonly kind: "WriteScript"; readonly attempt: string }
  | { readonly kind: "Submit"; readonly ref: RunRef }
  | { readonly kind: "FindRun"; readonly ref: RunRef }
  | { readonly kind: "CancelRun"; readonly ref: RunRef }
  /** The evidence says that the run has ended: take down what is still to be read of it. */
  | { readonly kind: "CloseRun"; readonly ref: RunRef; readonly outcome: Outcome }
  | { readonly kind: "SealFiles"; readonly role: UploadRole }
  | { readonly kind: "CreateArtifact"; readonly role: UploadRole }
  | { readonly kind: "PutFiles"; readonly role: UploadRole; readonly from: number }
  | { readonly kind: "Commit"; readonly role: UploadRole }
  | { readonly kind: "Report"; readonly report: Report }
  | { readonly kind: "RemoveDir" };

export type EffectKind = Effect["kind"];
export type EffectOf<K extends EffectKind> = Extract<Effect, { kind: K }>;

/** The lane an effect occupies while it is in flight. */
export function laneOf(effect: Effect): Lane {
  switch (effect.kind) {
    case "ClaimJob":
    case "ReadJob":
      return "claim";
    case "ListInputs":
    case "StageFiles":
      return "inputs";
    case "WriteScript":
    case "Submit":
    case "FindRun":
    case "CancelRun":
    case "CloseRun":
      return "run";
    case "SealFiles":
    case "CreateArtifact":
    case "PutFiles":
    case "Commit":
      return effect.role === "log" ? "logs" : "outputs";
    case "Report":
      return "report";
    case "RemoveDir":
      return "clean";
  }
}

/** EMX2 has to answer for these. */
const askServer: ReadonlySet<EffectKind> = new Set<EffectKind>([
  ...(["ClaimJob", "ReadJob", "ListInputs", "StageFiles", "WriteScript"] as const),
  ...(["CreateArtifact", "PutFiles", "Commit", "Report"] as const),
]);

export function asksServer({ kind }: Effect): boolean {
  return askServer.has(kind);
}

/** Of a group of files, one after the other from its first: so many are where they are to be. At least one. */
export interface MovedFiles {
  readonly files: number;
  readonly bytes: number;
}

/** Files of one group. What a crash leaves unknown, and is moved once more, is one group at most. */
export const groupFiles = 100;

/** What each kind of effect brings back when it went well. */
export interface EffectValue {
  ClaimJob: { readonly job: ServerJob };
  /** null: EMX2 does not know the job (404). */
  ReadJob: { readonly job: ServerJob | null };
  /** `heldBy`: the directory is another daemon's, and so is the claim. */
  ListInputs: { readonly total: number; readonly bytes: number } | { readonly heldBy: string };
  StageFiles: MovedFiles;
  WriteScript: {
    readonly parametersHash: string;
    readonly ref: RunRef;
    readonly inPlace: InPlace;
    readonly outputBase?: string;
    readonly image?: ImageSeen;
  };
  /** `image`: as it is now, where it is not as it was. */
  Submit: { readonly schedulerId: string; readonly image?: ImageSeen };
  /** null: the scheduler and the job directory answered, and neither knows the run. */
  FindRun: {
    readonly schedulerId: string | null;
    /** When it was asked: an answer says nothing about what came later. */
    readonly askedAt: number;
    /** That was after its fence: what was not found now was never submitted. */
    readonly fenceOver?: true;
  };
  CancelRun: Record<never, never>;
  /** `later`: what it has used is still to be recorded, and it is asked for again. */
  CloseRun:
    | ({ readonly stderrTail: readonly string[] } & Pick<Outcome, "imageChanged" | "used" | "said">)
    | { readonly later: true };
  /** `total` 0: there is nothing to upload. `sha256` is the artifact's content hash. */
  SealFiles: {
    readonly total: number;
    readonly bytes: number;
    readonly sha256: string;
    readonly leftOut?: LeftOut;
    readonly escaped?: LeftOut;
  };
  /** `committed`: it has been before, with this very content. */
  CreateArtifact: { readonly artifactId: string; readonly committed?: true };
  PutFiles: MovedFiles;
  Commit: Record<never, never>;
  /** `lost`: EMX2 was restored from a backup and does not know the artifacts any more that the report names. */
  Report: { readonly lost?: true };
  RemoveDir: Record<never, never>;
}

/**
 * How an effect ended. `refused`: the answer is no and asking again will not change it (`oddName`: another name may). `retry`: nothing happened, try
 * again (not before `afterMs`; `answered`: whoever was asked is well, and said no for now; `notTaken`: a large body did not
 * get through, though EMX2 was there). `doubt`: it may have happened.
 */
export type Result<K extends EffectKind = EffectKind> =
  | { readonly is: "ok"; readonly value: EffectValue[K] }
  | { readonly is: "refused"; readonly cause: string; readonly status?: number; readonly oddName?: true }
  | {
      readonly is: "retry";
      readonly cause: string;
      readonly afterMs?: number;
      readonly answered?: true;
      readonly notTaken?: true;
    }
  | { readonly is: "doubt"; readonly cause: string };

/** One effect with its result, typed kind by kind so that a fold over it narrows both. */
export type EffectResult = {
  [K in EffectKind]: { readonly effect: EffectOf<K>; readonly result: Result<K> };
}[EffectKind];

/** Everything that can happen to a job. `at` is the wall clock in milliseconds. */
export type JobEvent =
  | {
      readonly kind: "Offered";
      readonly at: number;
      readonly job: Omit<ServerJob, "parametersText">;
      readonly workerId: string;
      readonly profileKey: string;
      readonly backend: BackendName;
      readonly dir: string;
      readonly traceId: string;
    }
  /** EMX2's list or the job itself was read; null: 404. */
  | { readonly kind: "ServerSaw"; readonly at: number; readonly job: Omit<ServerJob, "parametersText"> | null }
  /**
   * A scheduler cycle: `row` null where the scheduler answered and does not know the run, absent where its queue does not
   * list the run and accounting, which could tell why, does not answer.
   */
  | {
      readonly kind: "RunObserved";
      readonly at: number;
      readonly row?: SchedulerRow | null;
      readonly receipts: Receipts;
    }
  /** EMX2 calls the job ours, and what is in its directory and in Slurm bears it out: it goes on from there. */
  | {
      readonly kind: "Adopted";
      readonly at: number;
      readonly job: Omit<ServerJob, "parametersText">;
      readonly workerId: string;
      readonly profileKey: string;
      readonly backend: BackendName;
      readonly dir: string;
      readonly traceId: string;
      /** As far as it can be known: the job's own time-out counts from it. */
      readonly claimedAt: number;
      readonly run: Run;
      readonly parametersHash?: string;
      readonly inPlace?: InPlace;
      readonly outputBase?: string;
    }
  /** The operator ends the job. `by`: who asked, for EMX2 to show. */
  | { readonly kind: "CancelAsked"; readonly at: number; readonly by: string }
  /** The operator wants what waits after a failure to be tried now. */
  | { readonly kind: "RetryAsked"; readonly at: number; readonly by: string }
  /** The operator wants the directory of a job that has ended removed now. */
  | { readonly kind: "CleanAsked"; readonly at: number; readonly by: string }
  /** The workload has said something new of itself. */
  | { readonly kind: "Progressed"; readonly at: number; readonly progress: Progress }
  /** A time-out of ours is over. */
  | { readonly kind: "Expired"; readonly at: number; readonly by: OwnTimeout; readonly detail: string }
  /** The intent of an effect is on disk, and the effect starts now. */
  | { readonly kind: "Begun"; readonly at: number; readonly effect: Effect }
  /** `retryAt`: when the lane may try again, where the result asks for another try. */
  | ({ readonly kind: "Ended"; readonly at: number; readonly retryAt?: number } & EffectResult);

/** A file of a job: an input to fetch, or an output or log to upload. `path` is relative, `/`-separated and checked. */
export interface FileRow {
  readonly role: FileRole;
  readonly index: number;
  /**
   * Directory of the job that holds it: `input/<artifact id>`, `output`, `output.a1.1`, `.emx2`. Absolute for a file of a
   * posix input, which is verified where it lies and never brought here.
   */
  readonly directory: string;
  /** Input: the artifact it belongs to. */
  readonly artifactId?: string;
  /**
   * Path in the artifact. On disk it is `<directory>/<path>`, unless `diskPath` names another place below `directory`, of
   * outputs and logs in the form of `artifacts/disk-path.ts`.
   */
  readonly path: string;
  readonly diskPath?: string;
  readonly bytes: number;
  /** Lower-case hex; absent where the server does not tell. */
  readonly sha256?: string;
  /** Milliseconds; outputs and logs: as it was when it was hashed. Absent for a log that is still being written to. */
  readonly mtimeMs?: number;
  /** A log that is too large to go whole: of so many bytes on disk the first and the last `partBytes` go, `bytes` in all. */
  readonly cut?: { readonly diskBytes: number; readonly partBytes: number };
}
