/**
 * What EMX2 says of the jobs that are ours: cancelled, deleted, given to another worker? It is asked job by job or in pages,
 * whichever is fewer requests. A list is no proof of absence (its rows shift while it is read): a job that it does not show
 * is read by itself; and one that EMX2 does not know is believed gone only when it is asked again and says so again.
 */
import type { Clock } from "../clock.ts";
import type { Emx2Client } from "../emx2/client.ts";
import { concernsAll } from "../emx2/retry.ts";
import { ApiError } from "../errors.ts";
import type { Job, ServerJob } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
import type { JobStatus } from "../job/status.ts";
import type { Log } from "../log.ts";
import type { Engine } from "./engine.ts";
import type { Loss } from "./loss.ts";

export interface WatchParts {
  readonly engine: Pick<Engine, "jobs" | "observe">;
  readonly client: Emx2Client;
  readonly clock: Clock;
  readonly log: Log;
  readonly loss: Loss;
}

const pageSize = 500;
/** Of one status, in one look. */
const maxListedJobs = 5_000;
const liveStatuses: readonly JobStatus[] = ["CLAIMED", "SUBMITTED", "STARTED"];
type Seen = Omit<ServerJob, "parametersText">;
/** Between two questions about a job that EMX2 does not know: a redeploy may be under way. */
const secondLookMs = 2_000;
/** Then a list is worth a try again, however long it was. */
const totalsLastMs = 600_000;

export function createWatch(parts: WatchParts): (signal: AbortSignal) => Promise<void> {
  const { engine, client, clock, log, loss } = parts;
  const failing = new Set<JobId>();
  const totals = createTotals(clock);

  const saw = (id: JobId, job: Seen | null) => {
    if (failing.delete(id)) log.info("the job can be read at EMX2 again", { jobId: id });
    engine.observe(id, { kind: "ServerSaw", at: clock.wall(), job });
  };

  /** Takes the jobs that the lists show out of `unseen`. */
  const list = async (unseen: Map<JobId, Job>, signal: AbortSignal) => {
    for (const status of liveStatuses) {
      const { jobs, total } = await client.listJobs({ status, pageSize, maxJobs: maxListedJobs }, { signal });
      totals.learn(status, total);
      for (const job of jobs) if (unseen.delete(job.id)) saw(job.id, job);
    }
  };

  /** Tells what it read; null: EMX2 does not know the job. undefined: EMX2 could not say. */
  const read = async (job: Job, signal: AbortSignal): Promise<Seen | null | undefined> => {
    const known = failing.has(job.id);
    const call = { signal, traceId: job.traceId, ...(known ? { attempts: 1 } : {}) };
    try {
      return withoutParameters(await client.readJob(job.id, call));
    } catch (error) {
      throwIfAboutAll(error);
      if (!known) log.warn("the job can not be read at EMX2; it goes on", { jobId: job.id, cause: error.message });
      failing.add(job.id);
      return undefined;
    }
  };

  const readEach = async (jobs: Iterable<Job>, signal: AbortSignal): Promise<Job[]> => {
    const unknown: Job[] = [];
    for (const job of jobs) {
      const seen = await read(job, signal);
      if (seen === null) unknown.push(job);
      else if (seen) saw(job.id, seen);
    }
    return unknown;
  };

  return async (signal) => {
    const ours = [...engine.jobs.values()].filter((job) => !job.closed && !job.stop && job.claim.stage === "ours");
    const goOn = new Map(ours.map((job) => [job.id, job]));
    const unseen = new Map(goOn);
    for (const id of failing) if (!unseen.has(id)) failing.delete(id);
    if (ours.length > totals.pages()) {
      // One entry that EMX2 can not show must not hide the others: those are then read one by one.
      await list(unseen, signal).catch(throwIfAboutAll);
    }
    const unknown = await readEach(unseen.values(), signal);
    const notKnown = new Set(unknown.map(({ id }) => id));
    const known = ours.filter(({ id }) => !notKnown.has(id) && !failing.has(id));
    const told = { unknown: notKnown, known: new Set(known.map(({ id }) => id)) };
    if (loss.isWaited(told, (id) => goOn.has(id)) || unknown.length === 0) return;
    for (const { id: jobId } of unknown)
      log.warn("EMX2 does not know the job; it is asked once more before the job is stopped", { jobId });
    await clock.sleep(secondLookMs, signal);
    for (const job of await readEach(unknown, signal)) saw(job.id, null);
  };
}

function throwIfAboutAll(error: unknown): asserts error is ApiError {
  if (!(error instanceof ApiError) || concernsAll(error)) throw error;
}

/** How many requests the lists will be, by what they were when they were last read. */
function createTotals(clock: Clock) {
  const learnt = new Map<JobStatus, { readonly total: number; readonly at: number }>();
  const pagesOf = (status: JobStatus) => {
    const last = learnt.get(status);
    if (!last || clock.mono() - last.at > totalsLastMs) return 1;
    return Math.max(1, Math.ceil(Math.min(last.total, maxListedJobs) / pageSize));
  };
  return {
    learn: (status: JobStatus, total: number) => void learnt.set(status, { total, at: clock.mono() }),
    pages: () => liveStatuses.reduce((sum, status) => sum + pagesOf(status), 0),
  };
}

/** Parameters stay at EMX2 until the script is written: neither journal nor memory holds them. */
function withoutParameters(job: Awaited<ReturnType<Emx2Client["readJob"]>>): Seen | null {
  if (job === null) return null;
  const { parametersText: _left, ...listed } = job;
  return listed;
}
