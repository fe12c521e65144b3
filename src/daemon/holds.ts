/**
 * Held profiles. A submission that is refused for the operator's options is not the job's fault, nor is an image that a node
 * can not start: three of a profile in a row hold it. Then nothing is claimed for it and its jobs here wait, but for one that
 * is submitted at growing intervals to see whether it still is so; the first submission that is taken ends the hold, or, where
 * images could not be started, the first workload that begins. All of it is kept in the journal, so that neither a restart nor
 * a `once` from cron begins to count again.
 */
import type { Clock } from "../clock.ts";
import { sha256Hex } from "../emx2/signature.ts";
import type { Held } from "../job/decide.ts";
import type { Job } from "../job/job.ts";
import type { BackendName, Profile } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import type { Journal } from "../journal/journal.ts";
import type { Log } from "../log.ts";

export interface HoldsParts {
  readonly clock: Clock;
  readonly journal: Pick<Journal, "keep" | "kept">;
  readonly log: Log;
  /** Every configured profile. */
  readonly profiles: readonly Profile[];
  jobs(): ReadonlyMap<JobId, Job>;
  /** The hold of this profile has begun, moved its probe, or ended: its jobs want another look. */
  changed(profileKey: string): void;
}

/** What is known of a profile whose last submissions were refused. */
export interface Refusals {
  readonly profileKey: string;
  readonly backend: BackendName;
  /** In a row, over all its jobs. */
  readonly count: number;
  readonly cause: string;
  /** The images of the last ones could not be started: Slurm takes their submissions all the same. */
  readonly unstarted?: { readonly jobId: JobId; readonly startedAt: number };
  /** Of the profile as it was then. */
  readonly sha256: string;
  readonly hold?: {
    readonly since: number;
    /** How many probes were refused. */
    readonly probes: number;
    readonly nextProbeAt: number;
  };
}

export interface Holds {
  /** The scheduler refused the job's submission. */
  refused(job: Job, cause: string): void;
  /** The scheduler took the job's submission. */
  taken(job: Job): void;
  /**
   * The job's image could not be started on the node, whatever the job. May be told of one job more than once. `startedAt`: of
   * the run, milliseconds since 1970 by the node's clock.
   */
  unstarted(job: Job, cause: string, startedAt: number): void;
  /** The job's workload has begun. */
  begun(job: Job, startedAt: number): void;
  heldOf(job: Job): Held | undefined;
  /** `one`: the profile is held, and no job that could try it is here. */
  claimable(profileKey: string, backend: BackendName): "all" | "one" | "none";
  /** The profiles that are held. */
  list(): readonly Refusals[];
}

const refusalsToHold = 3;
/** Between a refusal and the next probe; it doubles. */
const firstProbeMs = 300_000;
const longestProbeMs = 3_600_000;

export function createHolds(parts: HoldsParts): Holds {
  const { clock, journal, log, changed } = parts;
  const known = new Map(recall(parts).map((refusals) => [nameOf(refusals), refusals]));

  const set = (name: string, refusals: Refusals | undefined) => {
    if (refusals) known.set(name, refusals);
    else known.delete(name);
    journal.keep("holds", JSON.stringify([...known.values()]));
  };
  const holdOf = (job: Pick<Job, "backend" | "profileKey">) => known.get(nameOf(job))?.hold;
  /** The oldest job that could be submitted; one that is being submitted is not overtaken. */
  const probeOf = (of: Pick<Job, "backend" | "profileKey">) => {
    const ready = [...parts.jobs().values()].filter((job) => isOf(job, of) && isReady(job));
    return ready.find(({ run }) => run.stage === "submitting") ?? ready[0];
  };

  /** Where it is held, and this was its probe, the next one is later. */
  const count = (job: Job, cause: string, isProbe: boolean, more: Pick<Refusals, "unstarted"> = {}) => {
    const { profileKey, backend } = job;
    const { count = 0, hold } = known.get(nameOf(job)) ?? {};
    const refusals = { profileKey, backend, count: count + 1, cause, sha256: digest(parts, profileKey), ...more };
    if (refusals.count < refusalsToHold) return set(nameOf(job), refusals);
    const probes = (hold?.probes ?? 0) + (isProbe ? 1 : 0);
    const now = clock.wall();
    const nextProbeAt = hold && !isProbe ? hold.nextProbeAt : now + pauseMs(probes);
    set(nameOf(job), { ...refusals, hold: { since: hold?.since ?? now, probes, nextProbeAt } });
    const message = more.unstarted ? unstartedMessage : heldMessage;
    if (!hold) log.error(message, { profile: profileKey, refusals: refusals.count, cause });
    changed(profileKey);
  };
  const isDue = (job: Job) => clock.wall() >= (holdOf(job)?.nextProbeAt ?? Number.POSITIVE_INFINITY);
  const end = (job: Job, why: string) => {
    const refusals = known.get(nameOf(job));
    if (!refusals) return;
    set(nameOf(job), undefined);
    if (!refusals.hold) return;
    log.info(`${why}: the profile is no longer held`, { profile: job.profileKey, refusals: refusals.count });
    changed(job.profileKey);
  };

  return {
    // Those that were under way when the hold began are no probes.
    refused: (job, cause) => count(job, cause, isDue(job)),

    taken(job) {
      const refusals = known.get(nameOf(job));
      if (!refusals?.unstarted) return end(job, "a submission was taken");
      const { hold } = refusals;
      if (!hold || !isDue(job)) return;
      // Whether its workload begins will be seen; until then, and unless it takes very long, it is the only one.
      const probes = hold.probes + 1;
      set(nameOf(job), { ...refusals, hold: { ...hold, probes, nextProbeAt: clock.wall() + pauseMs(probes) } });
      changed(job.profileKey);
    },

    unstarted(job, cause, startedAt) {
      if (known.get(nameOf(job))?.unstarted?.jobId !== job.id)
        count(job, cause, false, { unstarted: { jobId: job.id, startedAt } });
    },

    begun(job, startedAt) {
      const { unstarted } = known.get(nameOf(job)) ?? {};
      // One that was started before says nothing of what goes wrong since.
      if (unstarted && startedAt >= unstarted.startedAt) end(job, "a workload has begun");
    },

    heldOf(job) {
      const hold = holdOf(job);
      if (!hold) return undefined;
      const { cause = "" } = known.get(nameOf(job)) ?? {};
      const now = clock.wall();
      const probe = now >= hold.nextProbeAt && probeOf(job)?.id === job.id;
      // While another job is the probe, this one looks again when there may be another to choose.
      const nextProbeAt = probe || now < hold.nextProbeAt ? hold.nextProbeAt : now + firstProbeMs;
      return { since: hold.since, cause, probe, nextProbeAt };
    },

    claimable(profileKey, backend) {
      const hold = holdOf({ profileKey, backend });
      if (!hold) return "all";
      if (clock.wall() < hold.nextProbeAt) return "none";
      const isHere = (job: Job) => isOf(job, { profileKey, backend }) && isOnItsWay(job);
      return [...parts.jobs().values()].some(isHere) ? "none" : "one";
    },

    list: () => [...known.values()].filter(({ hold }) => hold !== undefined),
  };
}

const unstartedMessage =
  "the profile is held: its images can not be started, and nothing more is claimed for it. Mend what the cause names, and see it with `try`; one job tries again every few minutes";
const heldMessage =
  "the profile is held: its submissions are refused, and nothing more is claimed for it. Mend its options or what they name, and restart; one job tries again every few minutes";

function pauseMs(probes: number): number {
  return Math.min(longestProbeMs, firstProbeMs * 2 ** probes);
}

/** A job stays with its backend, and what Slurm refuses says nothing of another. */
function nameOf({ backend, profileKey }: Pick<Job, "backend" | "profileKey">): string {
  return `${backend} ${profileKey}`;
}

function isOf(job: Job, { backend, profileKey }: Pick<Job, "backend" | "profileKey">): boolean {
  return job.backend === backend && job.profileKey === profileKey;
}

/** On its way to its submission, or in it. */
function isOnItsWay({ closed, stop, claim, run }: Job): boolean {
  if (closed || stop || claim.stage === "refused") return false;
  return run.stage === "none" || run.stage === "written" || run.stage === "submitting";
}

function isReady(job: Job): boolean {
  return isOnItsWay(job) && job.run.stage !== "none";
}

/** A profile that is gone is forgotten; one that was changed may be mended, and is tried at once. */
function recall({ journal, clock, profiles }: HoldsParts): Refusals[] {
  const stored = JSON.parse(journal.kept("holds") ?? "[]") as readonly Refusals[];
  const now = clock.wall();
  return stored
    .filter(({ profileKey }) => profiles.some(({ key }) => key === profileKey))
    .flatMap((refusals) => {
      const { profileKey, sha256, hold } = refusals;
      const isSame = digest({ profiles }, profileKey) === sha256;
      if (!hold) return isSame ? [refusals] : [];
      // Written by a clock that was ahead of this one: no pause is longer than the longest.
      const nextProbeAt = isSame ? Math.min(hold.nextProbeAt, now + longestProbeMs) : now;
      const since = isSame ? hold.since : now;
      return [{ ...refusals, hold: { ...hold, since, nextProbeAt } }];
    });
}

function digest({ profiles }: Pick<HoldsParts, "profiles">, profileKey: string): string {
  return sha256Hex(JSON.stringify(profiles.find(({ key }) => key === profileKey) ?? null));
}
