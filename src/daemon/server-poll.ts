/**
 * The EMX2 poll: registers where that is due, looks after the jobs that are ours, and claims new ones for which there are
 * slots. EMX2 is asked job by job or in pages, whichever is fewer requests. A list is no proof of absence (its rows shift
 * while it is read): a job that it does not show is read by itself.
 */
import type { Clock } from "../clock.ts";
import type { Capability, Emx2Client } from "../emx2/client.ts";
import { ApiError, NetworkError } from "../errors.ts";
import { admit, type Limits, type Offer } from "../job/admit.ts";
import type { Job, ServerJob } from "../job/job.ts";
import type { BackendName, Profile } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import type { JobStatus } from "../job/status.ts";
import type { Log } from "../log.ts";
import type { Engine } from "./engine.ts";
import type { Loop } from "./loop.ts";

export interface ServerPollParts {
  readonly engine: Engine;
  readonly client: Emx2Client;
  readonly clock: Clock;
  readonly log: Log;
  readonly intervalMs: number;
  readonly worker: { readonly workerId: string; readonly hostname: string };
  /** Profiles that this version can run, by which jobs are matched. */
  readonly profiles: readonly Profile[];
  readonly limits: Limits;
  readonly backend: BackendName;
  jobDir(jobId: JobId): string;
  /** Why nothing new may be claimed now; undefined: it may. */
  blocked(): Promise<string | undefined>;
}

/** Pages of EMX2's lists, and how many jobs of one list are looked at in a cycle. */
const pageSize = 500;
const maxListedJobs = 5_000;
const liveStatuses: readonly JobStatus[] = ["CLAIMED", "SUBMITTED", "STARTED"];
/** A job whose claim EMX2 refused (taken, no capacity) is left alone for this long. */
const refusedPauseMs = 60_000;

export interface ServerPoll extends Loop {
  /** EMX2 has forgotten this worker: register before anything else. */
  forgotten(): void;
  /** Looks after the jobs that are ours, and claims nothing. */
  watch(signal: AbortSignal): Promise<void>;
  /** False since the last tick could not be completed. */
  readonly reachable: boolean;
}

export function createServerPoll(parts: ServerPollParts): ServerPoll {
  let registered = false;
  let reachable = true;
  const refusedUntil = new Map<JobId, number>();

  const cycle = async (signal: AbortSignal) => {
    if (!registered) {
      await parts.client.register(registration(parts), { signal });
      parts.log.info("registered at EMX2", { workerId: parts.worker.workerId, profiles: parts.profiles.length });
      registered = true;
    }
    await refresh(parts, signal);
    await claimNew(parts, refusedUntil, signal);
  };

  const attempt = async (work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) => {
    try {
      await work(signal);
      if (!reachable) parts.log.info("EMX2 answers again");
      reachable = true;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError || error instanceof NetworkError)) throw error;
      const fields = { cause: error.message };
      if (reachable) parts.log.warn("EMX2 can not be asked now; running jobs go on, nothing new is claimed", fields);
      else parts.log.debug("EMX2 still can not be asked", fields);
      reachable = false;
    }
  };

  return {
    intervalMs: parts.intervalMs,
    get reachable() {
      return reachable;
    },
    forgotten() {
      registered = false;
    },
    tick: (signal) => attempt(cycle, signal),
    watch: (signal) => attempt((until) => refresh(parts, until), signal),
  };
}

export function registration(parts: Pick<ServerPollParts, "worker" | "profiles" | "limits">): {
  readonly hostname: string;
  readonly capabilities: readonly Capability[];
} {
  const { profiles, limits, worker } = parts;
  return {
    hostname: worker.hostname,
    // EMX2 counts all of a worker's jobs against each capability, so each gets the worker's own limit; a profile's own
    // limit is held here.
    capabilities: profiles.map(({ processor, profile }) => ({
      processor,
      profile,
      maxConcurrentJobs: limits.maxConcurrentJobs,
    })),
  };
}

/** What EMX2 says of the jobs that are ours: cancelled, deleted, given to another worker? */
async function refresh({ engine, client, clock }: ServerPollParts, signal: AbortSignal): Promise<void> {
  const ours = [...engine.jobs.values()].filter((job) => !job.closed && !job.stop && job.claim.stage === "ours");
  const unseen = new Map(ours.map((job) => [job.id, job]));
  if (ours.length > liveStatuses.length) {
    for (const status of liveStatuses) {
      const { jobs } = await client.listJobs({ status, pageSize, maxJobs: maxListedJobs }, { signal });
      for (const seen of jobs) {
        if (unseen.delete(seen.id)) engine.observe(seen.id, { kind: "ServerSaw", at: clock.wall(), job: strip(seen) });
      }
    }
  }
  for (const job of unseen.values()) {
    const seen = await client.readJob(job.id, { signal, traceId: job.traceId });
    engine.observe(job.id, { kind: "ServerSaw", at: clock.wall(), job: seen ? strip(seen) : null });
  }
}

async function claimNew(parts: ServerPollParts, refusedUntil: Map<JobId, number>, signal: AbortSignal): Promise<void> {
  const { engine, client, clock, log } = parts;
  const active = [...engine.jobs.values()].filter((job) => !job.closed);
  if (active.length >= parts.limits.maxConcurrentJobs) return;
  const reason = await parts.blocked();
  if (reason !== undefined) return log.warn("nothing new is claimed", { reason });
  const now = clock.wall();
  for (const [jobId, until] of refusedUntil) if (until <= now) refusedUntil.delete(jobId);

  const { jobs, warnings } = await client.listJobs({ status: "PENDING", pageSize, maxJobs: maxListedJobs }, { signal });
  for (const warning of warnings) log.warn("a job in EMX2's list can not be read", { cause: warning });
  const offered = new Map<JobId, ServerJob>();
  const offers: Offer[] = [];
  for (const job of jobs) {
    const profile = matching(parts.profiles, job);
    if (!profile || engine.jobs.has(job.id) || refusedUntil.has(job.id)) continue;
    offered.set(job.id, job);
    offers.push({ jobId: job.id, profileKey: profile.key });
  }
  for (const { jobId, profileKey } of admit(offers, active.map(profileKeyOf), parts.limits)) {
    const job = offered.get(jobId);
    if (!job) continue;
    refusedUntil.set(jobId, now + refusedPauseMs);
    take(parts, job, profileKey);
  }
}

function take({ engine, clock, backend, worker, jobDir }: ServerPollParts, job: ServerJob, profileKey: string): void {
  engine.observe(job.id, {
    kind: "Offered",
    at: clock.wall(),
    job: strip(job),
    workerId: worker.workerId,
    profileKey,
    backend,
    dir: jobDir(job.id),
    traceId: clock.uuid(),
  });
}

function matching(profiles: readonly Profile[], job: ServerJob): Profile | undefined {
  return profiles.find(({ processor, profile }) => processor === job.processor && profile === job.profile);
}

function profileKeyOf(job: Job): string {
  return job.profileKey;
}

/** Parameters stay at EMX2 until the script is written: neither journal nor memory holds them. */
function strip({ parametersText: _left, ...job }: ServerJob): Omit<ServerJob, "parametersText"> {
  return job;
}
