/**
 * What accounting adds to an end that squeue shows: exit code, signal, and who cancelled it. It lags behind squeue, and once
 * it has caught up it says the same for ever: it is asked until it has the same state, and for a few minutes at most.
 */
import type { Clock } from "../clock.ts";
import { type JobId, phaseOf, type RunRef, type SchedulerRow } from "../job/run.ts";

export interface EndDetails {
  /** Whether accounting has yet to be asked about this end. */
  areWanted(run: RunRef, row: SchedulerRow): boolean;
  /** `row` with what is known by now; `accounted`: what accounting has just shown. */
  added(run: RunRef, row: SchedulerRow, accounted?: SchedulerRow): SchedulerRow;
  forgetOthers(runs: readonly RunRef[]): void;
}

/** Slurm's accounting has been seen to be 90 s behind; a slurmdbd that comes back catches up within seconds. */
const longestLagMs = 300_000;

interface Known {
  readonly end: string;
  readonly since: number;
  readonly details?: Partial<SchedulerRow>;
}

export function createEndDetails(clock: Clock): EndDetails {
  const known = new Map<JobId, Known>();

  function of({ jobId }: RunRef, row: SchedulerRow): Known {
    const end = `${row.schedulerId} ${row.state} ${row.submittedAt ?? ""}`;
    const before = known.get(jobId);
    if (before?.end === end) return before;
    const first = { end, since: clock.mono() };
    known.set(jobId, first);
    return first;
  }

  return {
    areWanted(run, row) {
      if (!endedBadly(row)) return false;
      const { since, details } = of(run, row);
      return details === undefined && clock.mono() - since < longestLagMs;
    },

    added(run, row, accounted) {
      if (!endedBadly(row)) return row;
      const before = of(run, row);
      const details = accounted?.state === row.state ? detailsOf(accounted) : before.details;
      if (details !== before.details) known.set(run.jobId, { ...before, ...(details && { details }) });
      return { ...row, ...details };
    },

    forgetOthers(runs) {
      const asked = new Set(runs.map(({ jobId }) => jobId));
      for (const jobId of known.keys()) if (!asked.has(jobId)) known.delete(jobId);
    },
  };
}

function endedBadly({ state }: SchedulerRow): boolean {
  return phaseOf[state] === "ended" && state !== "COMPLETED";
}

function detailsOf({ exitCode, signal, cancelledBy }: SchedulerRow): Partial<SchedulerRow> {
  return {
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(cancelledBy === undefined ? {} : { cancelledBy }),
  };
}
