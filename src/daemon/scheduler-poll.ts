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
import type { Log } from "../log.ts";
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
  const storage = storageTeller(parts.log);
  return {
    intervalMs: parts.intervalMs,
    async tick(signal) {
      for (const [backend, runs] of runsByBackend(parts.engine)) {
        await storage.look(undefined, () => observe({ ...parts, failures, storage }, backend, runs, signal));
      }
      storage.forgetOthers(parts.engine.jobs);
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

interface Memory {
  readonly failures: Map<BackendName, number>;
  readonly storage: StorageTeller;
}

async function observe(
  parts: SchedulerPollParts & Memory,
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
  parts: SchedulerPollParts & Memory,
  run: RunRef,
  rows: ReadonlyMap<JobId, SchedulerRow | null>,
): Promise<void> {
  const { engine, clock, files, storage } = parts;
  const row = rows.get(run.jobId);
  await storage.look(run.jobId, async () => {
    const receipts = await files.receipts(run);
    // Before the look itself: what the workload said last must not come after its end.
    if (receipts.start) await observeProgress(parts, run, receipts);
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
  { engine, clock, files, log }: SchedulerPollParts,
  run: RunRef,
  { restart }: Receipts,
): Promise<void> {
  const job = engine.jobs.get(run.jobId);
  if (!job) return;
  const outputDir = outputDirectory(run.attempt, restart);
  const place = { dir: job.dir, outputDir, ...(job.outputBase === undefined ? {} : { outputBase: job.outputBase }) };
  // Nobody's end may be overlooked for what it says on the way.
  const progress = await files.progress(place).catch((error: unknown) => {
    if (!isSystemError(error)) throw error;
    log.debug("what the workload says of itself can not be read", { jobId: run.jobId, cause: error.message });
    return null;
  });
  if (progress) engine.observe(run.jobId, { kind: "Progressed", at: clock.wall(), progress });
}

interface StorageTeller {
  look(jobId: JobId | undefined, look: () => Promise<void>): Promise<void>;
  forgetOthers(jobs: ReadonlyMap<JobId, unknown>): void;
}

/**
 * Storage that does not answer is not an empty directory: nothing is concluded from such a look. It is said when it begins
 * and when it is over, however often it is looked at in between.
 */
function storageTeller(log: Log): StorageTeller {
  const failing = new Set<JobId | undefined>();
  return {
    async look(jobId, look) {
      const fields = jobId === undefined ? {} : { jobId };
      try {
        await look();
        if (failing.delete(jobId)) log.info("job directories can be read again", fields);
      } catch (error) {
        if (!isSystemError(error)) throw error;
        // Storage that hangs ends the round: each further directory would take as long again.
        if (error.code === "ETIMEDOUT" && jobId !== undefined) throw error;
        const known = failing.has(jobId);
        failing.add(jobId);
        const told = { ...fields, cause: error.message };
        if (known) log.debug("job directories still can not be read", told);
        else log.warn("job directories can not be read; they are looked at again each time", told);
      }
    },
    forgetOthers(jobs) {
      for (const jobId of failing) if (jobId !== undefined && !jobs.has(jobId)) failing.delete(jobId);
    },
  };
}
