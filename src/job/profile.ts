/**
 * A profile: how jobs of one EMX2 (processor, profile) pair are run here, as resolved from the configuration.
 * Words and units are Slurm's and Apptainer's own.
 */

export type BackendName = "slurm" | "shell" | "simulate";

export interface Profile {
  /** The key in the configuration, for messages. */
  readonly key: string;
  readonly processor: string;
  readonly profile: string;
  /** What runs: a program of this host, or an image in a container. */
  readonly workload: HostWorkload | ImageWorkload;
  /** `--partition`, `--account`, `--qos`; absent: Slurm's own default. */
  readonly partition?: string;
  readonly account?: string;
  readonly qos?: string;
  /** `--cpus-per-task`. */
  readonly cpus?: number;
  /** `--mem`, as Slurm spells sizes: `64G`. */
  readonly memory?: string;
  /** `--time`, as Slurm spells it: minutes, `HH:MM:SS`, `D-HH:MM:SS`. */
  readonly time?: string;
  /** `--gpus`, or `--gres`. */
  readonly gpus?: number | string;
  readonly gres?: string;
  /** Further options for sbatch, one an entry. */
  readonly sbatchArgs: readonly string[];
  /** Shell lines of the operator's that run first in the batch script. */
  readonly prelude: readonly string[];
  readonly outputResidence: "managed" | "posix";
  readonly logResidence: "managed" | "posix";
  /** Where posix outputs and logs live, each job's in `<posixOutputDir>/<job id>/`; absent: in the job directory. */
  readonly posixOutputDir?: string;
  readonly maxConcurrentJobs?: number;
  /** Milliseconds in which a claimed job may fail to get into the scheduler's queue though everything answers; null: never. */
  readonly submissionTimeoutMs: number | null;
  /** From the start of the workload; null: the scheduler's time limit alone. */
  readonly executionTimeoutMs: number | null;
  /** So long before the time limit SIGUSR2 warns the workload: `--signal=B:USR2@SECONDS`. Slurm may be up to a minute early. */
  readonly warnBeforeLimitMs?: number;
  /** `--requeue`: Slurm may run the job again after a node's failure; else `--no-requeue`. */
  readonly requeue: boolean;
  /** Outputs are listed and hashed on the compute node at the job's end. */
  readonly sealOutputs: boolean;
  /** A job may bring `parameters.command`, in a contained image without a fixed entrypoint. */
  readonly allowCommand: boolean;
  /** Patterns of the `submit_user` names whose jobs are taken. */
  readonly allowedSubmitters: readonly string[];
  /** Patterns (`*` stands for any run of characters) of the names that `parameters.environment` may set. */
  readonly allowedEnvironment: readonly string[];
}

/** A profile of which nothing particular is asked. */
export const profileDefaults = {
  sbatchArgs: [],
  prelude: [],
  outputResidence: "managed",
  logResidence: "managed",
  submissionTimeoutMs: null,
  executionTimeoutMs: null,
  requeue: false,
  sealOutputs: true,
  allowCommand: false,
  allowedSubmitters: ["*"],
  allowedEnvironment: [],
} as const satisfies Partial<Profile>;

export interface HostWorkload {
  readonly kind: "host";
  /** The program on the host: absolute, or found on the job's PATH. */
  readonly entrypoint: string;
}

export interface ImageWorkload {
  readonly kind: "image";
  /** Absolute path of the SIF image as compute nodes see it. */
  readonly image: string;
  /** What its SHA-256 has to be, in lower-case hex; absent: whatever it is. */
  readonly sha256?: string;
  /** Program inside the image; absent: the image's own runscript. */
  readonly entrypoint?: string;
  /** `contained`: --containall with a home and /tmp of its own; `host`: Apptainer's usual mounts. */
  readonly isolation: "contained" | "host";
  readonly gpuRuntime: "nv" | "rocm" | "none";
  readonly apptainerArgs: readonly string[];
}

/** Host-wide Apptainer settings. */
export interface ApptainerSettings {
  /** `apptainer` or `singularity`, a name or an absolute path. */
  readonly command: string;
  readonly binds: readonly Bind[];
  /** APPTAINER_TMPDIR and APPTAINER_CACHEDIR on the node. */
  readonly imageTmpDir?: string;
  readonly cacheDir?: string;
}

/** One bind mount: `source` on the host at `destination` in the container. */
export interface Bind {
  readonly source: string;
  readonly destination: string;
  readonly writable: boolean;
}

/**
 * A time limit as Slurm spells it, in milliseconds: `MM`, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`; undefined for
 * `UNLIMITED`, `INFINITE`, zero (no limit at all) and whatever else has no length. Source: sbatch(1), `--time`.
 */
export function timeLimitMs(time: string): number | undefined {
  const match = /^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$/.exec(time.trim());
  if (!match) return undefined;
  const [days, ...rest] = match.slice(1).map((part) => (part === undefined ? undefined : Number(part)));
  const [first = 0, second, third] = rest;
  const withDays = days !== undefined || third !== undefined;
  const [hours, minutes, seconds] = withDays ? [first, second ?? 0, third ?? 0] : [0, first, second ?? 0];
  return ((((days ?? 0) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 || undefined;
}
