/**
 * Words of a scheduler that no table knows. Nothing is concluded from them: the run waits. That is said once a word, and
 * once a day of a run that shows one for longer than that.
 */
import type { Clock } from "../clock.ts";
import type { JobId, SchedulerRow } from "../job/run.ts";
import type { Log } from "../log.ts";

const dayMs = 86_400_000;

export function createUnknownStates(clock: Clock, log: Log) {
  const words = new Set<string>();
  /** When a run's unknown word was last spoken of. */
  const saidAt = new Map<JobId, number>();
  return (rows: ReadonlyMap<JobId, SchedulerRow | null>): void => {
    for (const jobId of saidAt.keys()) if (rows.get(jobId)?.state !== "UNKNOWN") saidAt.delete(jobId);
    for (const [jobId, row] of rows) {
      if (row?.state !== "UNKNOWN") continue;
      const word = row.word ?? "";
      const fields = { jobId, slurmJobId: row.schedulerId, word };
      const now = clock.mono();
      const before = saidAt.get(jobId);
      if (!words.has(word) && words.size < mostWords) {
        words.add(word);
        log.warn("the scheduler shows a state that is not known here: the job waits until it shows another", fields);
      }
      if (before !== undefined && now >= before + dayMs)
        log.warn("the job has been in a state that is not known here for a day: look at it in Slurm", fields);
      if (before === undefined || now >= before + dayMs) saidAt.set(jobId, now);
    }
  };
}

const mostWords = 100;
