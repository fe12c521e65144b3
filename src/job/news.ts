/**
 * What is said to EMX2 while a status goes on: what the workload says of itself, a state of Slurm's that EMX2 has no word
 * for (SUSPENDED, in the queue again), and, now and then, why a run still waits. Only the newest is ever said, so that a
 * job that talks much, or an EMX2 that was away for long, costs one report.
 */
import { spoken } from "./detail.ts";
import type { Job, Progress, Report, Run } from "./job.ts";
import { duration, phaseOf, type SlurmState } from "./run.ts";

export interface News {
  readonly news?: Report;
  /** When there will be something to say though nothing happens; wall clock milliseconds. */
  readonly dueAt?: number;
}

/** `queueReportIntervalMs` null: the scheduler does not answer, and how long a run waits nobody knows. */
export function newsOf(job: Job, queueReportIntervalMs: number | null, now: number): News {
  const { status } = job.server;
  if (job.stop || job.announced !== status || (status !== "SUBMITTED" && status !== "STARTED")) return {};
  const { said, progress } = job;
  const run = job.run.stage === "tracked" ? job.run : undefined;
  const told = run ? stateOf(run, said?.state) : said?.state;
  const isReported = run && isWaiting(told) && queueReportIntervalMs !== null;
  const dueAt = isReported ? (said?.at ?? run.since) + queueReportIntervalMs : undefined;
  const unsaidState = told !== said?.state && !(told === "PENDING" && status === "SUBMITTED");
  const unsaidProgress = status === "STARTED" && !Bun.deepEquals(progress, said?.progress);
  const isDue = dueAt !== undefined && dueAt <= now;
  // Once, as soon as it is seen: nobody need wait for the next queue report to learn that waiting is in vain.
  const unsaidStuck = run?.stuckSince !== undefined && (said?.at ?? 0) < run.stuckSince;
  if (!unsaidState && !unsaidProgress && !isDue && !unsaidStuck) return dueAt === undefined ? {} : { dueAt };
  const words = status === "STARTED" && progress ? progressWords(progress) : [];
  const requeued = run && status === "STARTED" && isWaiting(told) ? ["requeued: Slurm runs it again"] : [];
  // The instant is fixed: a text that changed with each second would never be the one that was decided.
  const asOf = isDue && dueAt !== undefined ? dueAt : (run?.stuckSince ?? run?.since ?? now);
  const detail = [run ? detailOf(run, told, asOf) : "the workload has ended", ...requeued, ...words].join("; ");
  const report = {
    status,
    detail,
    ...(told === undefined ? {} : { state: told }),
    ...(progress === undefined || status !== "STARTED" ? {} : { progress }),
  };
  return { news: spoken(job, report) };
}

type Tracked = Extract<Run, { stage: "tracked" }>;

/** The state that is worth telling: what is only on its way (CONFIGURING, COMPLETING) or not known changes nothing. */
function stateOf({ row, since, startedAt }: Tracked, before: SlurmState | undefined): SlurmState | undefined {
  if (!row) return before;
  const phase = phaseOf[row.state];
  // Squeue was asked before the receipt of its start was read: it had been in the queue until then.
  if (phase === "pending" && startedAt !== undefined && since <= startedAt) return before;
  if (phase === "pending") return row.state === "CONFIGURING" ? before : row.state;
  if (phase !== "running") return before;
  return row.state === "SUSPENDED" || row.state === "STOPPED" ? row.state : "RUNNING";
}

/** In the detail as well: 2026-02 keeps nothing else of a report. */
function progressWords({ phase, message, fraction }: Progress): string[] {
  return [
    phase === undefined ? undefined : `phase=${phase}`,
    fraction === undefined ? undefined : `progress=${fraction}`,
    message === undefined ? undefined : `message=${message}`,
  ].filter((word) => word !== undefined);
}

function isWaiting(state: SlurmState | undefined): boolean {
  return state !== undefined && phaseOf[state] === "pending";
}

function detailOf({ row, receipts, since, stuckSince }: Tracked, state: SlurmState | undefined, now: number): string {
  const waits = isWaiting(state);
  const node = row?.node ?? receipts?.start?.node;
  return [
    `slurm_state=${state ?? "RUNNING"}`,
    waits && row?.reason !== undefined ? `reason=${row.reason}` : undefined,
    waits && stuckSince !== undefined ? "it can never start so: who can act: the operator of this worker" : undefined,
    waits ? `waited=${duration(now - since)}` : undefined,
    !waits && node !== undefined ? `node=${node}` : undefined,
    state === "SUSPENDED" || state === "STOPPED" ? "it holds still until somebody resumes it" : undefined,
  ]
    .filter((part) => part !== undefined)
    .join("; ");
}
