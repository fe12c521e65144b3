/**
 * Claims: which of the jobs that EMX2 has waiting (`pending.ts`) are taken now. What is ours already, was refused a moment
 * ago, or comes from somebody whose jobs a profile does not take is left out; `job/admit.ts` chooses among the others.
 */
import type { Clock } from "../clock.ts";
import type { Emx2Client, ListedJob } from "../emx2/client.ts";
import { admit, type Limits, type Offer, occupancy, profilesFor } from "../job/admit.ts";
import { allowsSubmitter } from "../job/pattern.ts";
import type { BackendName, Profile } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import type { NotClaiming } from "../journal/overview.ts";
import type { Log } from "../log.ts";
import type { Engine } from "./engine.ts";
import type { Holds } from "./holds.ts";
import { readPending } from "./pending.ts";

export interface ClaimParts {
  readonly engine: Pick<Engine, "jobs" | "observe">;
  readonly client: Emx2Client;
  readonly clock: Clock;
  readonly log: Log;
  readonly worker: { readonly workerId: string };
  /** Profiles that this version can run, by which jobs are matched. */
  readonly profiles: readonly Profile[];
  readonly limits: Limits;
  readonly holds: Pick<Holds, "claimable">;
  readonly backend: BackendName;
  jobDir(jobId: JobId): string;
  /** Why nothing new may be claimed now; undefined: it may. */
  blocked(): Promise<string | undefined>;
  /** Profiles for which nothing new may be claimed now, by key, and why. */
  blockedProfiles(): Promise<ReadonlyMap<string, string>>;
  /** Told of what is claimed no more, or again. */
  onNews(): void;
}

/** Of one profile at least, whatever there is room for: those at the head of a list may be ours already, or refused. */
const minListedJobs = 100;
/** A job whose claim EMX2 refused (taken, no capacity) is left alone for this long. */
const refusedPauseMs = 60_000;
/** Of jobs that are left alone, or of their submitters, said at a time. */
const maxTold = 20;

interface Claims {
  claim(signal: AbortSignal): Promise<void>;
  /** As it was found when claims were last thought of. */
  readonly notClaiming: readonly NotClaiming[];
}

export function createClaims(parts: ClaimParts): Claims {
  const { engine, client, clock, log, profiles } = parts;
  const refusedUntil = new Map<JobId, number>();
  const tellBlocked = blockedTeller(log);
  const tellProfiles = changeTeller((reason) => log.warn("nothing new is claimed for a profile", { reason }));
  const tellUnreadable = changeTeller((cause) => log.warn("a job in EMX2's list can not be read", { cause }));
  const tellUnlisted = changeTeller((what) => log.warn("EMX2 can not list the jobs of a profile", { what }));
  const tellTooMany = changeTeller((cause) => log.warn("EMX2 has more jobs waiting than are looked at", { cause }));
  const tellEnded = changeTeller((jobId) =>
    log.warn(
      "EMX2 offers a job that has ended here: was it restored from a backup? It is run anew once its directory is removed (worker.keep_job_dirs)",
      { jobId },
    ),
  );
  const tellForeign = changeTeller((whose) => log.info("jobs are left alone: allowed_submitters", { whose }));
  let notClaiming: readonly NotClaiming[] = [];

  const setNotClaiming = (now: readonly NotClaiming[]) => {
    const before = notClaiming;
    notClaiming = now;
    if (gistOf(now) !== gistOf(before)) parts.onNews();
  };

  /** undefined: nothing may be claimed; else the profiles for which nothing may. */
  const look = async (): Promise<ReadonlyMap<string, string> | undefined> => {
    const cause = await parts.blocked();
    tellBlocked(cause);
    if (cause !== undefined) {
      setNotClaiming([{ cause }]);
      return undefined;
    }
    const shut = await parts.blockedProfiles();
    tellProfiles([...shut].map(([key, reason]) => `${key}: ${withoutFigures(reason)}`));
    setNotClaiming([...shut].map(([profile, cause]) => ({ profile, cause })));
    return shut;
  };

  const claim = async (signal: AbortSignal) => {
    const shut = await look();
    const active = [...engine.jobs.values()].filter((job) => !job.closed).map(({ profileKey }) => profileKey);
    if (shut === undefined || active.length >= parts.limits.maxConcurrentJobs) return;
    const now = clock.wall();
    for (const [jobId, until] of refusedUntil) if (until <= now) refusedUntil.delete(jobId);
    const limits = limitsNow(parts, active, shut);
    const useful = Math.max(minListedJobs, limits.maxConcurrentJobs + refusedUntil.size);
    const found = await readPending(client, withRoom(profiles, active, limits), useful, signal);
    tellUnreadable(found.warnings);
    tellUnlisted(found.unlisted);
    tellTooMany(found.tooMany);
    const fresh = found.jobs.filter(({ id }) => !engine.jobs.has(id) && !refusedUntil.has(id));
    const ended = found.jobs.filter(({ id }) => (engine.jobs.get(id)?.closed?.at ?? now) < now);
    tellEnded(ended.slice(0, maxTold).map(({ id }) => id));
    const { offers, foreign } = offersOf(parts, fresh);
    tellForeign([...foreign].slice(0, maxTold));
    const jobs = new Map(fresh.map((job) => [job.id, job]));
    for (const { jobId, profileKey } of admit(offers, active, limits)) {
      const job = jobs.get(jobId);
      if (!job) continue;
      refusedUntil.set(jobId, now + refusedPauseMs);
      take(parts, job, profileKey);
    }
  };

  return {
    claim,
    get notClaiming() {
      return notClaiming;
    },
  };
}

function gistOf(notClaiming: readonly NotClaiming[]): string {
  return withoutFigures(JSON.stringify(notClaiming));
}

/** A held profile takes nothing, or the one job that tries whether it still is; one that is shut takes nothing. */
function limitsNow(
  { profiles, limits, holds, backend }: ClaimParts,
  active: readonly string[],
  shut: ReadonlyMap<string, string>,
): Limits {
  const occupied = occupancy(active);
  const perProfile = { ...limits.perProfile };
  for (const { key } of profiles) {
    const claimable = shut.has(key) ? "none" : holds.claimable(key, backend);
    if (claimable === "all") continue;
    const most = (occupied.get(key) ?? 0) + (claimable === "one" ? 1 : 0);
    perProfile[key] = Math.min(perProfile[key] ?? Number.POSITIVE_INFINITY, most);
  }
  return { ...limits, perProfile };
}

function withRoom(profiles: readonly Profile[], active: readonly string[], { perProfile }: Limits): readonly Profile[] {
  const occupied = occupancy(active);
  return profiles.filter(({ key }) => (occupied.get(key) ?? 0) < (perProfile[key] ?? Number.POSITIVE_INFINITY));
}

/** `foreign`: whose jobs are not taken, and for which profile. */
function offersOf(
  { profiles, holds, backend }: ClaimParts,
  jobs: readonly ListedJob[],
): { readonly offers: readonly Offer[]; readonly foreign: ReadonlySet<string> } {
  const isHeld = (key: string) => holds.claimable(key, backend) !== "all";
  const offers: Offer[] = [];
  const foreign = new Set<string>();
  for (const job of jobs) {
    const able = profilesFor(job, profiles, isHeld);
    const willing = able.filter(({ allowedSubmitters }) => allowsSubmitter(allowedSubmitters, job.submitUser));
    const profileKeys = willing.map(({ key }) => key);
    if (willing.length > 0) offers.push({ jobId: job.id, profileKeys });
    else for (const { key } of able) foreign.add(`${job.submitUser ?? "nobody"} for ${key}`);
  }
  return { offers, foreign };
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
    const gist = reason && withoutFigures(reason);
    if (gist === before) return;
    before = gist;
    if (reason === undefined) log.info("new jobs are claimed again");
    else log.warn("nothing new is claimed", { reason });
  };
}

function withoutFigures(reason: string): string {
  return reason.replace(/\d+(\.\d+)? GiB/g, "# GiB");
}
