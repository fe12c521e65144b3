/**
 * What moves at the moment, counted as its bytes pass: for `status`, for the log now and then, and for EMX2, where somebody
 * waits for a result. Nothing depends on it, and nothing of it is kept.
 */
import type { Clock } from "../clock.ts";
import { movementActs } from "../job/acts.ts";
import type { FileRow } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
import type { Movement } from "../journal/overview.ts";
import type { Log } from "../log.ts";
import type { Engine } from "./engine.ts";
import type { Loop } from "./loop.ts";

export interface Moving {
  /** Of this file so many bytes have passed by now; an attempt that is made anew begins at none. */
  bytes(row: FileRow, passed: number): void;
  arrived(row: FileRow): void;
  end(): void;
}

export class Movements {
  readonly #now = new Map<JobId, Map<Movement["lane"], () => Movement>>();

  /** A group of files begins to move; a lane has one at a time. */
  begin(job: Job, lane: Movement["lane"]): Moving {
    const state = job[lane];
    const { next = 0, total = 0, bytes = 0, movedBytes = 0 } = "next" in state ? state : {};
    const passed = new Map<number, number>();
    let arrived = 0;
    const lanes = this.#now.get(job.id) ?? new Map<Movement["lane"], () => Movement>();
    this.#now.set(job.id, lanes);
    lanes.set(lane, () => ({
      lane,
      files: next + arrived,
      ofFiles: total,
      bytes: [...passed.values()].reduce((sum, part) => sum + part, movedBytes),
      ofBytes: bytes,
    }));
    return {
      bytes: (row, count) => passed.set(row.index, count),
      arrived(row) {
        passed.set(row.index, row.bytes);
        arrived += 1;
      },
      end: () => {
        lanes.delete(lane);
        if (lanes.size === 0) this.#now.delete(job.id);
      },
    };
  }

  /** Of each job one: its outputs rather than logs that EMX2 fails to take. */
  now(): ReadonlyMap<JobId, Movement> {
    const movements = new Map<JobId, Movement>();
    for (const [jobId, lanes] of this.#now) {
      const count = lanes.get("outputs") ?? lanes.values().next().value;
      if (count) movements.set(jobId, count());
    }
    return movements;
  }
}

/** With the jitter of loops a line about one job never follows another within 10 s. */
const intervalMs = 12_000;
/** EMX2 keeps a row of each report. */
const reportIntervalMs = 60_000;

interface NewsParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly engine: Pick<Engine, "observe">;
  readonly movements: Pick<Movements, "now">;
  /** `status` has something new to show. */
  onNews(): void;
}

/** What is still on its way since the last look is told of: most files have long arrived by then. */
export function createMovementNews({ clock, log, engine, movements, onNews }: NewsParts): Loop {
  let before: ReadonlyMap<JobId, Movement> = new Map();
  let lookedAt = clock.mono();
  const reportedAt = new Map<JobId, number>();
  return {
    intervalMs,
    async tick() {
      const now = movements.now();
      const at = clock.mono();
      for (const [jobId, movement] of now) {
        const last = before.get(jobId);
        if (last?.lane !== movement.lane) continue;
        const { lane, files, ofFiles, bytes, ofBytes } = movement;
        const perSecond = Math.max(0, Math.round(((bytes - last.bytes) * 1_000) / Math.max(1, at - lookedAt)));
        log.info(movementActs[lane], {
          jobId,
          files: `${files}/${ofFiles}`,
          bytes: `${bytes}/${ofBytes}`,
          bytesPerSecond: perSecond,
        });
        if (lane === "inputs" || at - (reportedAt.get(jobId) ?? Number.NEGATIVE_INFINITY) < reportIntervalMs) continue;
        reportedAt.set(jobId, at);
        const progress = { phase: movementActs[lane], fraction: fractionOf(movement) };
        engine.observe(jobId, { kind: "Progressed", at: clock.wall(), progress });
      }
      // Between two groups nothing of a job moves: that alone is no reason to report it anew.
      for (const [jobId, last] of reportedAt) if (at - last >= reportIntervalMs) reportedAt.delete(jobId);
      if (now.size > 0) onNews();
      before = now;
      lookedAt = at;
    },
  };
}

/** In whole percents: it moves on too fast for more. */
function fractionOf({ files, ofFiles, bytes, ofBytes }: Movement): number {
  const part = ofBytes > 0 ? bytes / ofBytes : files / Math.max(1, ofFiles);
  return Math.min(1, Math.floor(part * 100) / 100);
}
