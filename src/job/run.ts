/**
 * A run: one job's life in the scheduler, and the two kinds of evidence about it. The scheduler's rows come from squeue
 * and sacct (or a stand-in for them); receipts are what the batch script wrote into the job directory. `outcome.ts`
 * decides which of them is believed.
 */

import type { ApptainerFault } from "./apptainer-message.ts";
import type { ProgramFault } from "./stderr-causes.ts";
import type { Usage } from "./usage.ts";

export type JobId = string;

/** Names a run to the scheduler. `name` is constant for a job: the one key by which every cluster can find it again. */
export interface RunRef {
  readonly jobId: JobId;
  /** `a1`, `a2`, …: one decision to run the job. A submission repeated in doubt keeps it. */
  readonly attempt: string;
  /** Slurm's job name, `emx2-<job id>`. */
  readonly name: string;
  /** The scheduler's own id, once known: never an identity by itself, since controllers hand ids out twice after a crash. */
  readonly schedulerId?: string;
  /** The job directory, absolute. */
  readonly dir: string;
  /** Its script was another program's, which takes no lease and leaves no receipts: the scheduler's word is all there is. */
  readonly unreceipted?: true;
  /** When the script was written, wall clock in milliseconds, before any intent to submit: nothing older can be this run. */
  readonly notBefore: number;
}

/** In a lease in an id's place: nobody has had the attempt, and nobody can take it any more. */
export const closedLease = "closed";
/** Slurm's ids, the shell's and the simulation's. */
export const schedulerIdPattern = /^[A-Za-z0-9_-]{1,64}$/;

/** Closed to the run that has had it: where the scheduler starts it again it finds that the attempt is not its own. */
export function leaseClosedTo(schedulerId: string): string {
  return `${closedLease}.${schedulerId}`;
}

/** The id of the run that has, or has had, the attempt. undefined: none has, for the job may have put anything there. */
export function holderOfLease(target: string): string | undefined {
  const id = target.startsWith(leaseClosedTo("")) ? target.slice(leaseClosedTo("").length) : target;
  return id !== closedLease && schedulerIdPattern.test(id) ? id : undefined;
}

export function runName(jobId: JobId): string {
  return `emx2-${jobId}`;
}

/**
 * Slurm's states (squeue's long names), plus one of ours: `UNKNOWN` for a word that no table knows. Source: squeue and sacct
 * of Slurm 22.05, 24.11 and 26.05, and the states' names in slurm_protocol_defs.c (EXPEDITING since 25.11).
 */
export const slurmStates = [
  "PENDING",
  "CONFIGURING",
  "POWER_UP_NODE",
  "RUNNING",
  "COMPLETING",
  "EXPEDITING",
  "STAGE_OUT",
  "SIGNALING",
  "SUSPENDED",
  "STOPPED",
  "RESIZING",
  "REQUEUED",
  "REQUEUE_FED",
  "REQUEUE_HOLD",
  "RESV_DEL_HOLD",
  "SPECIAL_EXIT",
  "LAUNCH_FAILED",
  "RECONFIG_FAIL",
  "COMPLETED",
  "FAILED",
  "TIMEOUT",
  "OUT_OF_MEMORY",
  "CANCELLED",
  "NODE_FAIL",
  "BOOT_FAIL",
  "DEADLINE",
  "PREEMPTED",
  "REVOKED",
  "UNKNOWN",
] as const;
export type SlurmState = (typeof slurmStates)[number];

/** Where a state stands in a run's life. COMPLETING is not an end; an unknown word is nothing at all. */
export type Phase = "pending" | "running" | "ending" | "ended" | "unknown";

export const phaseOf: Readonly<Record<SlurmState, Phase>> = {
  PENDING: "pending",
  CONFIGURING: "pending",
  POWER_UP_NODE: "pending",
  REQUEUED: "pending",
  REQUEUE_FED: "pending",
  REQUEUE_HOLD: "pending",
  RESV_DEL_HOLD: "pending",
  SPECIAL_EXIT: "pending",
  LAUNCH_FAILED: "pending",
  RECONFIG_FAIL: "pending",
  RUNNING: "running",
  SIGNALING: "running",
  SUSPENDED: "running",
  STOPPED: "running",
  RESIZING: "running",
  STAGE_OUT: "ending",
  COMPLETING: "ending",
  EXPEDITING: "ending",
  COMPLETED: "ended",
  FAILED: "ended",
  TIMEOUT: "ended",
  OUT_OF_MEMORY: "ended",
  CANCELLED: "ended",
  NODE_FAIL: "ended",
  BOOT_FAIL: "ended",
  DEADLINE: "ended",
  PREEMPTED: "ended",
  // In a federation another cluster runs it: its receipts tell the end, on storage that both share.
  REVOKED: "ending",
  UNKNOWN: "unknown",
};

/** One run as squeue or sacct shows it. Absent fields were not shown. */
export interface SchedulerRow {
  readonly source: "squeue" | "sacct";
  readonly schedulerId: string;
  readonly name: string;
  readonly state: SlurmState;
  /** Seconds since 1970 by the controller's clock; a requeue makes it later. */
  readonly submittedAt?: number;
  /** The word itself where `state` is UNKNOWN. */
  readonly word?: string;
  /** Uid behind `CANCELLED by UID`. */
  readonly cancelledBy?: number;
  readonly reason?: string;
  readonly node?: string;
  /** `[D-]HH:MM:SS` */
  readonly elapsed?: string;
  /** sacct's `code:signal`. squeue does not tell. */
  readonly exitCode?: number;
  readonly signal?: number;
}

/**
 * What one scheduler cycle says about the runs it was asked for: its row, or `null` where the scheduler answered and does
 * not know it. A run is left out where the queue does not list it and accounting does not answer. A failed query is
 * `unavailable` and says nothing about any run.
 */
export type StatesAnswer =
  | {
      readonly is: "answered";
      readonly rows: ReadonlyMap<JobId, SchedulerRow | null>;
      /** All that waits or runs under our names, asked for or not, by name: a submission in doubt may have had a twin. */
      readonly live?: ReadonlyMap<string, readonly SchedulerRow[]>;
      /** It has answered, and said that it is asked too often. */
      readonly slowDown?: string;
    }
  | { readonly is: "unavailable"; readonly cause: string };

/** The receipts of one attempt in `<job dir>/.emx2/`, of the newest run (restart count) that took the lease. */
export interface Receipts {
  /** False: the job directory itself is not there (deleted, or its file system is not mounted). */
  readonly directory: boolean;
  /** The scheduler id that holds `lease.<attempt>`: this run is the attempt's, any other is a twin. */
  readonly lease?: string;
  /** Restart count of the newest run; 0 unless Slurm requeued it. */
  readonly restart: number;
  readonly start?: { readonly node: string; readonly at: number };
  /** A signal reached the batch shell; SIGKILL may have followed. */
  readonly stop?: { readonly signal: string; readonly at: number };
  readonly exit?: ExitReceipt;
  /** The workload ended and its outputs are sealed; `manifestSha256` null: its script could not. */
  readonly done?: { readonly exit: number; readonly manifestSha256: string | null };
  /** Scheduler ids of twins: they found the lease taken and did nothing. */
  readonly lost: readonly string[];
}

/** How the workload ended, as the batch script saw it. Times in seconds since 1970 on the compute node's clock. */
export interface ExitReceipt {
  readonly exit: number;
  /** `wrapper-killed`: the shell that waited was killed, `exit` is a guess from `wait`. */
  readonly how: "exit" | "wrapper-killed";
  /** The first signal that reached the batch shell, such as `TERM`; null: none did. */
  readonly signal: string | null;
  /** Processes of this job that the kernel killed for memory; null where it can not be read. */
  readonly oomKill: number | null;
  /** Whether its prelude ended it, or its image can not be started, whatever the job: tried once more with nothing of the job's. */
  readonly unstarted?: boolean;
  /** The node had another file there than was looked at before the submission. */
  readonly otherImage?: true;
  readonly node: string;
  readonly start: number;
  readonly end: number;
}

/** `HH:MM:SS`, hours as many as there are. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** An image as it was when its hash was taken. A file that was replaced or written to since has another `state`. */
export interface ImageSeen {
  readonly path: string;
  readonly state: string;
  readonly sha256: string;
}

/** `apptainer`: it speaks of a container that did not begin; `program`: of what stopped a program. */
export interface Said {
  readonly apptainer?: ApptainerFault;
  readonly program?: ProgramFault;
}

/** How a run ended, in Slurm's words, with which proof. */
export interface Outcome {
  readonly result: "succeeded" | "failed" | "cancelled";
  /** receipt: the script's word; squeue, sacct: the scheduler's; none: lost, or it never was submitted. */
  readonly proof: "receipt" | "squeue" | "sacct" | "none";
  readonly state: SlurmState | "LOST" | "NEVER_SUBMITTED";
  readonly exitCode?: number;
  readonly signal?: number;
  readonly reason?: string;
  readonly node?: string;
  readonly elapsed?: string;
  /** The cause in a few words, where the state alone does not say it. */
  readonly cause?: string;
  /** SHA-256 of the manifest of its outputs, which the batch script has made. */
  readonly manifestSha256?: string;
  /** What the end of its stderr says of it, told apart when it was read: the lines themselves may not be kept. */
  readonly said?: Said;
  /** The image was replaced or written to between its check and the run's end, or the node has another: what ran is not known. */
  readonly imageChanged?: true;
  /** It took no lease that can be seen: its script has not begun, whatever exit code the scheduler shows. */
  readonly unbegun?: true;
  /** Its image can be started on the node: an exit code that is Apptainer's too is its program's. */
  readonly startable?: true;
  /** The kernel counts what it kills for memory, and has killed nothing of it. */
  readonly noOomKill?: true;
  readonly used?: Usage;
  /** Where the run's outputs are: `output`, or `output.<attempt>.<restart>` for a later run. */
  readonly outputDir: string;
}

/** The end of a job that never reached the scheduler. */
export function outcomeNeverSubmitted(result: "failed" | "cancelled", cause: string | undefined): Outcome {
  return {
    result,
    proof: "none",
    state: "NEVER_SUBMITTED",
    outputDir: "output",
    ...(cause === undefined ? {} : { cause }),
  };
}
