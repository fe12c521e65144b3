/** The stored jobs: making one, finding the one that a call is about, and writing down each of its moves. */
import type { Call } from "./exchange.ts";
import { notFound, serverError } from "./refusals.ts";
import type { EmulatorState, StoredJob, Transition } from "./state.ts";

export type NewJob = Pick<
  StoredJob,
  "processor" | "profile" | "submitUser" | "parametersText" | "inputs" | "timeoutSeconds"
>;

export function storeJob(state: EmulatorState, now: number, job: NewJob): StoredJob {
  checkInputs(state, job.inputs);
  const stored: StoredJob = {
    ...job,
    id: state.uuid(),
    createdAt: now,
    transitions: [],
    status: "PENDING",
    workerId: null,
    slurmJobId: null,
    outputArtifactId: null,
    logArtifactId: null,
    claimedAt: null,
    submittedAt: null,
    startedAt: null,
    completedAt: null,
    phase: null,
    message: null,
    progress: null,
  };
  state.jobs.set(stored.id, stored);
  record(state, stored, now, { from: null, workerId: null, detail: "Job created" });
  return stored;
}

export function jobOf({ state, params }: Call): StoredJob {
  const job = state.jobs.get(params.id);
  if (job === undefined) throw notFound(`Job ${params.id} not found`);
  return job;
}

export function markCancelled(state: EmulatorState, job: StoredJob, now: number, by: string): void {
  const from = job.status;
  job.status = "CANCELLED";
  job.completedAt = now;
  record(state, job, now, { from, workerId: null, detail: `Cancelled by ${by}` });
}

/** Adds to a job's audit trail. `to` is the job's present status. */
export function record(
  state: EmulatorState,
  job: StoredJob,
  at: number,
  entry: Pick<Transition, "from" | "workerId" | "detail"> & Partial<Pick<Transition, "phase" | "message" | "progress">>,
): void {
  const { phase = null, message = null, progress = null, ...rest } = entry;
  job.transitions.push({ id: state.uuid(), to: job.status, at, ...rest, phase, message, progress });
}

function checkInputs(state: EmulatorState, inputs: unknown): void {
  if (!Array.isArray(inputs)) return;
  for (const entry of inputs as readonly (string | { artifact_id?: unknown } | null)[]) {
    const id = typeof entry === "string" ? entry : entry?.artifact_id;
    if (typeof id === "string" && !state.artifacts.has(id)) {
      const detail = `Transaction failed: Input artifacts not ready: artifact ${id} not found`;
      throw state.settings.generation.blamesTheBody ? notFound(detail) : serverError(detail);
    }
  }
}
