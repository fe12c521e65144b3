/**
 * Jobs that EMX2 calls ours and the journal does not know: the state was lost, or another program had them. What a job's
 * directory, or with `--take-over` Slurm and the operator's word, bears out is carried on; whatever may be somebody else's
 * (the same worker id may be configured on another cluster) is not touched, and said once. Ordinarily there are no such
 * jobs, and it costs three requests, at the start and each hour.
 */
import type { ListedJob } from "../emx2/client.ts";
import { concernsAll } from "../emx2/retry.ts";
import { ApiError, isSystemError } from "../errors.ts";
import type { Job } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
import type { JobStatus } from "../job/status.ts";
import { type AdoptingParts, adopt, type Verdict } from "./adopt-job.ts";
import type { Engine } from "./engine.ts";

export interface AdoptionParts extends AdoptingParts {
  readonly engine: Pick<Engine, "jobs" | "observe">;
  /** False: it has more to look at. */
  leftovers(signal: AbortSignal): Promise<boolean>;
}

export interface Adoption {
  /** Looks for such jobs, where that is due. */
  look(signal: AbortSignal): Promise<void>;
  /** How many were taken in. */
  readonly adopted: number;
  /** Waits for what can not be told at once. True: there was something, and the next look knows. */
  settled(): Promise<boolean>;
}

const statuses: readonly JobStatus[] = ["CLAIMED", "SUBMITTED", "STARTED"];
const pageSize = 500;
/** Of one status, in one look. */
const maxListedJobs = 5_000;
/** Of those that nothing here knows, in one look: the others have their turn later. */
const maxJobsALook = 500;
/** They share one question to Slurm. */
const looksAtOnce = 16;
/** The server poll waits for a look: of a scheduler or a storage that hangs each question takes its whole time. */
const maxLookMs = 30_000;
const usualPauseMs = 3_600_000;
/** While something could not be told. */
const shortPauseMs = 60_000;

export function createAdoption(parts: AdoptionParts): Adoption {
  const { clock, log, holders } = parts;
  let dueAt = Number.NEGATIVE_INFINITY;
  let adopted = 0;
  let unsettled = false;
  /** What the last look has to wait for. */
  let watches: Promise<void>[] = [];
  /** What was said of each job that is left alone. */
  const told = new Map<JobId, string>();
  const putOff = new Set<JobId>();

  const watched = async () => {
    await Promise.all(watches);
    dueAt = Number.NEGATIVE_INFINITY;
  };

  const look = async (job: ListedJob, signal: AbortSignal): Promise<void> => {
    const verdict = await judged(parts, job, told.has(job.id), signal);
    const { id: jobId, status } = job;
    if (verdict.is === "adopted") adopted += 1;
    putOff.delete(jobId);
    if (verdict.is === "later") {
      unsettled = true;
      putOff.add(jobId);
      if (verdict.until) watches.push(verdict.until);
      log.debug("whose the job is can not be told yet", { jobId, why: verdict.why });
    }
    if (verdict.is !== "left alone" || told.get(jobId) === verdict.why) return;
    told.set(jobId, verdict.why);
    log.warn("EMX2 calls the job ours; it is not touched", { jobId, status, why: verdict.why, next: verdict.next });
  };

  return {
    get adopted() {
      return adopted;
    },
    async look(signal) {
      if (clock.mono() < dueAt) return;
      if (!unsettled) holders.forget();
      const { unknown, isWhole } = await unknownJobs(parts, signal);
      const ids = new Set(unknown.map(({ id }) => id));
      for (const id of told.keys()) if (isWhole && !ids.has(id)) told.delete(id);
      for (const id of putOff) if (isWhole && !ids.has(id)) putOff.delete(id);
      // Whoever was looked at in vain has to stand back for those that nobody has looked at.
      const standsBack = ({ id }: ListedJob) => Number(told.has(id) || putOff.has(id));
      const inTurn = unknown.toSorted((a, b) => standsBack(a) - standsBack(b));
      const endsAt = clock.mono() + maxLookMs;
      let from = 0;
      unsettled = !isWhole;
      watches = [];
      for (; from < inTurn.length && from < maxJobsALook && clock.mono() < endsAt; from += looksAtOnce)
        await Promise.all(inTurn.slice(from, from + looksAtOnce).map((job) => look(job, signal)));
      if (from < inTurn.length) unsettled = true;
      if (!(await parts.leftovers(signal))) unsettled = true;
      dueAt = clock.mono() + (unsettled ? shortPauseMs : usualPauseMs);
      if (watches.length > 0) void watched();
    },
    async settled() {
      if (watches.length === 0) return false;
      await watched();
      return true;
    },
  };
}

async function judged(parts: AdoptionParts, job: ListedJob, seen: boolean, signal: AbortSignal): Promise<Verdict> {
  const known = parts.engine.jobs.get(job.id);
  if (known?.closed) {
    const why = `it has ended here (${known.closed.why}): was EMX2 restored from a backup?`;
    return { is: "left alone", why, next: `cancel it at EMX2; what it has left lies in ${known.dir} for now` };
  }
  try {
    return await adopt(parts, job.id, seen, signal);
  } catch (error) {
    // One job that EMX2 or its storage can not show must not hide the others.
    const about = error instanceof ApiError ? !concernsAll(error) : isSystemError(error);
    if (!about || !(error instanceof Error)) throw error;
    return { is: "later", why: error.message };
  }
}

/**
 * Those that have ended here count as unknown: EMX2 was told, and has forgotten it. The lists are read one after another and
 * rows shift meanwhile: whoever acts on one reads the job itself first.
 */
async function unknownJobs({ client, engine, worker, clock, log }: AdoptionParts, signal: AbortSignal) {
  const unknown = new Map<JobId, ListedJob>();
  const from = clock.wall();
  const isGoing = (known: Job | undefined) => known !== undefined && (known.closed?.at ?? from) >= from;
  let isWhole = true;
  for (const status of statuses) {
    const list = client.listJobs({ status, pageSize, maxJobs: maxListedJobs }, { signal });
    const { jobs } = await list.catch((error: unknown) => {
      // One status that EMX2 can not list must keep nobody from registering, nor from claiming.
      if (!(error instanceof ApiError) || concernsAll(error)) throw error;
      log.debug("whether EMX2 calls more jobs ours can not be told yet", { status, cause: error.message });
      isWhole = false;
      return { jobs: [] };
    });
    for (const job of jobs)
      if (job.workerId === worker.workerId && !isGoing(engine.jobs.get(job.id))) unknown.set(job.id, job);
  }
  return { unknown: [...unknown.values()], isWhole };
}
