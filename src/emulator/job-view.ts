/** A job as the server shows it: artifacts named by it are looked up at that moment, and the links follow its status. */
import type { JobStatus } from "../job/status.ts";
import { RawJson } from "./answer.ts";
import { freshDateTime, storedDateTime } from "./date-times.ts";
import type { EmulatorState, StoredJob, Transition } from "./state.ts";

/** Date-times that the answering request has just set, which are spelt otherwise. */
export type FreshTimes = ReadonlySet<"submittedAt" | "startedAt" | "completedAt">;
const noneFresh: FreshTimes = new Set();

export function jobView(state: EmulatorState, job: StoredJob, fresh: FreshTimes = noneFresh): Record<string, unknown> {
  const spelling = (time: "submittedAt" | "startedAt" | "completedAt") =>
    (fresh.has(time) ? freshDateTime : storedDateTime)(job[time]);
  return {
    id: job.id,
    processor: job.processor,
    profile: job.profile,
    status: job.status,
    worker_id: job.workerId,
    slurm_job_id: job.slurmJobId,
    submit_user: job.submitUser,
    parameters: job.parametersText === null ? undefined : new RawJson(job.parametersText),
    inputs: enrichedInputs(state, job.inputs),
    output_artifact: artifactFacts(state, job.outputArtifactId),
    output_artifact_id: job.outputArtifactId,
    log_artifact: artifactFacts(state, job.logArtifactId),
    log_artifact_id: job.logArtifactId,
    timeout_seconds: job.timeoutSeconds,
    created_at: storedDateTime(job.createdAt),
    claimed_at: storedDateTime(job.claimedAt),
    submitted_at: spelling("submittedAt"),
    started_at: spelling("startedAt"),
    completed_at: spelling("completedAt"),
    ...(state.settings.generation.keepsProgress ? progressOf(job) : {}),
    _links: jobLinks(job),
  };
}

function progressOf({ phase, message, progress }: Pick<StoredJob, "phase" | "message" | "progress">) {
  return { phase, message, progress };
}

export function transitionView(
  { settings }: EmulatorState,
  jobId: string,
  transition: Transition,
): Record<string, unknown> {
  const { id, from, to, at, workerId, detail } = transition;
  return {
    id,
    job_id: jobId,
    from_status: from,
    to_status: to,
    timestamp: storedDateTime(at),
    worker_id: workerId,
    detail,
    ...(settings.generation.keepsProgress ? progressOf(transition) : {}),
  };
}

/** Besides `self` and `transitions`, which every job has. */
const linksByStatus: Readonly<Record<JobStatus, readonly string[]>> = {
  PENDING: ["claim", "cancel"],
  CLAIMED: ["submit", "cancel"],
  SUBMITTED: ["start", "cancel"],
  STARTED: ["complete", "fail", "cancel"],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
};

export function jobLinks({ id, status }: StoredJob): Record<string, { href: string; method: string }> {
  const self = `/api/hpc/jobs/${id}`;
  const moves = linksByStatus[status].map((rel) => {
    const call = rel === "claim" || rel === "cancel" ? rel : "transition";
    return [rel, { href: `${self}/${call}`, method: "POST" }] as const;
  });
  return {
    self: { href: self, method: "GET" },
    ...Object.fromEntries(moves),
    transitions: { href: `${self}/transitions`, method: "GET" },
  };
}

/** Entries of a list gain what is known of their artifact; any other form comes back as it was sent. */
function enrichedInputs(state: EmulatorState, inputs: unknown): unknown {
  if (!Array.isArray(inputs)) return inputs ?? undefined;
  return inputs.map((entry: unknown) => {
    if (typeof entry === "string") return artifactFacts(state, entry) ?? entry;
    if (typeof entry !== "object" || entry === null || !("artifact_id" in entry)) return entry;
    if (!state.settings.generation.enrichesObjects) return entry;
    const facts = artifactFacts(state, String(entry.artifact_id));
    return { ...entry, ...facts, ...entry };
  });
}

function artifactFacts(state: EmulatorState, id: string | null): Record<string, unknown> | undefined {
  const artifact = id === null ? undefined : state.artifacts.get(id);
  if (artifact === undefined) return undefined;
  return { id: artifact.id, name: artifact.name, type: artifact.type, status: artifact.status };
}
