/**
 * The scheduler poll: one question a cycle about all runs, whatever their number, and none while nothing is tracked. What
 * comes back, together with the receipts in the job directories, becomes events; a failed query says nothing about any run
 * and only stops what would ask the scheduler for more.
 */
import type { JobFiles } from "../artifacts/job-files.ts";
import type { Clock } from "../clock.ts";
import { isSystemError } from "../errors.ts";
import { outputDirectory } from "../job/outcome.ts";
import type { BackendName } from "../job/profile.ts";
import type { JobId, Receipts, RunRef, SchedulerRow } from "../job/run.ts";
import type { Fields, Log } from "../log.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { Engine } from "./engine.ts";
import type { Loop } from "./loop.ts";
import { isNews } from "./news.ts";

export interface SchedulerPollParts {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly files: JobFiles;
  readonly log: Log;
  readonly intervalMs: number;
  schedulerOf(backend: BackendName): Scheduler;
}

/** Job directories that are read side by side: on shared storage each look takes its time. */
const looksAtOnce = 8;

export function createSchedulerPoll(parts: SchedulerPollParts): Loop {
  /** Queries in a row that failed, by backend. */
  const failures = new Map<BackendName, number>();
  return {
    intervalMs: parts.intervalMs,
    async tick(signal) {
      for (const [backend, runs] of runsByBackend(parts.engine)) {
        await onStorage(parts.log, {}, () => observe({ ...parts, failures }, backend, runs, signal));
      }
    },
  };
}

/** Runs to ask about: those that are tracked and, while the scheduler is down, those that wait for it. */
function runsByBackend(engine: Engine): Map<BackendName, RunRef[]> {
  const byBackend = new Map<BackendName, RunRef[]>();
  for (const { run, backend } of engine.jobs.values()) {
    const waits = !engine.isSchedulerUp(backend) && (run.stage === "written" || run.stage === "submitting");
    if (run.stage !== "tracked" && !waits) continue;
    const runs = byBackend.get(backend);
    if (runs) runs.push(run.ref);
    else byBackend.set(backend, [run.ref]);
  }
  return byBackend;
}

async function observe(
  parts: SchedulerPollParts & { readonly failures: Map<BackendName, number> },
  backend: BackendName,
  runs: RunRef[],
  signal: AbortSignal,
): Promise<void> {
  const { engine, log } = parts;
  const answer = await parts.schedulerOf(backend).states(runs, signal);
  if (signal.aborted) return;
  if (answer.is === "unavailable") {
    const failures = (parts.failures.get(backend) ?? 0) + 1;
    parts.failures.set(backend, failures);
    if (isNews(failures)) {
      const fields = { backend, runs: runs.length, failures, cause: answer.cause };
      log.warn("the scheduler does not answer: its jobs go on, and nothing is submitted, ended or concluded", fields);
    }
    engine.setSchedulerUp(backend, false);
    return;
  }
  if (parts.failures.delete(backend)) log.info("the scheduler answers again", { backend });
  engine.setSchedulerUp(backend, true);
  for (let from = 0; from < runs.length && !signal.aborted; from += looksAtOnce) {
    await Promise.all(runs.slice(from, from + looksAtOnce).map((run) => observeRun(parts, run, answer.rows)));
  }
}

async function observeRun(
  { engine, clock, files, log }: SchedulerPollParts,
  run: RunRef,
  rows: ReadonlyMap<JobId, SchedulerRow | null>,
): Promise<void> {
  const row = rows.get(run.jobId);
  await onStorage(log, { jobId: run.jobId }, async () => {
    const receipts = await files.receipts(run);
    // Before the look itself: what the workload said last must not come after its end.
    if (receipts.start) await observeProgress({ engine, clock, files }, run, receipts);
    engine.observe(run.jobId, {
      kind: "RunObserved",
      at: clock.wall(),
      ...(row === undefined ? {} : { row }),
      receipts,
    });
  });
}

/** What the workload says of itself, in the output directory of its newest run. */
async function observeProgress(
  { engine, clock, files }: Pick<SchedulerPollParts, "engine" | "clock" | "files">,
  run: RunRef,
  { restart }: Receipts,
): Promise<void> {
  const job = engine.jobs.get(run.jobId);
  if (!job) return;
  const outputDir = outputDirectory(run.attempt, restart);
  const place = { dir: job.dir, outputDir, ...(job.outputBase === undefined ? {} : { outputBase: job.outputBase }) };
  const progress = await files.progress(place);
  if (progress) engine.observe(run.jobId, { kind: "Progressed", at: clock.wall(), progress });
}

/** Storage that does not answer is not an empty directory: nothing is concluded from this look. */
async function onStorage(log: Log, fields: Fields, look: () => Promise<void>): Promise<void> {
  try {
    await look();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    // Storage that hangs ends the round: each further directory would take as long again.
    if (error.code === "ETIMEDOUT" && "jobId" in fields) throw error;
    log.warn("job directories can not be read; looking again next time", { ...fields, cause: error.message });
  }
}
