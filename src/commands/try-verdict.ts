/** What a trial has proved, and what not: a line for each thing that a profile needs, as `check` has them. */
import { hostname } from "node:os";
import { type CheckItem, failed, listed, ok, warning } from "../daemon/checks/item.ts";
import { isLocal, type Mount } from "../daemon/checks/mounts.ts";
import type { StoredJob } from "../emulator/state.ts";
import { diagnose } from "../job/diagnosis.ts";
import type { Job } from "../job/job.ts";
import type { Profile } from "../job/profile.ts";
import { runName } from "../job/run.ts";
import type { Shown } from "../job/trial.ts";
import { gigabytes, time, type Usage } from "../job/usage.ts";
import { counted, size } from "../view/when.ts";
import type { Received } from "./try-received.ts";

export interface Trial {
  readonly profile: Profile;
  /** As the embedded EMX2 has it. */
  readonly stored: StoredJob;
  /** As the daemon saw it last; absent: it was never claimed. */
  readonly job: Job | undefined;
  readonly shown: Shown;
  readonly received: Received;
  /** Of `tmp_dir`, here. */
  readonly mount?: Mount | undefined;
  /** Size in bytes and time of change in seconds since 1970 of the image as it is here. */
  readonly image?: { readonly bytes: number; readonly mtimeS: number };
}

/** Of what a limit may be used before it is called close. */
const closeShare = 0.9;
const slowFilesMs = 5_000;
const slowImageMs = 30_000;
const clockAheadMs = 2_000;

export function verdictsOf(trial: Trial): CheckItem[] {
  return [
    jobVerdict(trial),
    ...[
      outputs,
      prelude,
      memory,
      runTime,
      sharing,
      visibility,
      clocks,
      imageOnNode,
      inside,
      architecture,
      start,
      userNamespaces,
      fuse,
      gpus,
      cpus,
    ]
      .map((look) => look(trial))
      .filter((item) => item !== undefined),
  ];
}

/** It COMPLETED, all of its outputs came back, and nothing else that was looked at has failed. */
export function isProved(verdicts: readonly CheckItem[]): boolean {
  return verdicts.every(({ result }) => result !== "failed");
}

function jobVerdict({ job }: Trial): CheckItem {
  const item = "job";
  if (!job) return failed(item, "it was never taken", "look at what was logged: the daemon says why it takes no jobs");
  if (!job.closed)
    return failed(item, "it was still going on when it was no longer waited for", `scancel --name=${runName(job.id)}`);
  const { status, why } = job.closed;
  if (status === "COMPLETED") return ok(item, "COMPLETED");
  // A daemon would wait for somebody to mend it.
  const refusal = job.stop?.by === "held" ? job.waits.run?.cause : undefined;
  if (refusal !== undefined) return failed(item, `not submitted: ${refusal}`, "correct the profile, or what it names");
  if (job.run.stage !== "ended") return { item, result: "failed", detail: `${status}: ${why}` };
  const untaken = job.outputs.stage === "failed" ? `its outputs were not taken: ${job.outputs.detail}` : undefined;
  const { cause, who, hint } = diagnose(job, job.run.outcome);
  const act = hint === undefined && who !== undefined ? `; who can act: ${who}` : "";
  return { item, result: "failed", detail: `${status}: ${cause ?? untaken ?? why}${act}`, ...(hint && { fix: hint }) };
}

function outputs({ job, received }: Trial): CheckItem | undefined {
  const { files, fault } = received;
  const item = "outputs";
  if (fault !== undefined) return failed(item, fault, "see what the log of the job says");
  if (job?.closed?.status !== "COMPLETED") return undefined;
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (files.length === 0) return ok(item, "the program wrote none");
  return ok(item, `${counted(files.length, "file")}, ${size(bytes)}, each with the hash that was announced`);
}

/** Its lines go on after one that fails. */
function prelude({ profile, shown }: Trial): CheckItem | undefined {
  if (profile.prelude.length === 0 || shown.prelude === undefined) return undefined;
  const lines = shown.prelude.split("\n").filter((line) => line.trim() !== "");
  if (lines.length === 0) return ok("prelude", "wrote nothing");
  return warning(
    "prelude",
    `wrote: ${lines.slice(-2).join(" / ")}`,
    "see whether all of it worked: nothing stops at a line that fails, unless the prelude says set -e",
  );
}

function usedOf({ job }: Trial): Usage | undefined {
  return job?.run.stage === "ended" ? job.run.outcome.used : undefined;
}

function memory(trial: Trial): CheckItem | undefined {
  const { run } = trial.job ?? {};
  // Of a job that died of it the job's own verdict tells.
  const isOver = run?.stage === "ended" && run.outcome.state === "OUT_OF_MEMORY";
  if (!hasRun(trial) || isOver) return undefined;
  const { memoryBytes, maxRssBytes } = usedOf(trial) ?? {};
  if (maxRssBytes === undefined)
    return warning(
      "memory",
      "what it used was not recorded",
      "let it run longer than Slurm looks apart (JobAcctGatherFrequency, often 30 s), or have accounting record it",
    );
  if (memoryBytes === undefined) return ok("memory", `peaked at ${gigabytes(maxRssBytes)}`);
  const detail = `asked ${gigabytes(memoryBytes)}, peaked at ${gigabytes(maxRssBytes)}`;
  if (maxRssBytes < memoryBytes * closeShare) return ok("memory", detail);
  if (maxRssBytes > memoryBytes) {
    const over = `${detail}: more than it asked, and nothing has held it to that`;
    return warning("memory", over, "raise memory in the profile: where limits are enforced, such a job is killed");
  }
  return warning("memory", `${detail}: that is close`, "raise memory in the profile");
}

function runTime(trial: Trial): CheckItem | undefined {
  if (!hasRun(trial)) return undefined;
  const { timeLimitSeconds, elapsedSeconds } = usedOf(trial) ?? {};
  if (elapsedSeconds === undefined || timeLimitSeconds === undefined) return undefined;
  const detail = `asked ${time(timeLimitSeconds)}, ran ${time(elapsedSeconds)}`;
  if (elapsedSeconds < timeLimitSeconds * closeShare) return ok("time", detail);
  return warning("time", `${detail}: that is close`, "raise time in the profile");
}

/** Receipts or Slurm have shown it on a node. */
function hasRun({ job, shown }: Trial): boolean {
  return shown.node !== undefined || (job?.run.stage === "ended" && job.run.outcome.node !== undefined);
}

function sharing({ shown: { node, files }, mount }: Trial): CheckItem | undefined {
  const item = "tmp_dir";
  if (node === undefined) return undefined;
  const [name = ""] = (node.name ?? "").split(".");
  if (name !== "" && name !== hostname().split(".")[0] && files)
    return ok(item, `shared: what ${name} writes is seen here, and the other way round`);
  if (mount === undefined) return undefined;
  if (!isLocal(mount)) return ok(item, `on ${mount.kind}, which other hosts can see; the job ran on this very host`);
  const detail = `on ${mount.kind}, a disk of this host, where the job has run; other nodes see it only if it is exported`;
  return warning(item, detail, "unless this is the only node, put tmp_dir on storage that all nodes share");
}

function visibility({ shown: { node, files } }: Trial): CheckItem | undefined {
  const item = "files between node and here";
  if (node === undefined) return undefined;
  if (files === undefined)
    return warning(
      item,
      "the node did not see within a minute what was written here",
      "look at the mount's attribute caching (acdirmax)",
    );
  const seconds = `there and back in ${(files.roundTripMs / 1_000).toFixed(1)} s`;
  if (files.roundTripMs < slowFilesMs) return ok(item, seconds);
  return warning(
    item,
    seconds,
    "results are noticed later than they need to be: look at the mount's attribute caching",
  );
}

function clocks({ shown: { files } }: Trial): CheckItem | undefined {
  const item = "clock of the node";
  if (files === undefined) return undefined;
  const { clockAheadMs: ahead, roundTripMs } = files;
  const seconds = (ms: number) => (Math.abs(ms) / 1_000).toFixed(1);
  const detail = `${seconds(ahead)} s ${ahead < 0 ? "behind" : "ahead of"} this host's, give or take ${seconds(roundTripMs / 2)} s`;
  if (Math.abs(ahead) < clockAheadMs + roundTripMs / 2) return ok(item, detail);
  return warning(item, detail, "have both follow the same time server: times in reports are the node's");
}

function imageOnNode({ profile, job, shown: { node }, image }: Trial): CheckItem | undefined {
  if (profile.workload.kind !== "image" || node === undefined) return undefined;
  const item = "image on the node";
  const path = profile.workload.image;
  if (job?.run.stage === "ended" && job.run.outcome.imageChanged)
    return failed(
      item,
      `${path} is not there as it was looked at here before: it was replaced, or the node has another file`,
      "let nobody write to images that are in use, and put them on storage that the nodes share",
    );
  if (node.imageReadable === false)
    return failed(
      item,
      `${path} can not be read there`,
      "put it on storage that the nodes share, readable for this user",
    );
  if (node.imageBytes === undefined || image === undefined) return undefined;
  const isSame = node.imageBytes === image.bytes && node.imageMtimeS === image.mtimeS;
  // The batch script has compared it, or it would not have come so far.
  if (!isSame && profile.workload.sha256 !== undefined)
    return ok(item, `${path} is another file there, and has the sha256 of the profile`);
  if (!isSame) return failed(item, `${path} is another file there than here`, "put it on storage that the nodes share");
  return ok(item, `${path} is there as it is here`);
}

/** An image without a shell shows nothing, but then it was not started for a look either. */
function inside({ job, shown: { node, image } }: Trial): CheckItem | undefined {
  if (node?.startExit !== 0 || image !== undefined || job?.closed?.status !== "COMPLETED") return undefined;
  const detail = `nothing was seen from inside the image, though ${node.starter ?? "its program"} says that it ran`;
  return failed("image", detail, "see whether apptainer.command, or what the prelude loads, starts a container at all");
}

const machineNames: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64", ppc64: "ppc64le" };

function architecture({ shown: { node } }: Trial): CheckItem | undefined {
  const here = machineNames[process.arch] ?? process.arch;
  if (node?.architecture === undefined || node.architecture === here) return undefined;
  return warning("processor", `the node is ${node.architecture}, this host ${here}`, "build images for the node's");
}

function start({ shown: { node } }: Trial): CheckItem | undefined {
  // How long it took to fail is no start-up time; the job's own verdict tells why.
  if (node?.startMs === undefined || node.startExit !== 0) return undefined;
  const item = "image start-up";
  const detail = `${(node.startMs / 1_000).toFixed(1)} s with ${node.starter ?? "an unknown version"}`;
  if (node.startMs < slowImageMs) return ok(item, detail);
  return warning(item, detail, "is it unpacked for each job? See user namespaces and FUSE, or its storage");
}

function userNamespaces({ shown: { node } }: Trial): CheckItem | undefined {
  if (node?.userNamespaces === undefined) return undefined;
  const item = "user namespaces";
  if (node.userNamespaces) return ok(item, "the node lets ordinary users make them");
  if (node.startExit === 0) return ok(item, "none on the node, and Apptainer started without");
  return failed(
    item,
    "the node refuses them to ordinary users",
    "have them allowed there, or Apptainer's setuid starter installed",
  );
}

function fuse({ shown: { node } }: Trial): CheckItem | undefined {
  if (node?.fuse === undefined) return undefined;
  if (node.fuse) return ok("FUSE", "/dev/fuse can be used on the node");
  return warning(
    "FUSE",
    "/dev/fuse can not be used on the node",
    "without it, and without the setuid starter, an image is unpacked for each job",
  );
}

function gpus({ profile, shown: { node, image } }: Trial): CheckItem | undefined {
  const asked = profile.gpus ?? profile.gres;
  const look = image ?? node;
  if (asked === undefined || look === undefined) return undefined;
  if (look.gpus.length > 0) return ok("GPU", listed(look.gpus));
  return failed(
    "GPU",
    `asked ${asked}, Slurm gave ${node?.slurmGpus ?? "none"}, and the job saw none`,
    "look at partition, gres and gpu_runtime",
  );
}

function cpus({ profile, shown: { node } }: Trial): CheckItem | undefined {
  if (profile.cpus === undefined || node?.cpus === undefined) return undefined;
  const detail = `asked ${profile.cpus}, may use ${node.cpus}`;
  if (node.cpus >= profile.cpus) return ok("CPUs", detail);
  return warning("CPUs", detail, "look at cpus and at what sbatch_args say of tasks");
}
