/**
 * What really happened in a simulated world, as nobody in it knows it: every start of a workload and its end, who asked for
 * whose end, what broke. The invariants measure the daemon's words against it. One line for each act: the same seed gives
 * the same lines.
 */

/** What may rightly end a job other than COMPLETED. */
export type Cause =
  /** The workload itself. */
  | "exit code"
  | "out of memory"
  | "changed after its end"
  | "time limit"
  /** Slurm and the machines. */
  | "node failure"
  | "preempted"
  | "forgotten before it started"
  /** People: Slurm's users, the submitter, the operator. */
  | "scancel"
  | "cancelled at EMX2"
  | "deleted at EMX2"
  | "given to another worker"
  | "cancelled by the operator";

export const cancels: ReadonlySet<Cause> = new Set<Cause>([
  "scancel",
  "preempted",
  "cancelled at EMX2",
  "deleted at EMX2",
  "given to another worker",
  "cancelled by the operator",
]);

export interface Start {
  readonly jobId: string;
  readonly attempt: string;
  readonly id: string;
  readonly restart: number;
  /** What its output says if it comes to its end. */
  readonly result: string;
  /** `requeued`: well, and yet Slurm is to start it again. */
  ended?: "well" | "badly" | "requeued";
}

export interface Chronicle {
  readonly lines: string[];
  readonly starts: Start[];
  readonly causes: ReadonlyMap<string, ReadonlySet<Cause>>;
  /** Something has happened. */
  say(line: string): void;
  /** Beside what happens, for whoever reads. */
  note(line: string): void;
  cause(jobId: string, cause: Cause): void;
  started(start: Start): void;
}

/** `onLine`: called after each line, when what it says has happened. */
export function createChronicle(wall: () => number, onLine: () => void): Chronicle {
  const lines: string[] = [];
  const starts: Start[] = [];
  const causes = new Map<string, Set<Cause>>();
  const note = (line: string) => lines.push(`${new Date(wall()).toISOString()} ${line}`);
  const say = (line: string) => {
    note(line);
    onLine();
  };
  return {
    lines,
    starts,
    causes,
    say,
    note,
    cause(jobId, cause) {
      causes.set(jobId, (causes.get(jobId) ?? new Set()).add(cause));
      say(`${short(jobId)} can end by: ${cause}`);
    },
    started(start) {
      starts.push(start);
      say(`${short(start.jobId)} STARTS in Slurm job ${start.id}, restart ${start.restart}`);
    },
  };
}

/** Of a job id, enough to tell jobs of one world apart. */
export function short(jobId: string): string {
  return jobId.slice(0, 8);
}
