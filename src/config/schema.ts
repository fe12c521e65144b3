/**
 * What a configuration file may hold: the type, the checks and the documentation of each key in one. Durations and sizes
 * stay as they were written (`resolve.ts` turns them into numbers), so that they can be shown that way too. What one key
 * means for another is in `rules.ts`; YAML's own keys are the one place for snake case here.
 */
import * as v from "valibot";
import type { Places } from "./places.ts";
import { baseUrlFault, bindFault } from "./places.ts";
import { profileKeys } from "./profile-schema.ts";
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
      is.durationOrNever(
        "How long jobs wait for a held profile (Slurm refuses it, or its image can not be started) before they fail.",
      ),
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
