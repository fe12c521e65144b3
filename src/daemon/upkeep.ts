/** Loops that keep the state in order: the snapshot for readers, and events that are no longer looked back at. */
import type { Clock } from "../clock.ts";
import { StateError } from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import { publishSnapshot } from "../journal/snapshot.ts";
import type { Log } from "../log.ts";
import type { Loop } from "./loop.ts";

const snapshotIntervalMs = 15_000;
/** A snapshot may take this share of the daemon's time, and no more: one that takes a second comes every 20. */
const snapshotShare = 1 / 20;
/** Events are for looking back; jobs themselves are kept as long as they are needed. */
const keepEventsMs = 7 * 24 * 3_600_000;
const pruneIntervalMs = 24 * 3_600_000;

export interface SnapshotLoop extends Loop {
  /** There is something new to publish. */
  changed(): void;
  /** At the end, whenever the last one was. */
  publish(): Promise<void>;
}

export function createSnapshotLoop(parts: { clock: Clock; journal: Journal; log: Log; path: string }): SnapshotLoop {
  const { clock, journal, log, path } = parts;
  let isNew = true;
  let notBefore = 0;
  const publish = async () => {
    if (!isNew) return;
    isNew = false;
    try {
      const tookMs = await publishSnapshot(journal, path, clock);
      notBefore = clock.mono() + tookMs / snapshotShare;
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      // Readers see the last one; the daemon itself needs none.
      log.warn("no snapshot could be published", { cause: error.message });
      isNew = true;
    }
  };
  return {
    intervalMs: snapshotIntervalMs,
    changed() {
      isNew = true;
    },
    publish,
    async tick() {
      if (clock.mono() >= notBefore) await publish();
    },
  };
}

export function createPruneLoop(clock: Clock, journal: Journal): Loop {
  return {
    intervalMs: pruneIntervalMs,
    async tick() {
      journal.prune(clock.wall() - keepEventsMs);
    },
  };
}
