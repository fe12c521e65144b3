/**
 * Which of the jobs that EMX2 offers are claimed now, and by which profile each is run. Never more than there are free
 * slots, over all and per profile; oldest first within a profile; and profiles in turn: the one with the fewest jobs here
 * goes next, so that one profile's backlog can not starve another's.
 */
import type { Profile } from "./profile.ts";
import type { JobId } from "./run.ts";

/** A PENDING job at EMX2 that profiles here can run, the preferred one first. Offers come oldest first. */
export interface Offer {
  readonly jobId: JobId;
  readonly profileKeys: readonly string[];
}

export interface Admission {
  readonly jobId: JobId;
  readonly profileKey: string;
}

export interface Limits {
  readonly maxConcurrentJobs: number;
  /** Per profile key; a profile that is not named has no limit of its own. */
  readonly perProfile: Readonly<Record<string, number | undefined>>;
}

/** `active`: the profile keys of the jobs that occupy a slot, one entry each. */
export function admit(offers: readonly Offer[], active: readonly string[], limits: Limits): readonly Admission[] {
  const occupied = occupancy(active);
  const hasRoom = (key: string) => (occupied.get(key) ?? 0) < (limits.perProfile[key] ?? Number.POSITIVE_INFINITY);
  const waiting = new Set(offers);
  const admitted: Admission[] = [];
  for (let free = limits.maxConcurrentJobs - active.length; free > 0; free -= 1) {
    const next = fairest(waiting, occupied, hasRoom);
    if (!next) break;
    const { offer, profileKey } = next;
    waiting.delete(offer);
    occupied.set(profileKey, (occupied.get(profileKey) ?? 0) + 1);
    admitted.push({ jobId: offer.jobId, profileKey });
  }
  return admitted;
}

/** How many jobs there are of each profile. */
export function occupancy(active: readonly string[]): Map<string, number> {
  const occupied = new Map<string, number>();
  for (const profileKey of active) occupied.set(profileKey, (occupied.get(profileKey) ?? 0) + 1);
  return occupied;
}

/** The oldest offer of the profile that has the fewest jobs; among equals that of the oldest offer. */
function fairest(
  waiting: Iterable<Offer>,
  occupied: ReadonlyMap<string, number>,
  hasRoom: (profileKey: string) => boolean,
): { readonly offer: Offer; readonly profileKey: string } | undefined {
  let best: { readonly offer: Offer; readonly profileKey: string } | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  for (const offer of waiting) {
    const profileKey = offer.profileKeys.find(hasRoom);
    if (profileKey === undefined) continue;
    const count = occupied.get(profileKey) ?? 0;
    if (count >= fewest) continue;
    best = { offer, profileKey };
    fewest = count;
  }
  return best;
}

/**
 * The profiles that are for a job, the preferred one first. One that names none is for any profile of its processor: the
 * one named `default`, else the first in the configuration. A profile that is held gets it only where all of them are.
 */
export function profilesFor(
  job: { readonly processor: string; readonly profile: string | null },
  profiles: readonly Profile[],
  isHeld: (profileKey: string) => boolean,
): readonly Profile[] {
  const known = profiles.filter(({ processor }) => processor === job.processor);
  if (job.profile !== null) return known.filter(({ profile }) => profile === job.profile);
  const free = known.filter(({ key }) => !isHeld(key));
  const usual = ({ profile }: Profile) => (profile === "default" ? 0 : 1);
  return (free.length > 0 ? free : known).toSorted((a, b) => usual(a) - usual(b));
}
