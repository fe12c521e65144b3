/**
 * Claims: which jobs EMX2 has waiting for the profiles here, and which of them are taken now. Each profile is asked about by
 * itself, for little more than could be claimed, so that thousands of other workers' jobs can neither hide ours nor cost much.
 */
import type { Clock } from "../clock.ts";
import type { Emx2Client, JobFilter, JobList, ListedJob } from "../emx2/client.ts";
import { concernsAll } from "../emx2/retry.ts";
import { ApiError } from "../errors.ts";
import { admit, type Limits, type Offer } from "../job/admit.ts";
import type { BackendName, Profile } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import type { Log } from "../log.ts";
import type { Engine } from "./engine.ts";

export interface ClaimParts {
  readonly engine: Pick<Engine, "jobs" | "observe">;
  readonly client: Emx2Client;
  readonly clock: Clock;
  readonly log: Log;
  readonly worker: { readonly workerId: string };
  /** Profiles that this version can run, by which jobs are matched. */
  readonly profiles: readonly Profile[];
  readonly limits: Limits;
  readonly backend: BackendName;
  jobDir(jobId: JobId): string;
  /** Why nothing new may be claimed now; undefined: it may. */
  blocked(): Promise<string | undefined>;
}

/** With more profiles than this that have room, one list of everything is fewer requests. */
const maxAskedProfiles = 10;
/** Of one profile at least, whatever there is room for. */
const minListedJobs = 100;
const pageSize = 500;
/** Of the one list of everything. */
const maxListedJobs = 5_000;
/** A job whose claim EMX2 refused (taken, no capacity) is left alone for this long. */
const refusedPauseMs = 60_000;

export function createClaims(parts: ClaimParts): (signal: AbortSignal) => Promise<void> {
  const { engine, clock, log, limits } = parts;
  const refusedUntil = new Map<JobId, number>();
  const tellBlocked = blockedTeller(log);
  const tellUnreadable = changeTeller((cause) => log.warn("a job in EMX2's list can not be read", { cause }));
  const tellUnlisted = changeTeller((profile) => log.warn("EMX2 can not list a profile's jobs", { profile }));
  const tellTooMany = changeTeller((cause) => log.warn("EMX2 has more jobs waiting than are looked at", { cause }));

  return async (signal) => {
    const active = [...engine.jobs.values()].filter((job) => !job.closed).map(({ profileKey }) => profileKey);
    if (active.length >= limits.maxConcurrentJobs) return;
    const reason = await parts.blocked();
    tellBlocked(reason);
    if (reason !== undefined) return;
    const now = clock.wall();
    for (const [jobId, until] of refusedUntil) if (until <= now) refusedUntil.delete(jobId);

    // Those at the head of a list may be ours already, or refused a moment ago.
    const useful = Math.max(minListedJobs, limits.maxConcurrentJobs + refusedUntil.size);
    const open = withRoom(parts, active);
    const found =
      open.length > maxAskedProfiles ? await listAll(parts, signal) : await listEach(parts, open, useful, signal);
    tellUnreadable(found.warnings);
    tellUnlisted(found.unlisted);
    tellTooMany(found.tooMany);
    const waiting = new Map<JobId, ListedJob>();
    const offers: Offer[] = [];
    for (const job of found.jobs) {
      const profile = matching(open, job);
      if (!profile || engine.jobs.has(job.id) || refusedUntil.has(job.id)) continue;
      waiting.set(job.id, job);
      offers.push({ jobId: job.id, profileKey: profile.key });
    }
    for (const { jobId, profileKey } of admit(offers, active, limits)) {
      const job = waiting.get(jobId);
      if (!job) continue;
      refusedUntil.set(jobId, now + refusedPauseMs);
      take(parts, job, profileKey);
    }
  };
}

interface Found {
  readonly jobs: readonly ListedJob[];
  readonly warnings: readonly string[];
  /** Profiles whose lists EMX2 fails to give. */
  readonly unlisted: readonly string[];
  readonly tooMany: readonly string[];
}

async function listAll({ client }: ClaimParts, signal: AbortSignal): Promise<Found> {
  const { jobs, warnings, total } = await client.listJobs(
    { status: "PENDING", pageSize, maxJobs: maxListedJobs },
    { signal },
  );
  const tooMany =
    total > maxListedJobs ? [`only the first ${maxListedJobs} are read; fewer profiles a worker help`] : [];
  return { jobs, warnings, unlisted: [], tooMany };
}

async function listEach(
  { client }: ClaimParts,
  profiles: readonly Profile[],
  maxJobs: number,
  signal: AbortSignal,
): Promise<Found> {
  const lists: JobList[] = [];
  const failed: { readonly key: string; readonly error: ApiError }[] = [];
  for (const { key, processor, profile } of profiles) {
    const filter: JobFilter = { status: "PENDING", processor, profile, pageSize, maxJobs };
    try {
      lists.push(await client.listJobs(filter, { signal }));
    } catch (error) {
      // What EMX2 can not show of one profile must not stop the others.
      if (!(error instanceof ApiError) || concernsAll(error)) throw error;
      failed.push({ key, error });
    }
  }
  const [first] = failed;
  if (first && lists.length === 0) throw first.error;
  return {
    jobs: lists.flatMap(({ jobs }) => jobs),
    warnings: lists.flatMap(({ warnings }) => warnings),
    unlisted: failed.map(({ key, error }) => `${key} (status ${error.answer.status})`),
    tooMany: [],
  };
}

/** Where two profiles are for the same jobs, the first runs them. */
function withRoom({ profiles, limits }: ClaimParts, active: readonly string[]): readonly Profile[] {
  return profiles.filter((profile) => {
    const limit = limits.perProfile[profile.key] ?? Number.POSITIVE_INFINITY;
    const occupied = active.filter((key) => key === profile.key).length;
    return occupied < limit && matching(profiles, profile) === profile;
  });
}

function matching(profiles: readonly Profile[], job: Pick<ListedJob, "processor" | "profile">): Profile | undefined {
  return profiles.find(({ processor, profile }) => processor === job.processor && profile === job.profile);
}

function take({ engine, clock, backend, worker, jobDir }: ClaimParts, job: ListedJob, profileKey: string): void {
  engine.observe(job.id, {
    kind: "Offered",
    at: clock.wall(),
    job,
    workerId: worker.workerId,
    profileKey,
    backend,
    dir: jobDir(job.id),
    traceId: clock.uuid(),
  });
}

/** Says what was not there the last time; it remembers no more than that. */
function changeTeller(say: (what: string) => void): (now: readonly string[]) => void {
  let before: ReadonlySet<string> = new Set();
  return (now) => {
    const told = new Set(now);
    for (const what of told) if (!before.has(what)) say(what);
    before = told;
  };
}

/** A reason whose figures alone have changed (free space) is not said again. */
function blockedTeller(log: Log): (reason: string | undefined) => void {
  let before: string | undefined;
  return (reason) => {
    const gist = reason?.replace(/\d+(\.\d+)?/g, "#");
    if (gist === before) return;
    before = gist;
    if (reason === undefined) log.info("new jobs are claimed again");
    else log.warn("nothing new is claimed", { reason });
  };
}
