/**
 * The EMX2 poll: looks after the jobs that are ours (`server-watch.ts`), registers where that is due, and claims new jobs for
 * which there are slots (`claims.ts`). In this order: a registration that is refused must not leave running jobs unwatched.
 * While EMX2 is down (`server-reach.ts`) it is the one that finds out, by a single request, whether it is back.
 */
import type { Capability } from "../emx2/client.ts";
import { ApiError, NetworkError } from "../errors.ts";
import type { Profile } from "../job/profile.ts";
import type { NotClaiming } from "../journal/overview.ts";
import type { Adoption } from "./adoption.ts";
import { type ClaimParts, createClaims } from "./claims.ts";
import type { Loop } from "./loop.ts";
import { isNews } from "./news.ts";
import type { ServerReach } from "./server-reach.ts";
import { createWatch, type WatchParts } from "./server-watch.ts";

interface ServerPollParts extends WatchParts, ClaimParts {
  readonly intervalMs: number;
  readonly worker: { readonly workerId: string; readonly hostname: string };
  /** Takes in what EMX2 calls ours and the journal does not know. */
  readonly adoption: Pick<Adoption, "look">;
  readonly reach: ServerReach;
}

export interface ServerPoll extends Loop {
  readonly registered: boolean;
  /** EMX2 has forgotten this worker: register before anything else. */
  forgotten(): void;
  /** EMX2 knows the worker and not what it can run: register, unless that was done for the same reason a while ago. */
  capabilityMissing(): void;
  /** Looks after the jobs that are ours, and claims nothing. */
  watch(signal: AbortSignal): Promise<void>;
  /** False since the last tick could not be completed. */
  readonly reachable: boolean;
  /** Of the last tick, where it could not be completed. */
  readonly cause: string | undefined;
  readonly notClaiming: readonly NotClaiming[];
}

/** A server that goes on refusing claims after a registration is not told more by another. */
const capabilityPauseMs = 600_000;

export function createServerPoll(parts: ServerPollParts): ServerPoll {
  const { client, clock, log, adoption, reach } = parts;
  /** The capabilities that EMX2 was last told; undefined: it has to be told. */
  let registered: string | undefined;
  let missedAt = Number.NEGATIVE_INFINITY;
  /** Cycles in a row that failed. */
  let failures = 0;
  let cause: string | undefined;
  const watch = createWatch(parts);
  const claims = createClaims(parts);

  const register = async (signal: AbortSignal) => {
    const { workerId, hostname } = parts.worker;
    const capabilities = capabilitiesNow(parts);
    const text = JSON.stringify(capabilities);
    if (text === registered) return;
    await client.register({ hostname, capabilities }, { signal });
    const held = parts.profiles.length - capabilities.length;
    log.info("registered at EMX2", { workerId, profiles: capabilities.length, ...(held > 0 ? { held } : {}) });
    registered = text;
  };

  const cycle = async (signal: AbortSignal) => {
    await watch(signal);
    // Before anything is claimed: what is taken in holds its slot.
    await adoption.look(signal);
    await register(signal);
    await claims.claim(signal);
  };

  const probe = async (signal: AbortSignal) => {
    if ((await client.heartbeat({ signal, attempts: 1 })) === "unknown") registered = undefined;
    reach.revived();
  };

  const attempt = async (work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) => {
    if (reach.isDown && !reach.isProbeDue() && !client.hasNewSecret()) return;
    try {
      if (reach.isDown) await probe(signal);
      await work(signal);
      reach.answered("poll");
      failures = 0;
      cause = undefined;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError || error instanceof NetworkError)) throw error;
      failures += 1;
      cause = error.message;
      reach.failed(error, "poll");
      // What concerns everything has been said.
      if (!reach.isDown && isNews(failures))
        log.warn("EMX2 refuses what is asked of it; running jobs go on", { cause: error.message, failures });
    }
  };

  return {
    intervalMs: parts.intervalMs,
    get registered() {
      return registered !== undefined;
    },
    get cause() {
      return cause;
    },
    get notClaiming() {
      return claims.notClaiming;
    },
    get reachable() {
      return failures === 0 && !reach.isDown;
    },
    forgotten() {
      registered = undefined;
    },
    capabilityMissing() {
      if (clock.mono() - missedAt < capabilityPauseMs) return;
      missedAt = clock.mono();
      registered = undefined;
      log.warn("EMX2 does not know any more what this worker can run: it is registered again");
    },
    tick: (signal) => attempt(cycle, signal),
    watch: (signal) => attempt(watch, signal),
  };
}

/** Those of profiles that are held are left out, so that EMX2 does not count on them; the list may be empty. */
function capabilitiesNow({ profiles, holds, backend, limits }: ServerPollParts): readonly Capability[] {
  const able = profiles.filter(({ key }) => holds.claimable(key, backend) !== "none");
  return capabilitiesOf(able, limits.maxConcurrentJobs);
}

/**
 * EMX2 counts all of a worker's jobs against each capability, so each gets the worker's own limit; a profile's own limit is
 * held here.
 */
export function capabilitiesOf(profiles: readonly Profile[], maxConcurrentJobs: number): readonly Capability[] {
  return profiles.map(({ processor, profile }) => ({ processor, profile, maxConcurrentJobs }));
}
