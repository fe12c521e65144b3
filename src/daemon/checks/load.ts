/** What this worker will ask of Slurm's controller and of EMX2, from the configured intervals. */
import type { Config } from "../../config/config.ts";
import { maxAskedProcessors } from "../pending.ts";
import { type CheckItem, ok, warning } from "./item.ts";

const hourMs = 3_600_000;
/** A head node's controller is shared: one question in ten seconds is already much for one user. */
const considerateMs = 10_000;
/** As `server-watch.ts` does: job by job, or a list of each live status. */
const mostLooks = 3;

export function checkLoad({ worker, profiles }: Pick<Config, "worker" | "profiles">): CheckItem[] {
  const { pollIntervalMs, heartbeatIntervalMs, maxConcurrentJobs } = worker;
  const polls = Math.round(hourMs / pollIntervalMs);
  const slurm = `${polls} squeue, and sacct as often at most, while jobs are here; none otherwise; one sbatch a job`;
  const fix = "raise worker.poll_interval_seconds to 10 or more; 30 is usual";
  const processors = new Set(profiles.map(({ processor }) => processor)).size;
  // A processor's list that is too long is followed by one of each of its profiles.
  const lists = processors > maxAskedProcessors ? 1 : processors + profiles.length;
  const requests = polls * (lists + Math.min(mostLooks, maxConcurrentJobs)) + Math.round(hourMs / heartbeatIntervalMs);
  return [
    pollIntervalMs < considerateMs ? warning("Slurm calls an hour", slurm, fix) : ok("Slurm calls an hour", slurm),
    ok("EMX2 requests an hour", `${requests} at most, transfers and reports aside`),
  ];
}
