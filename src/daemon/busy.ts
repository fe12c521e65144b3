/**
 * Slurm takes no more for now: a limit on how many jobs a user or an account may have, a partition that is closed, a queue
 * that is full. It says so of one submission and means them all: until the pause is over the others with the same options
 * wait, or all others, instead of asking one by one.
 */
import type { Clock } from "../clock.ts";
import type { Held } from "../job/decide.ts";
import type { Job } from "../job/job.ts";
import type { Full } from "../scheduler/scheduler.ts";

export interface Busy {
  /** The scheduler takes no more; whose submission it said so of waits as long. */
  began(job: Job, cause: string, full: Full): void;
  /** The scheduler took the job's submission. */
  taken(job: Job): void;
  heldOf(job: Job): Held | undefined;
}

/** A limit passes when jobs end, a partition opens when its maintenance does. */
export const busyPauseMs = 60_000;

export function createBusy(clock: Clock): Busy {
  const pauses = new Map<string, { readonly since: number; readonly until: number; readonly cause: string }>();

  return {
    began(job, cause, full) {
      const now = clock.wall();
      for (const [name, { until }] of pauses) if (until <= now) pauses.delete(name);
      pauses.set(nameOf(job, full), { since: now, until: now + busyPauseMs, cause });
    },
    taken(job) {
      pauses.delete(nameOf(job, "profile"));
      pauses.delete(nameOf(job, "everything"));
    },
    heldOf(job) {
      const now = clock.wall();
      const found = [pauses.get(nameOf(job, "everything")), pauses.get(nameOf(job, "profile"))];
      const pause = found.find((of) => of !== undefined && of.until > now);
      return pause && { ...pause, busy: true, probe: false, nextProbeAt: pause.until };
    },
  };
}

function nameOf({ backend, profileKey }: Job, full: Full): string {
  return full === "everything" ? backend : `${backend} ${profileKey}`;
}
