/**
 * One job that EMX2 does not know was deleted. An EMX2 that knows none of several was restored from a backup, or is another
 * one: what runs here goes on while somebody puts that right. It is written down, for `once` lives no longer than a cycle.
 */
import type { Clock } from "../clock.ts";
import type { JobId } from "../job/run.ts";
import type { Journal, KeptName } from "../journal/journal.ts";
import type { Log } from "../log.ts";

export interface LossParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: Pick<Journal, "keep" | "kept">;
  /** How long jobs go on while EMX2 knows none of several; null: for ever. */
  readonly unknownJobsWaitMs: number | null;
}

/** What a look has told of jobs that go on here; of those that are in neither it could tell nothing. */
export interface Known {
  readonly unknown: ReadonlySet<JobId>;
  readonly known: ReadonlySet<JobId>;
}

export interface Loss {
  /** Whether those that EMX2 does not know go on for now. `goesOn`: what still does so here. */
  isWaited(told: Known, goesOn: (jobId: JobId) => boolean): boolean;
}

export function createLoss({ clock, log, journal, unknownJobsWaitMs }: LossParts, name: KeptName): Loss {
  let lost = recall();

  function recall(): { readonly sinceMs: number; readonly ids: readonly JobId[] } | undefined {
    const text = journal.kept(name) ?? "";
    if (text === "") return undefined;
    const { at, ids } = JSON.parse(text) as { readonly at: number; readonly ids: readonly JobId[] };
    return { sinceMs: clock.mono() - Math.max(0, clock.wall() - at), ids };
  }

  function begin(ids: readonly JobId[]) {
    journal.keep(name, JSON.stringify({ at: clock.wall(), ids }));
    const waitSeconds = unknownJobsWaitMs === null ? "never stopped" : unknownJobsWaitMs / 1_000;
    log.error(
      "EMX2 knows none of the jobs that run here: was it restored, or is it another? They go on for emx2.unknown_jobs_wait, and are stopped if it does not know them then",
      { jobs: ids.length, waitSeconds },
    );
    return { sinceMs: clock.mono(), ids };
  }

  return {
    isWaited({ unknown, known }, goesOn) {
      // What has come since then says nothing about them.
      if (lost && (lost.ids.some((id) => known.has(id)) || !lost.ids.some(goesOn))) {
        log.info("EMX2 knows jobs of ours again");
        journal.keep(name, "");
        lost = undefined;
      }
      if (!lost && (unknown.size < 2 || known.size > 0)) return false;
      lost ??= begin([...unknown]);
      return unknownJobsWaitMs === null || clock.mono() - lost.sinceMs < unknownJobsWaitMs;
    },
  };
}
