/**
 * What a configuration file may hold: the type, the checks and the documentation of each key in one. Durations and sizes
 * stay as they were written (`resolve.ts` turns them into numbers), so that they can be shown that way too. What one key
 * means for another is in `rules.ts`; YAML's own keys are the one place for snake case here.
 */
import * as v from "valibot";
import { apptainerArgFault } from "./apptainer-options.ts";
import type { Places } from "./places.ts";
import { baseUrlFault, bindFault } from "./places.ts";
import { unprintable } from "./printable.ts";
import { slurmGpusPattern, slurmGresPattern, slurmMemoryPattern, slurmTimePattern } from "./quantities.ts";
import { sbatchArgFault } from "./sbatch-options.ts";
import * as is from "./values.ts";

export type Schema = ReturnType<typeof schemaFor>;
/** A file's content with defaults filled in and paths absolute; keys are YAML's. */
export type Settings = v.InferOutput<Schema>;
export type ProfileSettings = Settings["profiles"][string];

export function schemaFor(places: Places) {
  const sections = sectionsFor(places);
  return v.strictObject({
    emx2: sections.emx2,
    worker: v.optional(sections.worker, {}),
    slurm: v.optional(sections.slurm, {}),
    profiles: v.optional(
      v.pipe(
        v.record(v.string(), sections.profile, "must be a block of profiles"),
        v.description(
          "What this worker runs, by `processor/profile`; any other key with processor and profile inside.",
        ),
      ),
      {},
    ),
    apptainer: sections.apptainer,
  });
}

/** The blocks by themselves; `profile` is each of `profiles`. */
export function sectionsFor(places: Places) {
  return {
    emx2: section("The EMX2 server and how this worker proves who it is.", emx2Keys(places)),
    worker: section("How much this daemon does, how often, and where it keeps its state.", workerKeys(places)),
    slurm: section("What holds for every submission.", slurmKeys(places)),
    profile: section("How jobs of one processor and profile are run.", profileKeys(places)),
    apptainer: section("Job directories, and how containers are started.", apptainerKeys(places)),
  };
}

function section<Entries extends v.ObjectEntries>(description: string, entries: Entries) {
  return v.pipe(v.strictObject(entries, "must be a block of keys"), v.description(description));
}

const secretFile = "File with the worker's secret, or its token with `auth_mode: token`. For nobody else: chmod 600.";
const secret = "The secret itself. Better in a file of its own.";

function emx2Keys(places: Places) {
  return {
    base_url: is.checkedText("Address of EMX2, without /api; https, or http to this host.", baseUrlFault),
    worker_id: is.textLike(
      /^[\x21-\x7e]{1,255}$/,
      "a text of up to 255 visible ASCII characters without spaces",
      "Name of this worker at EMX2, as its secret was issued for.",
    ),
    worker_secret_file: v.optional(is.path(places, secretFile)),
    shared_secret_file: v.optional(is.path(places, `The same as worker_secret_file. ${secretFile}`)),
    worker_secret: v.optional(is.text(secret)),
    shared_secret: v.optional(is.text(`The same as worker_secret. ${secret}`)),
    auth_mode: v.optional(is.choice(["hmac", "token"], "hmac signs each request; token sends an EMX2 token."), "hmac"),
    ca_file: v.optional(is.path(places, "Certificate authorities in PEM that are trusted beside the system's.")),
    allow_insecure_http: v.optional(is.flag("Allows http to another host: anybody in between can read all."), false),
    unknown_jobs_wait: v.optional(
      is.durationOrNever("How long jobs go on when EMX2 knows none of several any more: it may have been restored."),
      "1h",
    ),
  };
}

function workerKeys(places: Places) {
  return {
    poll_interval_seconds: v.optional(is.duration(10, "Time between looks at EMX2 and at Slurm, jittered."), 30),
    max_concurrent_jobs: v.optional(is.count(1, "Jobs that are claimed and not yet ended, over all profiles."), 10),
    heartbeat_interval_seconds: v.optional(is.duration(10, "Time between two signs of life to EMX2."), 120),
    max_concurrent_transfers: v.optional(is.count(1, "Files that are fetched or sent at the same time."), 4),
    state_dir: v.optional(
      is.path(
        places,
        "Directory of the journal and its lock; default: emx2-hpc-daemon in $XDG_STATE_HOME, or in ~/.local/state.",
      ),
    ),
    state_db: v.optional(is.path(places, "A file: the same as state_dir with its directory.")),
    queue_report_interval_seconds: v.optional(
      is.duration(100, "Time between two reports on a job that waits in Slurm's queue."),
      300,
    ),
    held_jobs_wait: v.optional(
      is.durationOrNever("How long jobs wait for a profile whose submissions are refused, before they fail."),
      "24h",
    ),
    upload_retry: v.optional(
      is.durationOrNever(
        "How long EMX2 may fail to take an output, or to give an input, before the job fails, its outputs staying; a log is done without after an hour.",
      ),
      "72h",
    ),
    keep_job_dirs: v.optional(is.durationOrNever("How long a job's directory stays after its terminal report."), "7d"),
    min_free_disk: v.optional(is.size("With less than this free below tmp_dir nothing new is claimed."), "10G"),
    lost_after_seconds: v.optional(
      is.duration(0, "How long Slurm must not know a job, in healthy answers alone, before it is given up."),
      3600,
    ),
    receipt_wait_seconds: v.optional(
      is.duration(
        0,
        "How long a run that Slurm calls ended is waited for to show its receipt and seal (network file systems).",
      ),
      60,
    ),
    seal_wait_seconds: v.optional(
      is.duration(
        1000,
        "How long a run whose workload has ended may take to list and hash its outputs on the compute node, and Slurm to close it, before its receipt decides. At least a second; seal_outputs: false turns the hashing off.",
      ),
      3600,
    ),
    cancelled_wait_seconds: v.optional(
      is.duration(0, "How long Slurm must not know a run that was cancelled, before it is taken for ended."),
      60,
    ),
    state_lease_seconds: v.optional(
      is.duration(1000, "How long another host's hold on state_dir may give no sign before it is taken over."),
      180,
    ),
    never_runnable_patience: v.optional(
      is.durationOrNever("How long a job stays in Slurm's queue for a reason that can never clear; then it fails."),
      "never",
    ),
    stderr_lines_in_reports: v.optional(
      is.count(0, "Last lines of stderr in reports to EMX2; 0: none, where they could hold patient data."),
      20,
    ),
    max_log_size: v.optional(
      is.size(
        "A run's own log that is larger is uploaded as its first and last part, half of this each; posix ones stay whole.",
      ),
      "64M",
    ),
  };
}

function slurmKeys(places: Places) {
  return {
    default_partition: v.optional(is.text("--partition of profiles without their own; left out: Slurm's default.")),
    default_account: v.optional(is.text("--account of profiles without their own; left out: Slurm's default.")),
    bin_dir: v.optional(is.path(places, "Directory of sbatch, squeue, sacct and scancel; left out: PATH.")),
    max_submissions_per_minute: v.optional(is.count(1, "Bound on calls of sbatch."), 60),
    submit_timeout_seconds: v.optional(is.duration(1000, "How long one sbatch may take."), 60),
    query_timeout_seconds: v.optional(is.duration(1000, "How long one squeue, sacct or scancel may take."), 60),
    message_timeout_seconds: v.optional(
      is.duration(0, "MessageTimeout of slurm.conf, with room: what sbatch has sent may take effect so long after."),
      30,
    ),
    accounting_lag_seconds: v.optional(is.duration(0, "How long sacct may show a new job without its name."), 90),
    kill_wait_seconds: v.optional(
      is.duration(0, "KillWait of slurm.conf, with room: from a run's time limit to its end."),
      300,
    ),
  };
}

const entrypoint = "A program on this host instead of an image; it is as trusted as the daemon.";
const sbatchArgs = "Further options for sbatch, one an entry; not those that the daemon sets itself.";
const submissionTimeout = "How long a job may wait for a submission that Slurm keeps refusing; never: no bound.";
const residence = ["managed", "posix"] as const;

function profileKeys(places: Places) {
  return {
    processor: v.optional(is.text("EMX2's processor, where the key does not say it.")),
    profile: v.optional(is.text("EMX2's profile, where the key does not say it.")),
    sif_image: v.optional(is.pathOrBlank(places, "Apptainer image (SIF), as compute nodes see it.")),
    sif_sha256: v.optional(
      is.textLike(
        /^[0-9a-fA-F]{64}$/,
        "a SHA-256: 64 hex digits",
        "What the image's SHA-256 has to be, looked at before each submission; a directory has none.",
      ),
    ),
    container_entrypoint: v.optional(is.blankable("Program inside the image; left out: the image's runscript.")),
    host_entrypoint: v.optional(is.programOrBlank(places, entrypoint)),
    entrypoint: v.optional(is.programOrBlank(places, `The same as host_entrypoint. ${entrypoint}`)),
    partition: v.optional(is.text("--partition; default: slurm.default_partition.")),
    account: v.optional(is.text("--account; default: slurm.default_account.")),
    qos: v.optional(is.text("--qos; left out: Slurm's default.")),
    cpus: v.optional(is.count(1, "--cpus-per-task, with one node and one task unless sbatch_args say otherwise.")),
    memory: v.optional(
      is.textOrNumberLike(
        slurmMemoryPattern,
        0,
        "a size as --mem takes it: megabytes, or such as 64G",
        "--mem of a node.",
      ),
    ),
    time: v.optional(
      is.textOrNumberLike(
        slurmTimePattern,
        0,
        "a time as --time takes it: minutes, HH:MM:SS or D-HH:MM:SS",
        "--time, Slurm's time limit.",
      ),
    ),
    warn_before_limit: v.optional(
      is.duration(
        1_000,
        "SIGUSR2 to the workload so long before Slurm's time limit, or up to a minute earlier; it ends what does not handle it.",
      ),
    ),
    gpus: v.optional(
      is.textOrNumberLike(
        slurmGpusPattern,
        1,
        "a number of GPUs, or such as a100:2",
        "--gpus; turns on gpu_runtime nv.",
      ),
    ),
    gres: v.optional(
      is.textLike(slurmGresPattern, "a list such as gpu:a100:1", "--gres; turns on gpu_runtime nv where it names gpu."),
    ),
    gpu_runtime: v.optional(
      is.choice(["nv", "rocm", "none"], "GPU support in the container; default: nv with GPUs, else none."),
    ),
    sbatch_args: v.optional(is.checkedTexts(sbatchArgs, sbatchArgFault)),
    extra_args: v.optional(is.checkedTexts(`The same as sbatch_args. ${sbatchArgs}`, sbatchArgFault)),
    prelude: v.optional(preludeLines("Shell lines that run first in the batch script, such as module load."), []),
    apptainer_args: v.optional(
      is.checkedTexts(
        "Further options for apptainer exec and run, one an entry; not those that the daemon itself sets.",
        apptainerArgFault,
      ),
    ),
    isolation: v.optional(
      is.choice(
        ["contained", "host"],
        "contained: a home and /tmp of the job's own; host: Apptainer's usual mounts. Default: contained.",
      ),
    ),
    output_residence: v.optional(is.choice(residence, "managed: outputs are uploaded; posix: they stay."), "managed"),
    log_residence: v.optional(is.choice(residence, "managed: logs are uploaded; posix: they stay."), "managed"),
    posix_output_dir: v.optional(
      is.path(
        places,
        "Where posix outputs and logs live, in a directory a job; compute nodes must see it. Default: the job directory.",
      ),
    ),
    seal_outputs: v.optional(
      is.flag("Outputs are listed and hashed on the compute node at the job's end, so that this host reads each once."),
      true,
    ),
    submission_timeout_seconds: v.optional(is.durationOrNever(submissionTimeout)),
    claim_timeout_seconds: v.optional(
      is.durationOrNever(`The same as submission_timeout_seconds. ${submissionTimeout}`),
    ),
    execution_timeout_seconds: v.optional(
      is.durationOrNever("How long a workload may run before it is ended; never: Slurm's time limit alone."),
      "never",
    ),
    requeue: v.optional(is.flag("--requeue: Slurm may run a job again after a node failed. Else --no-requeue."), false),
    allow_command: v.optional(
      is.flag("Lets jobs bring parameters.command, in a contained image without container_entrypoint."),
      false,
    ),
    allowed_submitters: v.optional(
      is.texts("EMX2 users whose jobs are taken, * for any run of characters; left out: everybody's."),
      ["*"],
    ),
    max_concurrent_jobs: v.optional(
      is.count(1, "Jobs of this profile at the same time; left out: the worker's limit."),
    ),
    allowed_environment: v.optional(
      is.checkedTexts(
        "Variables that a job may set, * for any run of characters. Default: any in a contained image, else none.",
        (pattern) =>
          /^[A-Za-z_*][\w*]*$/.test(pattern) ? undefined : "must be the name of a variable, or a pattern with *",
      ),
    ),
  };
}

function preludeLines(description: string) {
  const visible = (line: string) => !unprintable.test(line.replace(/[\n\t]/g, ""));
  const line = v.pipe(v.string("must be a text"), v.check(visible, "must not hold control characters"));
  return v.pipe(v.array(line, "must be a list of shell lines"), v.description(description));
}

function apptainerKeys(places: Places) {
  return {
    command: v.optional(is.program(places, "apptainer or singularity, by name or path."), "apptainer"),
    bind_paths: v.optional(
      is.checkedTexts("SOURCE:DESTINATION for every container; read-only unless it ends in :rw.", bindFault),
      [],
    ),
    tmp_dir: is.path(places, "Where job directories are made; compute nodes must see it under the same name."),
    image_tmp_dir: v.optional(is.path(places, "APPTAINER_TMPDIR on the compute node; left out: Apptainer's own.")),
    cache_dir: v.optional(is.path(places, "APPTAINER_CACHEDIR on the compute node; left out: Apptainer's own.")),
    posix_roots: v.optional(is.paths(places, "Where posix inputs may lie, beside the sources of bind_paths."), []),
  };
}
