/**
 * How a job moves: claim, transition, complete. The legal moves are those of `job/status.ts`. A repeat of the present
 * status is never refused: it is a progress report where it says something new, and nothing at all otherwise; ids that it
 * carries are ignored, so that the first ones win.
 */
import { isJobStatus, isTerminal, type JobStatus, jobTransitions } from "../job/status.ts";
import { type Answer, json } from "./answer.ts";
import type { Call } from "./exchange.ts";
import { jobOf, record } from "./job-store.ts";
import { type FreshTimes, jobView } from "./job-view.ts";
import { type JsonBody, readJson } from "./json-body.ts";
import { badRequest, conflict, unforeseen } from "./refusals.ts";
import type { EmulatorState, StoredJob } from "./state.ts";
import { actingWorker } from "./workers.ts";

export async function claim(call: Call): Promise<Answer> {
  const { state, now } = call;
  const workerId = actingWorker(call, await readJson(call));
  if (workerId === null) throw badRequest("worker_id is required");
  const job = jobOf(call);
  if (job.status !== "PENDING") throw conflict(`Job ${job.id} is not in PENDING status (current: ${job.status})`);
  if (state.settings.generation.checksWorkers) checkCapability(state, workerId, job);
  job.status = "CLAIMED";
  job.workerId = workerId;
  job.claimedAt = now;
  record(state, job, now, { from: "PENDING", workerId, detail: `Claimed by worker ${workerId}` });
  return json(200, jobView(state, job));
}

export async function transition(call: Call): Promise<Answer> {
  return move(call, await readReport(call), "transition");
}

export async function complete(call: Call): Promise<Answer> {
  const report = await readReport(call);
  if (!isTerminal(report.status)) {
    const accepted = "terminal statuses (COMPLETED, FAILED, CANCELLED)";
    throw badRequest(`Complete endpoint only accepts ${accepted}, got: ${report.status}`);
  }
  return move(call, report, "complete");
}

interface StatusReport {
  readonly status: JobStatus;
  readonly workerId: string | null;
  readonly detail: string | null;
  readonly slurmJobId: string | null;
  readonly outputArtifactId: string | null;
  readonly logArtifactId: string | null;
  readonly phase: string | null;
  readonly message: string | null;
  readonly progress: number | null;
}

async function readReport(call: Call): Promise<StatusReport> {
  const { keepsProgress } = call.state.settings.generation;
  const body = await readJson(call);
  const status = body.text("status");
  if (status === null) throw badRequest("status is required");
  if (!isJobStatus(status)) throw badRequest(`Invalid status: ${status}`);
  return {
    status,
    workerId: actingWorker(call, body),
    detail: body.text("detail", 65_536),
    slurmJobId: body.text("slurm_job_id"),
    outputArtifactId: body.text("output_artifact_id"),
    logArtifactId: body.text("log_artifact_id"),
    phase: keepsProgress ? body.text("phase", 100) : null,
    message: keepsProgress ? body.text("message", 500) : null,
    progress: keepsProgress ? readProgress(body) : null,
  };
}

function readProgress(body: JsonBody): number | null {
  const progress = body.value("progress");
  if (progress === null) return null;
  if (typeof progress !== "number") throw badRequest("progress must be a number between 0.0 and 1.0");
  if (progress < 0 || progress > 1) throw badRequest("progress must be between 0.0 and 1.0");
  return progress;
}

function move(call: Call, report: StatusReport, verb: "transition" | "complete"): Answer {
  const { state, now } = call;
  const job = jobOf(call);
  const from = job.status;
  const { checksWorkers, keepsProgress } = state.settings.generation;
  const isOwner = !checksWorkers || job.workerId === null || job.workerId === report.workerId;
  const isLegal = from === report.status || jobTransitions[from].includes(report.status);
  if (!isOwner || !isLegal) throw conflict(`Cannot ${verb} job ${job.id} from ${from} to ${report.status}`);
  if (from === report.status) {
    // 2026-02 writes down each repeat that has a detail, whether it is new or not.
    if (keepsProgress ? isNews(job, report) : report.detail !== null) apply(call, job, report, from);
    return json(200, jobView(state, job));
  }
  for (const id of [report.outputArtifactId, report.logArtifactId]) {
    if (id !== null && !state.artifacts.has(id)) throw unforeseen(call.requestId);
  }
  job.status = report.status;
  job.workerId = checksWorkers ? (job.workerId ?? report.workerId) : (report.workerId ?? job.workerId);
  job.slurmJobId ??= report.slurmJobId;
  job.outputArtifactId ??= report.outputArtifactId;
  job.logArtifactId ??= report.logArtifactId;
  const fresh = stamp(job, now);
  apply(call, job, report, from);
  return json(200, jobView(state, job, fresh));
}

function isNews(job: StoredJob, report: StatusReport): boolean {
  const differs = <T>(said: T | null, known: T | null | undefined) => said !== null && said !== known;
  return (
    differs(report.detail, job.transitions.at(-1)?.detail) ||
    differs(report.phase, job.phase) ||
    differs(report.message, job.message) ||
    differs(report.progress, job.progress)
  );
}

function apply(call: Call, job: StoredJob, report: StatusReport, from: JobStatus): void {
  const { workerId, detail, phase, message, progress } = report;
  job.phase = phase ?? job.phase;
  job.message = message ?? job.message;
  job.progress = progress ?? job.progress;
  record(call.state, job, call.now, { from, workerId, detail, phase, message, progress });
}

/** A claim by way of `/transition` sets no time (seen on 2026-05). */
const timeByStatus = {
  PENDING: undefined,
  CLAIMED: undefined,
  SUBMITTED: "submittedAt",
  STARTED: "startedAt",
  COMPLETED: "completedAt",
  FAILED: "completedAt",
  CANCELLED: "completedAt",
} as const;

function stamp(job: StoredJob, now: number): FreshTimes {
  const time = timeByStatus[job.status];
  if (time === undefined) return new Set();
  job[time] = now;
  return new Set([time]);
}

/** All active jobs of a worker, of whatever profile, count against each capability's limit. */
function checkCapability(state: EmulatorState, workerId: string, job: StoredJob): void {
  const matching = (state.workers.get(workerId)?.capabilities ?? []).filter(
    ({ processor, profile }) => processor === job.processor && (job.profile === null || profile === job.profile),
  );
  if (matching.length === 0) {
    const wanted = `processor=${job.processor} profile=${job.profile}`;
    throw conflict(`Worker ${workerId} does not have a registered capability for ${wanted}`);
  }
  const active = [...state.jobs.values()].filter((one) => one.workerId === workerId && !isTerminal(one.status)).length;
  if (matching.every(({ maxConcurrentJobs }) => active >= (maxConcurrentJobs ?? Number.POSITIVE_INFINITY))) {
    throw conflict(`Worker ${workerId} has reached its max_concurrent_jobs limit`);
  }
}
