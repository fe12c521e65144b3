/** What a block of `profiles` may hold (see `schema.ts`). */
import * as v from "valibot";
import { apptainerArgFault } from "./apptainer-options.ts";
import type { Places } from "./places.ts";
import { unprintable } from "./printable.ts";
import { slurmGpusPattern, slurmGresPattern, slurmMemoryPattern, slurmTimePattern } from "./quantities.ts";
import { sbatchArgFault } from "./sbatch-options.ts";
import * as is from "./values.ts";

const entrypoint = "A program on this host instead of an image; it is as trusted as the daemon.";
const sbatchArgs = "Further options for sbatch, one an entry; not those that the daemon sets itself.";
const submissionTimeout = "How long a job may wait for a submission that Slurm keeps refusing; never: no bound.";
const residence = ["managed", "posix"] as const;

export function profileKeys(places: Places) {
  return {
    processor: v.optional(is.text("EMX2's processor, where the key does not say it.")),
    profile: v.optional(is.text("EMX2's profile, where the key does not say it.")),
    sif_image: v.optional(is.pathOrBlank(places, "Apptainer image (SIF), as compute nodes see it.")),
    sif_sha256: v.optional(
      is.textLike(
        /^[0-9a-fA-F]{64}$/,
        "a SHA-256: 64 hex digits",
        "What the image's SHA-256 has to be, looked at before each submission, and on the node; a directory has none.",
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
    prelude: v.optional(
      preludeLines(
        "Shell lines that run first in the batch script, such as module load. `set -e` has the first that fails end the job.",
      ),
      [],
    ),
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
