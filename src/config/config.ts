/**
 * The configuration as the rest of the program sees it: checked, every default and alternative name settled, paths
 * absolute, durations in milliseconds, sizes in bytes. `schema.ts` says what a file may hold, `load.ts` makes this of it.
 */
import type { ConfigProblem } from "../errors.ts";
import type { EvidenceWaits } from "../job/outcome.ts";
import type { ApptainerSettings, Profile } from "../job/profile.ts";
import type { SecretSource } from "./secret.ts";

export interface Config {
  /** Absolute path of the file it was loaded from. */
  readonly file: string;
  readonly emx2: Emx2Settings;
  readonly worker: WorkerSettings;
  readonly slurm: SlurmSettings;
  /** With `slurm.default_partition` and `slurm.default_account` merged in. */
  readonly profiles: readonly Profile[];
  readonly apptainer: ApptainerSettings & {
    /** Job directories are made here. */
    readonly tmpDir: string;
    /** `posix_roots` alone; what else posix inputs may lie in follows from binds, profiles and tmpDir. */
    readonly posixRoots: readonly string[];
  };
  /** What is accepted and better put right. */
  readonly warnings: readonly ConfigProblem[];
}

export interface Emx2Settings {
  /** Without a slash at its end. */
  readonly baseUrl: string;
  readonly workerId: string;
  readonly authMode: "hmac" | "token";
  readonly secret: SecretSource;
  /** Authorities in PEM, added to the system's. */
  readonly caFile?: string;
  /** How long jobs go on when EMX2 knows none of several any more; null: for ever. */
  readonly unknownJobsWaitMs: number | null;
}

export interface WorkerSettings {
  readonly pollIntervalMs: number;
  readonly maxConcurrentJobs: number;
  readonly heartbeatIntervalMs: number;
  readonly maxConcurrentTransfers: number;
  readonly stateDir: string;
  /** A holder of stateDir on another host that gives no sign for so long is dead. */
  readonly stateLeaseMs: number;
  /** Between two reports on a job that is PENDING in Slurm. */
  readonly queueReportIntervalMs: number;
  /** How long jobs of a held profile wait before they fail; null: for ever. */
  readonly heldJobsWaitMs: number | null;
  /** After the terminal report; null: job directories are never removed. */
  /** null: for ever. */
  readonly uploadRetryMs: number | null;
  readonly keepJobDirsMs: number | null;
  readonly minFreeDiskBytes: number;
  readonly waits: EvidenceWaits;
  /** In the queue for a reason that can never clear; null: for ever. */
  readonly neverRunnablePatienceMs: number | null;
  readonly stderrLinesInReports: number;
  readonly maxLogBytes: number;
}

/** Milliseconds. */
export interface SlurmLimits {
  readonly submitMs: number;
  readonly queryMs: number;
  /** How long a message that sbatch has sent may still take effect. */
  readonly messageMs: number;
  /** How long accounting may show a new job without its name. */
  readonly accountingLagMs: number;
}

export interface SlurmSettings {
  readonly binDir?: string;
  readonly maxSubmissionsPerMinute: number;
  /** KillWait with room. */
  readonly killWaitMs: number;
  readonly limits: SlurmLimits;
}
