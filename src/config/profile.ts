/** One block of `profiles` as the profile that the program works with, Slurm's defaults merged in. */
import type { HostWorkload, ImageWorkload, Profile } from "../job/profile.ts";
import { pairOf } from "./profile-key.ts";
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
      maxConcurrentJobs: settings.max_concurrent_jobs,
      unsupported: unsupportedIn(settings, workload),
    }),
    sbatchArgs,
    prelude: settings.prelude,
    outputResidence: settings.output_residence,
    logResidence: settings.log_residence,
    allowedEnvironment: settings.allowed_environment ?? defaultEnvironment(workload),
  };
}

/** Why this version can not run such jobs. */
function unsupportedIn(settings: ProfileSettings, workload: Profile["workload"]): string | undefined {
  if (workload.kind === "image") return "runs in an image, which this version does not run yet";
  if (settings.output_residence === "posix") return "leaves outputs in place (posix), which this version cannot do yet";
  if (settings.log_residence === "posix") return "leaves logs in place (posix), which this version cannot do yet";
  return undefined;
}

function workloadOf(settings: ProfileSettings): HostWorkload | ImageWorkload {
  const { sif_image: image, container_entrypoint: entrypoint } = settings;
  if (!image) return { kind: "host", entrypoint: settings.host_entrypoint || settings.entrypoint || "" };
  return {
    kind: "image",
    image,
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
