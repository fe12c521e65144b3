/**
 * What follows by itself from a job's new shape: lanes that have nothing to do end, what EMX2 must hear goes into the
 * outbox, once each and in order, and a job about which nothing more is to be said is closed.
 */
import { reportDetail, spoken, submittedDetail } from "./detail.ts";
import { isOwnTimeout, type Job, movedOn, type Report, type Upload } from "./job.ts";
import { type Outcome, outcomeNeverSubmitted, phaseOf } from "./run.ts";
import { isTerminal, statusRank } from "./status.ts";

/** Instants in wall clock milliseconds. */
export function settle(job: Job, at: number): Job {
  let next = job;
  for (const rule of [endUnsubmitted, endUploads, announceSubmitted, announceStarted, announceEnd]) next = rule(next);
  return close(next, at);
}

/** A job that failed or was stopped before it was submitted has no run to wait for. */
function endUnsubmitted(job: Job): Job {
  if (job.run.stage !== "none" && job.run.stage !== "written") return job;
  if (job.claim.stage !== "ours") return job;
  const failed = job.inputs.stage === "failed";
  if (!failed && !job.stop) return job;
  const cause = job.inputs.stage === "failed" ? job.inputs.detail : job.stop?.detail;
  const ownEnd = failed || (job.stop !== undefined && isOwnTimeout(job.stop.by));
  const outcome = outcomeNeverSubmitted(ownEnd ? "failed" : "cancelled", cause);
  return { ...job, run: { stage: "ended", outcome, stderrTail: [] } };
}

/** Logs are uploaded of every run that started, outputs of those that succeeded; of neither where EMX2 has moved on. */
function endUploads(job: Job): Job {
  if (job.run.stage !== "ended") return job;
  const { outcome } = job.run;
  const moved = movedOn(job);
  const disowned = moved !== undefined && moved.by !== "server-cancelled";
  const why = disowned ? job.stop?.detail : outcome.state === "NEVER_SUBMITTED" ? "nothing was run" : undefined;
  const logs = why === undefined ? job.logs : none(job.logs, why);
  const noOutputs = why ?? (outcome.result !== "succeeded" || moved ? "the run did not succeed" : undefined);
  const outputs = noOutputs === undefined ? job.outputs : none(job.outputs, noOutputs);
  return logs === job.logs && outputs === job.outputs ? job : { ...job, logs, outputs };
}

function none(upload: Upload, why: string): Upload {
  return upload.stage === "committed" || upload.stage === "none" ? upload : { stage: "none", why };
}

function announceSubmitted(job: Job): Job {
  const ref = job.run.stage === "tracked" || job.run.stage === "ended" ? job.run.ref : undefined;
  if (!ref?.schedulerId) return job;
  return announce(job, {
    status: "SUBMITTED",
    slurmJobId: ref.schedulerId,
    detail: submittedDetail(job, ref.schedulerId),
  });
}

/** COMPLETED is only reachable from STARTED, so a run that ended before it was seen running is reported STARTED first. */
function announceStarted(job: Job): Job {
  if (job.run.stage === "tracked") {
    const { row, receipts } = job.run;
    const running = receipts?.start !== undefined || (row !== undefined && phaseOf[row.state] === "running");
    const node = row?.node ?? receipts?.start?.node;
    return running
      ? announce(job, {
          status: "STARTED",
          detail: `slurm_state=RUNNING${node ? `; node=${node}` : ""}`,
          state: "RUNNING",
        })
      : job;
  }
  if (job.run.stage !== "ended" || job.run.outcome.result !== "succeeded") return job;
  return announce(job, { status: "STARTED", detail: "had ended before it was seen running" });
}

/** The one terminal report, once everything that it names is committed. */
function announceEnd(job: Job): Job {
  if (job.run.stage !== "ended" || !settled(job.logs) || !settled(job.outputs)) return job;
  const { outcome } = job.run;
  const moved = movedOn(job);
  if (moved && !(moved.by === "server-cancelled" && job.logs.stage === "committed")) return job;
  return announce(job, {
    status: endStatus(job, outcome),
    detail: reportDetail(job, outcome, job.run.stderrTail),
    ...(job.outputs.stage === "committed" ? { outputArtifactId: job.outputs.artifactId } : {}),
    ...(job.logs.stage === "committed" ? { logArtifactId: job.logs.artifactId } : {}),
  });
}

function endStatus(job: Job, outcome: Outcome): "COMPLETED" | "FAILED" | "CANCELLED" {
  if (movedOn(job) || outcome.result === "cancelled") return "CANCELLED";
  return outcome.result === "succeeded" && job.outputs.stage !== "failed" ? "COMPLETED" : "FAILED";
}

function settled(upload: Upload): boolean {
  return upload.stage === "committed" || upload.stage === "none" || upload.stage === "failed";
}

function announce(job: Job, report: Report & { readonly detail: string }): Job {
  if (statusRank[report.status] <= statusRank[job.announced]) return job;
  if (movedOn(job) && !isTerminal(report.status)) return job;
  return { ...job, announced: report.status, outbox: [...job.outbox, spoken(job, report)] };
}

function close(job: Job, at: number): Job {
  if (job.closed) return job;
  if (job.claim.stage === "refused") return { ...job, closed: { at, status: job.server.status, why: job.claim.why } };
  if (job.outbox.length > 0 || job.run.stage !== "ended" || !settled(job.logs) || !settled(job.outputs)) return job;
  const moved = movedOn(job);
  if (!moved && !isTerminal(job.announced)) return job;
  const status = job.server.status;
  return { ...job, closed: { at, status, why: moved?.detail ?? `reported ${status}` } };
}
