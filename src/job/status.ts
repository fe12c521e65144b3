/**
 * EMX2's statuses and the moves that are legal between them, written once: the daemon, the emulator and the tests all
 * read them here. Source: the protocol of both server generations, checked against recorded exchanges.
 */

export const jobStatuses = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED", "FAILED", "CANCELLED"] as const;
export type JobStatus = (typeof jobStatuses)[number];
export type TerminalStatus = "COMPLETED" | "FAILED" | "CANCELLED";

export const jobTransitions: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  PENDING: ["CLAIMED", "CANCELLED"],
  CLAIMED: ["SUBMITTED", "FAILED", "CANCELLED"],
  SUBMITTED: ["STARTED", "FAILED", "CANCELLED"],
  STARTED: ["COMPLETED", "FAILED", "CANCELLED"],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
};

export function isJobStatus(word: string): word is JobStatus {
  return (jobStatuses as readonly string[]).includes(word);
}

export function isTerminal(status: JobStatus): status is TerminalStatus {
  return jobTransitions[status].length === 0;
}

/** How far along a job is: a status is never reported once a later one has been. Terminal statuses share the last rank. */
export const statusRank: Readonly<Record<JobStatus, number>> = {
  PENDING: 0,
  CLAIMED: 1,
  SUBMITTED: 2,
  STARTED: 3,
  COMPLETED: 4,
  FAILED: 4,
  CANCELLED: 4,
};

export const artifactStatuses = ["CREATED", "UPLOADING", "REGISTERED", "COMMITTED", "FAILED"] as const;
export type ArtifactStatus = (typeof artifactStatuses)[number];

export const residences = ["managed", "posix", "s3", "http", "reference"] as const;
export type Residence = (typeof residences)[number];
