/**
 * `admit`: which of the jobs that EMX2 offers to claim now. Never more than there are free slots, over all and per profile,
 * oldest first within a profile, and profiles in turn: the one with the fewest jobs here goes next, so that one profile's
 * backlog can not starve another's.
 */
import type { JobId } from "./run.ts";

/** A PENDING job at EMX2 that a profile here can run. Offers come oldest first. */
export interface Offer {
  readonly jobId: JobId;
  readonly profileKey: string;
}

export interface Limits {
  readonly maxConcurrentJobs: number;
  /** Per profile key; a profile that is not named has no limit of its own. */
  readonly perProfile: Readonly<Record<string, number | undefined>>;
}

/** `active`: the profile keys of the jobs that occupy a slot, one entry each. */
export function admit(offers: readonly Offer[], active: readonly string[], limits: Limits): readonly Offer[] {
  const occupied = new Map<string, number>();
  for (const profileKey of active) occupied.set(profileKey, (occupied.get(profileKey) ?? 0) + 1);
  const queues = new Map<string, Offer[]>();
  for (const offer of offers) {
    const queue = queues.get(offer.profileKey);
    if (queue) queue.push(offer);
    else queues.set(offer.profileKey, [offer]);
  }

  const admitted: Offer[] = [];
  let free = limits.maxConcurrentJobs - active.length;
  while (free > 0) {
    const profileKey = nextProfile(queues, occupied, limits);
    const offer = profileKey === undefined ? undefined : queues.get(profileKey)?.shift();
    if (profileKey === undefined || !offer) break;
    occupied.set(profileKey, (occupied.get(profileKey) ?? 0) + 1);
    admitted.push(offer);
    free -= 1;
  }
  return admitted;
}

function nextProfile(
  queues: ReadonlyMap<string, readonly Offer[]>,
  occupied: ReadonlyMap<string, number>,
  limits: Limits,
): string | undefined {
  let best: string | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  for (const [profileKey, queue] of queues) {
    const count = occupied.get(profileKey) ?? 0;
    const limit = limits.perProfile[profileKey] ?? Number.POSITIVE_INFINITY;
    if (queue.length > 0 && count < limit && count < fewest) {
      best = profileKey;
      fewest = count;
    }
  }
  return best;
}
