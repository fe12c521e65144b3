/**
 * Reasons for which a job stays PENDING that no waiting clears: what was asked for is more than the limit of one job, does
 * not exist, or may not be used. Whoever set the limit, or the profile, has to act. A closed list, since most reasons
 * (Priority, Resources, limits on how much runs at once, holds, nodes that are down) pass by themselves. PartitionNodeLimit
 * is none of them: Slurm says it of nodes that are down or drained too.
 */

/** As squeue's `%r` prints them. Source: job_reason_string of Slurm 22.05 to 26.05. */
const never: ReadonlySet<string> = new Set([
  "AccountNotAllowed",
  "BadConstraints",
  "DependencyNeverSatisfied",
  "InvalidAccount",
  "InvalidQOS",
  "MaxMemPerLimit",
  "PartitionConfig",
  "PartitionTimeLimit",
  "QOSNotAllowed",
  "ReservationDeleted",
]);

/** Limits on one job alone: `AssocMaxWallDurationPerJobLimit`, `QOSMaxCpuPerJobLimit`, `QOSMinMemory`. */
const limitOnOneJob = /^(Assoc|QOS)(Max\w+Per(Job|Node)(Limit)?|Min\w+)$/;

export function neverRunnable(reason: string | undefined): boolean {
  return reason !== undefined && (never.has(reason) || limitOnOneJob.test(reason));
}
