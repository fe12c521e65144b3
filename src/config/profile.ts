/** One block of `profiles` as the profile that the program works with, Slurm's defaults merged in. */
import type { HostWorkload, ImageWorkload, Profile } from "../job/profile.ts";
import { durationMs, durationOrNeverMs } from "./quantities.ts";
import { keySaying } from "./sbatch-options.ts";
import type { ProfileSettings, Settings } from "./schema.ts";

export function profileOf(key: string, settings: ProfileSettings, slurm: Settings["slurm"]): Profile {
  const { processor, profile } = settings;
  const pair = pairOf(key, {
    ...(processor !== undefined && { processor }),
    ...(profile !== undefined && { profile }),
  });
  if (typeof pair === "string") throw new TypeError(`profile ${key} passed the rules though it ${pair}`);
  const workload = workloadOf(settings);
  const sbatchArgs = settings.sbatch_args ?? settings.extra_args ?? [];
  const fallback = (name: "partition" | "account", value: string | undefined) =>
    sbatchArgs.some((entry) => keySaying(entry, [name])) ? undefined : value;
  return {
    key,
    ...pair,
    workload,
    ...present({
      partition: settings.partition ?? fallback("partition", slurm.default_partition),
      account: settings.account ?? fallback("account", slurm.default_account),
      qos: settings.qos,
      cpus: settings.cpus,
      memory: settings.memory?.toString(),
      time: settings.time?.toString(),
      gpus: settings.gpus,
      gres: settings.gres,
      posixOutputDir: settings.posix_output_dir,
      maxConcurrentJobs: settings.max_concurrent_jobs,
    }),
    ...(settings.warn_before_limit !== undefined && { warnBeforeLimitMs: durationMs(settings.warn_before_limit) }),
    sbatchArgs,
    prelude: settings.prelude,
    submissionTimeoutMs: durationOrNeverMs(
      settings.submission_timeout_seconds ?? settings.claim_timeout_seconds ?? "never",
    ),
    executionTimeoutMs: durationOrNeverMs(settings.execution_timeout_seconds),
    requeue: settings.requeue,
    sealOutputs: settings.seal_outputs,
    allowCommand: settings.allow_command,
    allowedSubmitters: settings.allowed_submitters,
    outputResidence: settings.output_residence,
    logResidence: settings.log_residence,
    allowedEnvironment: settings.allowed_environment ?? defaultEnvironment(workload),
  };
}

interface Pair {
  readonly processor: string;
  readonly profile: string;
}

/**
 * Which (processor, profile) pair of EMX2 a key of `profiles` stands for, or what is wrong with the key. Documentation
 * writes `processor/profile`, where the processor itself may hold colons and slashes; the server's own code writes
 * `processor:profile`.
 */
export function pairOf(
  key: string,
  explicit: { readonly processor?: string; readonly profile?: string },
): Pair | string {
  const { processor, profile } = explicit;
  if (processor !== undefined && profile !== undefined) return { processor, profile };
  if (processor !== undefined || profile !== undefined) return "needs both processor and profile inside, or neither";
  const slash = key.lastIndexOf("/");
  const colons = key.split(":").length - 1;
  if (slash < 0 && colons > 1) return "has several colons: write processor/profile, so that it is clear where to split";
  if (slash < 0 && colons === 0) return "must be processor/profile, or have processor and profile inside";
  const split = slash < 0 ? key.indexOf(":") : slash;
  const pair = { processor: key.slice(0, split), profile: key.slice(split + 1) };
  return pair.processor && pair.profile ? pair : "must have a text on both sides of where it is split";
}

function workloadOf(settings: ProfileSettings): HostWorkload | ImageWorkload {
  const { sif_image: image, container_entrypoint: entrypoint } = settings;
  if (!image) return { kind: "host", entrypoint: settings.host_entrypoint || settings.entrypoint || "" };
  return {
    kind: "image",
    image,
    ...(settings.sif_sha256 !== undefined && { sha256: settings.sif_sha256.toLowerCase() }),
    ...(entrypoint && { entrypoint }),
    isolation: settings.isolation ?? "contained",
    gpuRuntime: settings.gpu_runtime ?? defaultGpuRuntime(settings),
    apptainerArgs: settings.apptainer_args ?? [],
  };
}

function defaultGpuRuntime({ gpus, gres = "" }: ProfileSettings): ImageWorkload["gpuRuntime"] {
  return gpus !== undefined || /(^|,)(gres\/)?gpu\b/.test(gres) ? "nv" : "none";
}

/** What a host program gets to see can take it over; a contained image has nothing to take over. */
function defaultEnvironment(workload: Profile["workload"]): string[] {
  return workload.kind === "image" && workload.isolation === "contained" ? ["*"] : [];
}

type Present<T> = { [Key in keyof T]?: Exclude<T[Key], undefined> };

function present<T extends object>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>;
}
