/**
 * The scheduler poll: one question a cycle about all runs, whatever their number, and none while nothing is tracked. What
 * comes back, together with the receipts in the job directories, becomes events; a failed query says nothing about any run
 * and only stops what would ask the scheduler for more. How soon it is asked again: `breaker.ts`.
 */
import type { JobFiles } from "../artifacts/job-files.ts";
import type { Clock } from "../clock.ts";
import { isSystemError } from "../errors.ts";
import type { Job } from "../job/job.ts";
import { outputDirectory } from "../job/outcome.ts";
import type { BackendName } from "../job/profile.ts";
import type { JobId, Receipts, RunRef, SchedulerRow } from "../job/run.ts";
import type { Log } from "../log.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import { type Breaker, createBreaker } from "./breaker.ts";
import type { Engine } from "./engine.ts";
import type { Loop } from "./loop.ts";
import { isNews } from "./news.ts";
import { createStrayHunt } from "./strays.ts";
import { createUnknownStates } from "./unknown-states.ts";

export interface SchedulerPollParts {
  readonly engine: Pick<Engine, "jobs" | "isSchedulerUp" | "setSchedulerUp" | "observe">;
  readonly clock: Clock;
  readonly files: JobFiles;
  readonly log: Log;
  readonly intervalMs: number;
  schedulerOf(backend: BackendName): Scheduler;
  /** The job's run was started at that time, and has been going for long enough for its workload to be there. */
  begun(job: Job, startedAt: number): void;
}

/** Of a run that goes on: Apptainer may unpack an image for minutes before it can not begin the container. */
const begunAfterMs = 600_000;

/** Job directories that are read side by side: on shared storage each look takes its time. */
const looksAtOnce = 8;

export function createSchedulerPoll(parts: SchedulerPollParts): Loop {
  const { clock, log, engine } = parts;
  const breakers = new Map<BackendName, Breaker>();
  const breakerOf = (backend: BackendName) => {
    const breaker = breakers.get(backend) ?? createBreaker(clock, parts.intervalMs);
    breakers.set(backend, breaker);
    return breaker;
  };
  const memory = {
    storage: storageTeller(log),
    tellUnknown: createUnknownStates(clock, log),
    huntStrays: createStrayHunt(clock, log),
  };
  return {
    get intervalMs() {
      const pauses = [...runsByBackend(engine).keys()].map((backend) => breakerOf(backend).pauseMs);
      return pauses.length === 0 ? parts.intervalMs : Math.min(...pauses);
    },
    async tick(signal) {
      for (const [backend, runs] of runsByBackend(engine)) {
        const breaker = breakerOf(backend);
        if (!breaker.isDue()) continue;
        await memory.storage.look(undefined, () => observe({ ...parts, ...memory, breaker }, backend, runs, signal));
      }
      memory.storage.forgetOthers(engine.jobs);
    },
  };
}

/** Runs to ask about: those that are tracked and, while the scheduler is down, those that wait for it. */
function runsByBackend(engine: SchedulerPollParts["engine"]): Map<BackendName, RunRef[]> {
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
  readonly breaker: Breaker;
  readonly storage: StorageTeller;
  readonly tellUnknown: ReturnType<typeof createUnknownStates>;
  readonly huntStrays: ReturnType<typeof createStrayHunt>;
}

async function observe(
  parts: SchedulerPollParts & Memory,
  backend: BackendName,
  runs: RunRef[],
  signal: AbortSignal,
): Promise<void> {
  const { engine, log, breaker, clock, storage } = parts;
  const scheduler = parts.schedulerOf(backend);
  const askedAt = clock.mono();
  const answer = await scheduler.states(runs, signal);
  if (signal.aborted) return;
  if (answer.is === "unavailable") {
    breaker.failed();
    tellFailure(parts, backend, runs.length, answer.cause);
    engine.setSchedulerUp(backend, false);
    return;
  }
  const { slowDown, live } = answer;
  if (breaker.answered(clock.mono() - askedAt, slowDown !== undefined))
    log.info("the scheduler answers again", { backend });
  if (slowDown !== undefined) log.debug("the scheduler is asked too often", { backend, cause: slowDown });
  engine.setSchedulerUp(backend, true);
  parts.tellUnknown(answer.rows);
  const inTurn = runs.toSorted((a, b) => Number(storage.isSilent(a.jobId)) - Number(storage.isSilent(b.jobId)));
  try {
    for (let from = 0; from < inTurn.length && !signal.aborted; from += looksAtOnce) {
      await Promise.all(inTurn.slice(from, from + looksAtOnce).map((run) => observeRun(parts, run, answer.rows)));
    }
  } finally {
    // After the looks: they tell which run has the lease.
    const jobs = [...engine.jobs.values()].filter((job) => job.backend === backend);
    if (live) await parts.huntStrays(jobs, live, scheduler, signal);
  }
}

function tellFailure({ log, breaker }: SchedulerPollParts & Memory, backend: BackendName, runs: number, cause: string) {
  const { failures, pauseMs } = breaker;
  const fields = { backend, runs, failures, nextTryS: Math.round(pauseMs / 1_000), cause };
  if (!isNews(failures)) log.debug("the scheduler still does not answer", fields);
  else log.warn("the scheduler does not answer: its jobs go on, and nothing is submitted, ended or concluded", fields);
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
    tellBegun(parts, run, row, receipts);
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

function tellBegun(
  { engine, clock, begun }: SchedulerPollParts,
  { jobId }: RunRef,
  row: SchedulerRow | null | undefined,
  { start, exit }: Receipts,
): void {
  const job = engine.jobs.get(jobId);
  if (!job || !start || exit || row?.state !== "RUNNING") return;
  if (clock.wall() >= start.at * 1_000 + begunAfterMs) begun(job, start.at * 1_000);
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
  /** Its directory gave no answer the last time: others, on another mount maybe, go first. */
  isSilent(jobId: JobId): boolean;
  look(jobId: JobId | undefined, look: () => Promise<void>): Promise<void>;
  forgetOthers(jobs: ReadonlyMap<JobId, unknown>): void;
}

/**
 * Storage that does not answer is not an empty directory: nothing is concluded from such a look. It is said when it begins
 * and when it is over, however often it is looked at in between.
 */
function storageTeller(log: Log): StorageTeller {
  const failing = new Set<JobId | undefined>();
  const silent = new Set<JobId>();
  return {
    isSilent: (jobId) => silent.has(jobId),
    async look(jobId, look) {
      const fields = jobId === undefined ? {} : { jobId };
      try {
        await look();
        if (jobId !== undefined) silent.delete(jobId);
        if (failing.delete(jobId)) log.info("job directories can be read again", fields);
      } catch (error) {
        if (!isSystemError(error)) throw error;
        // Storage that hangs ends the round: each further directory would take as long again.
        if (error.code === "ETIMEDOUT" && jobId !== undefined) {
          silent.add(jobId);
          throw error;
        }
        const known = failing.has(jobId);
        failing.add(jobId);
        const told = { ...fields, cause: error.message };
        if (known) log.debug("job directories still can not be read", told);
        else log.warn("job directories can not be read; they are looked at again each time", told);
      }
    },
    forgetOthers(jobs) {
      for (const jobId of failing) if (jobId !== undefined && !jobs.has(jobId)) failing.delete(jobId);
      for (const jobId of silent) if (!jobs.has(jobId)) silent.delete(jobId);
    },
  };
}
