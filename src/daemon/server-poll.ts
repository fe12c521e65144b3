/**
 * The EMX2 poll: looks after the jobs that are ours (`server-watch.ts`), registers where that is due, and claims new jobs for
 * which there are slots (`claims.ts`). In this order: a registration that is refused must not leave running jobs unwatched.
 */
import type { Capability } from "../emx2/client.ts";
import { ApiError, NetworkError } from "../errors.ts";
import { type ClaimParts, createClaims } from "./claims.ts";
import type { Loop } from "./loop.ts";
import { isNews } from "./news.ts";
import { createWatch, type WatchParts } from "./server-watch.ts";

interface ServerPollParts extends WatchParts, ClaimParts {
  readonly intervalMs: number;
  readonly worker: { readonly workerId: string; readonly hostname: string };
}

export interface ServerPoll extends Loop {
  readonly registered: boolean;
  /** EMX2 has forgotten this worker: register before anything else. */
  forgotten(): void;
  /** Looks after the jobs that are ours, and claims nothing. */
  watch(signal: AbortSignal): Promise<void>;
  /** False since the last tick could not be completed. */
  readonly reachable: boolean;
}

export function createServerPoll(parts: ServerPollParts): ServerPoll {
  let registered = false;
  /** Cycles in a row that failed. */
  let failures = 0;
  const watch = createWatch(parts);
  const claim = createClaims(parts);

  const cycle = async (signal: AbortSignal) => {
    await watch(signal);
    if (!registered) {
      await parts.client.register(registration(parts), { signal });
      parts.log.info("registered at EMX2", { workerId: parts.worker.workerId, profiles: parts.profiles.length });
      registered = true;
    }
    await claim(signal);
  };

  const attempt = async (work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) => {
    try {
      await work(signal);
      if (failures > 0) parts.log.info("EMX2 answers again");
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError || error instanceof NetworkError)) throw error;
      failures += 1;
      const fields = { cause: error.message, failures };
      if (isNews(failures))
        parts.log.warn("EMX2 can not be asked now; running jobs go on, nothing new is claimed", fields);
      else parts.log.debug("EMX2 still can not be asked", fields);
    }
  };

  return {
    intervalMs: parts.intervalMs,
    get registered() {
      return registered;
    },
    get reachable() {
      return failures === 0;
    },
    forgotten() {
      registered = false;
    },
    tick: (signal) => attempt(cycle, signal),
    watch: (signal) => attempt(watch, signal),
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
