/**
 * What is sent to EMX2, in its JSON and snake_case; `wire.ts` is the other direction. Writing is strict: text where text is
 * due, nothing that is null, nothing beyond the server's bounds.
 */
import { type Progress, progressBounds, type Report } from "../job/job.ts";
import type { ArtifactMetadata, Capability, NewArtifact, PosixFile } from "./client.ts";
import { mediaType } from "./media-type.ts";
import { unsent } from "./url-path.ts";

/** The server's limits, in characters. */
const maxDetailChars = 65_536;
const maxTextChars = 1_024;

export function writeWorker(workerId: string, hostname: string, capabilities: readonly Capability[]): string {
  return write({
    worker_id: workerId,
    hostname,
    capabilities: capabilities.map(({ processor, profile, maxConcurrentJobs }) => ({
      processor,
      profile,
      max_concurrent_jobs: maxConcurrentJobs,
    })),
  });
}

export function writeClaim(workerId: string): string {
  return write({ worker_id: workerId });
}

export function writeReport(workerId: string, report: Report): string {
  return write({
    status: report.status,
    worker_id: workerId,
    detail: report.detail === undefined ? undefined : storable(report.detail, maxDetailChars),
    slurm_job_id: report.slurmJobId,
    output_artifact_id: report.outputArtifactId,
    log_artifact_id: report.logArtifactId,
    ...(report.progress && writeProgress(report.progress)),
  });
}

/** What the workload wrote of itself, brought within EMX2's bounds. */
function writeProgress({ phase, message, fraction }: Progress): object {
  return {
    phase: phase === undefined ? undefined : storable(phase, progressBounds.phaseChars),
    message: message === undefined ? undefined : storable(message, progressBounds.messageChars),
    progress: fraction === undefined || Number.isNaN(fraction) ? undefined : Math.min(1, Math.max(0, fraction)),
  };
}

export function writeArtifact(workerId: string, artifact: NewArtifact): string {
  const { type, residence, name, metadata, contentUrl } = artifact;
  // Cut, it would name something else.
  if (contentUrl !== undefined && contentUrl.length > maxTextChars) {
    throw unsent(`a content_url of ${contentUrl.length} characters; EMX2 takes at most ${maxTextChars}`);
  }
  return write({
    type,
    residence,
    name: storable(name, maxTextChars),
    content_url: contentUrl,
    metadata: writeMetadata(workerId, metadata),
  });
}

function writeMetadata(workerId: string, metadata: ArtifactMetadata): object {
  return {
    job_id: metadata.jobId,
    processor: metadata.processor,
    profile: metadata.profile,
    worker_id: workerId,
    artifact_role: metadata.role,
    created_by: metadata.createdBy,
    input_artifact_ids: metadata.inputArtifactIds,
    parameters_hash: metadata.parametersHash,
    simulated: metadata.simulated,
    slurm_job_id: metadata.slurmJobId,
    node: metadata.node,
    elapsed_seconds: metadata.elapsedSeconds,
    image_sha256: metadata.imageSha256,
    image_changed: metadata.imageChanged,
    cpu_seconds: metadata.used?.cpuSeconds,
    allocated_cpu_seconds: metadata.used?.allocatedCpuSeconds,
    max_rss_bytes: metadata.used?.maxRssBytes,
    allocated_memory_bytes: metadata.used?.memoryBytes,
    nodes: metadata.used?.nodes,
    gpus: metadata.used?.gpus,
    energy_joules: metadata.used?.energyJoules,
    escaped_names: metadata.escapedNames,
  };
}

export function writeCommit(content: { readonly sha256: string; readonly bytes: number }): string {
  return write({ sha256: content.sha256.toLowerCase(), size_bytes: content.bytes });
}

/** What names a file of a posix artifact. The same file gives the same text: on 2026-02 its hash is what is committed. */
export function factsText(file: PosixFile): string {
  return write({ sha256: file.sha256.toLowerCase(), size_bytes: file.bytes, content_type: mediaType(file.path) });
}

/** Undefined members are left out. */
function write(body: object): string {
  return JSON.stringify(body);
}

/** PostgreSQL stores no NUL and no half of a surrogate pair, and EMX2 answers 500 to either, for ever. */
function storable(text: string, maxChars: number): string {
  // A cut through a pair takes its first half off as well.
  const start = text.slice(0, maxChars).replace(text.length > maxChars ? /[\ud800-\udbff]$/ : /$/, "");
  return start.replaceAll("\0", "\ufffd").toWellFormed();
}
