/** Loops that keep the state in order: the snapshot for readers, and events that are no longer looked back at. */
import type { Clock } from "../clock.ts";
import { StateError } from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import type { Overview } from "../journal/overview.ts";
import { publishSnapshot } from "../journal/snapshot.ts";
import type { Log } from "../log.ts";
import type { Loop } from "./loop.ts";

const snapshotIntervalMs = 5_000;
/** So old it may be while nothing changes: who reads it sees from its age that the daemon lives. */
const longestUnchangedMs = 60_000;
/** A snapshot may take this share of the daemon's time, and no more: one that takes a second comes every 20. */
const snapshotShare = 1 / 20;
/** Events are for looking back; jobs themselves are kept as long as they are needed. */
const keepEventsMs = 7 * 24 * 3_600_000;
/** Of files that no job has used since. */
const keepHashesMs = 90 * 24 * 3_600_000;
const pruneIntervalMs = 24 * 3_600_000;

export interface SnapshotLoop extends Loop {
  /** There is something new to publish. */
  changed(): void;
  /** At the end, whenever the last one was. */
  publish(): Promise<void>;
}

interface SnapshotParts {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly log: Log;
  readonly path: string;
  overview(): Overview;
}

export function createSnapshotLoop(parts: SnapshotParts): SnapshotLoop {
  const { clock, journal, log, path } = parts;
  let isNew = true;
  let notBefore = 0;
  let publishedAt = 0;
  const publish = async () => {
    if (!isNew) return;
    isNew = false;
    try {
      const tookMs = await publishSnapshot(journal, path, clock, parts.overview());
      publishedAt = clock.mono();
      notBefore = publishedAt + tookMs / snapshotShare;
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
      if (clock.mono() >= publishedAt + longestUnchangedMs) isNew = true;
      if (clock.mono() >= notBefore) await publish();
    },
  };
}

export function createPruneLoop(clock: Clock, journal: Journal): Loop {
  return {
    intervalMs: pruneIntervalMs,
    async tick() {
      journal.prune(clock.wall() - keepEventsMs, clock.wall() - keepHashesMs);
    },
  };
}
