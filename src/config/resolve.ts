/**
 * From checked settings to the configuration that the program works with: the names of both generations become one,
 * defaults that hang on other keys are filled in, durations and sizes become numbers.
 */
import { dirname } from "node:path";
import type { Config, Emx2Settings, SlurmSettings, WorkerSettings } from "./config.ts";
import { type Advice, exposures } from "./exposed.ts";
import { absolutePath, bindOf, isPlainHttpElsewhere, type Places } from "./places.ts";
import { profileOf } from "./profile.ts";
import { durationMs, durationOrNeverMs, sizeBytes } from "./quantities.ts";
import type { Settings } from "./schema.ts";
import { Secret, type SecretSource } from "./secret.ts";

interface Surroundings extends Places {
  /** Absolute path of the configuration file. */
  readonly file: string;
  /** $XDG_STATE_HOME, where it is set. */
  readonly stateHome?: string;
}

export function resolveConfig(settings: Settings, around: Surroundings): Omit<Config, "warnings"> {
  const { emx2, worker, slurm, profiles, apptainer } = settings;
  return {
    file: around.file,
    emx2: emx2Settings(emx2),
    worker: workerSettings(worker, around),
    slurm: slurmSettings(slurm),
    profiles: Object.entries(profiles).map(([key, profile]) => profileOf(key, profile, slurm)),
    apptainer: {
      command: apptainer.command,
      binds: apptainer.bind_paths.map((bind) => bindOf(bind, around)),
      ...(apptainer.image_tmp_dir !== undefined && { imageTmpDir: apptainer.image_tmp_dir }),
      ...(apptainer.cache_dir !== undefined && { cacheDir: apptainer.cache_dir }),
      tmpDir: apptainer.tmp_dir,
      posixRoots: apptainer.posix_roots,
    },
  };
}

/** What is accepted and better put right: key and message. */
export function adviceOn(settings: Settings, around: Surroundings): Advice[] {
  const { emx2, profiles } = settings;
  const advice: Advice[] = [];
  for (const key of ["worker_secret", "shared_secret"] as const) {
    if (emx2[key] === undefined) continue;
    const message = "the secret stands in the configuration itself";
    advice.push({ path: ["emx2", key], message, hint: `put it in a file of its own and name that in ${key}_file` });
  }
  if (isPlainHttpElsewhere(emx2.base_url)) {
    const message = "everything goes over the network unencrypted";
    advice.push({ path: ["emx2", "allow_insecure_http"], message, hint: "use https" });
  }
  if (Object.keys(profiles).length === 0) {
    advice.push({ path: ["profiles"], message: "no profile is configured", hint: "without one no job is claimed" });
  }
  advice.push(...exposures(settings, stateDir(settings.worker, around), around));
  for (const [key, profile] of Object.entries(profiles)) {
    if (profile.allow_command && profile.container_entrypoint) {
      const message = "has no effect beside container_entrypoint: that is what runs";
      advice.push({ path: ["profiles", key, "allow_command"], message, hint: "keep one of the two" });
    }
    const isUsed = [profile.output_residence, profile.log_residence].includes("posix");
    if (profile.posix_output_dir === undefined || isUsed) continue;
    const hint = "set output_residence or log_residence to posix, or leave it out";
    advice.push({ path: ["profiles", key, "posix_output_dir"], message: "is not used: nothing stays in place", hint });
  }
  return advice;
}

function emx2Settings(emx2: Settings["emx2"]): Emx2Settings {
  return {
    baseUrl: new URL(emx2.base_url).href.replace(/\/+$/, ""),
    workerId: emx2.worker_id,
    authMode: emx2.auth_mode,
    secret: secretSource(emx2),
    ...(emx2.ca_file !== undefined && { caFile: emx2.ca_file }),
    unknownJobsWaitMs: durationOrNeverMs(emx2.unknown_jobs_wait),
  };
}

function secretSource(emx2: Settings["emx2"]): SecretSource {
  const inline = emx2.worker_secret ?? emx2.shared_secret;
  if (inline !== undefined) return { kind: "inline", secret: new Secret(inline) };
  const path = emx2.worker_secret_file ?? emx2.shared_secret_file;
  if (path === undefined) throw new TypeError("settings without a secret passed the rules");
  return { kind: "file", path };
}

function workerSettings(worker: Settings["worker"], around: Surroundings): WorkerSettings {
  return {
    pollIntervalMs: durationMs(worker.poll_interval_seconds),
    maxConcurrentJobs: worker.max_concurrent_jobs,
    heartbeatIntervalMs: durationMs(worker.heartbeat_interval_seconds),
    maxConcurrentTransfers: worker.max_concurrent_transfers,
    stateDir: stateDir(worker, around),
    stateLeaseMs: durationMs(worker.state_lease_seconds),
    queueReportIntervalMs: durationMs(worker.queue_report_interval_seconds),
    heldJobsWaitMs: durationOrNeverMs(worker.held_jobs_wait),
    uploadRetryMs: durationOrNeverMs(worker.upload_retry),
    keepJobDirsMs: durationOrNeverMs(worker.keep_job_dirs),
    minFreeDiskBytes: sizeBytes(worker.min_free_disk),
    waits: {
      receiptMs: durationMs(worker.receipt_wait_seconds),
      sealMs: durationMs(worker.seal_wait_seconds),
      cancelledMs: durationMs(worker.cancelled_wait_seconds),
      lostAfterMs: durationMs(worker.lost_after_seconds),
    },
    neverRunnablePatienceMs: durationOrNeverMs(worker.never_runnable_patience),
    stderrLinesInReports: worker.stderr_lines_in_reports,
    maxLogBytes: sizeBytes(worker.max_log_size),
  };
}

export function stateDir(worker: Settings["worker"], around: Surroundings): string {
  if (worker.state_dir !== undefined) return worker.state_dir;
  if (worker.state_db !== undefined) return dirname(worker.state_db);
  const stateHome = around.stateHome ?? absolutePath("~/.local/state", around);
  return absolutePath("emx2-hpc-daemon", { ...around, directory: stateHome });
}

function slurmSettings(slurm: Settings["slurm"]): SlurmSettings {
  return {
    ...(slurm.bin_dir !== undefined && { binDir: slurm.bin_dir }),
    maxSubmissionsPerMinute: slurm.max_submissions_per_minute,
    killWaitMs: durationMs(slurm.kill_wait_seconds),
    limits: {
      submitMs: durationMs(slurm.submit_timeout_seconds),
      queryMs: durationMs(slurm.query_timeout_seconds),
      messageMs: durationMs(slurm.message_timeout_seconds),
      accountingLagMs: durationMs(slurm.accounting_lag_seconds),
    },
  };
}
