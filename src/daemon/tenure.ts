/**
 * The time for which the state is ours, and its end: in order, so that the next finds all of it, or, where it is somebody
 * else's by now, at once and without another word to the state, EMX2 or the scheduler.
 */
import type { Fetch } from "../emx2/client.ts";
import { StateError } from "../errors.ts";
import type { Hold } from "../journal/hold.ts";
import type { Journal } from "../journal/journal.ts";
import type { Engine } from "./engine.ts";
import type { Loop } from "./loop.ts";
import type { SnapshotLoop } from "./upkeep.ts";

interface TenureParts {
  readonly hold: Pick<Hold, "release" | "abandon">;
  readonly journal: Pick<Journal, "check" | "flush" | "close" | "abandon">;
  readonly engine: Pick<Engine, "stop">;
  readonly snapshot: Pick<SnapshotLoop, "publish">;
  /** Rejects with whatever else ends the daemon. */
  readonly fault: Promise<never>;
}

export interface Tenure {
  /** Leaves the state when the work is done. Throws StateError (`lost`) where it was no longer ours. */
  whileHeld<T>(work: () => Promise<T>): Promise<T>;
  /** Its ticks ask first whether the state is still ours. */
  guarded(loop: Loop): Loop;
}

/** What is in flight gets this long to end, then it stays in doubt. */
const stopGraceMs = 6_000;

export function createTenure({ hold, journal, engine, snapshot, fault }: TenureParts): Tenure {
  const leave = async () => {
    const loss = lossOf(journal);
    if (loss) {
      await engine.stop(0);
      journal.abandon();
      hold.abandon();
      throw loss;
    }
    try {
      await engine.stop(stopGraceMs);
      journal.check();
      journal.flush();
      await snapshot.publish();
    } finally {
      try {
        journal.close();
      } finally {
        hold.release();
      }
    }
  };
  return {
    async whileHeld(work) {
      try {
        return await Promise.race([work(), fault]);
      } finally {
        await leave();
      }
    },
    guarded: (loop) => ({
      get intervalMs() {
        return loop.intervalMs;
      },
      tick(signal) {
        journal.check();
        return loop.tick(signal);
      },
    }),
  };
}

/**
 * An effect that began before the host was suspended sends nothing more once the state is somebody else's. Timers may come too
 * late to say so: the clock that they go by stood still meanwhile.
 */
export function fetchWhileHeld(journal: Pick<Journal, "check">): Fetch {
  return (url, init) => {
    journal.check();
    return fetch(url, init);
  };
}

function lossOf(journal: Pick<Journal, "check">): StateError | undefined {
  try {
    journal.check();
    return undefined;
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    return error.state.reason === "lost" ? error : undefined;
  }
}
