/**
 * With which run a job goes on that EMX2 calls ours and the journal does not know: a judgement on what EMX2 says, what its
 * directory says, and what Slurm knows under its name. Where a submission may be under way the run is in doubt, and its
 * fence begins now; where one surely was made, none is ever made again.
 */
import type { FoundDirectory } from "../artifacts/found.ts";
import type { Run } from "../job/job.ts";
import { type JobId, type RunRef, runName } from "../job/run.ts";
import type { JobStatus } from "../job/status.ts";

export interface Unknown {
  readonly id: JobId;
  readonly status: JobStatus;
  /** As EMX2 has it. */
  readonly slurmJobId?: string;
  readonly dir: string;
}

/** Nothing of ours waits in a queue, or has been there, for longer. Further back than this accounting is not searched. */
const longestLifeMs = 30 * 24 * 3_600_000;
const slurmId = /^\d{1,18}$/;

/** By a directory that is ours. Slurm need not be asked: its lease is the strongest answer, and else the fence asks. */
export function runOfDirectory(job: Unknown, found: FoundDirectory, now: number): Run | { readonly unfit: string } {
  const { lease, scripted, unreceipted, ownership } = found;
  if (lease?.schedulerId !== undefined) {
    if (!slurmId.test(lease.schedulerId)) return { unfit: `run ${lease.schedulerId} is another backend's` };
    return tracked({ ...refOf(job, now), attempt: lease.attempt, schedulerId: lease.schedulerId }, now);
  }
  const submitted = job.status !== "CLAIMED";
  // Nothing of ours is submitted without a script, nor is there a directory of ours without an owner.
  const python = !scripted && (submitted || unreceipted || ownership.is !== "state");
  if (python)
    return submitted ? tracked({ ...pythonRef(job, now), ...reportedId(job) }, now) : inDoubt(pythonRef(job, now), now);
  const ref = { ...refOf(job, now), ...(lease ? { attempt: lease.attempt } : {}) };
  if (submitted) return tracked({ ...ref, ...reportedId(job) }, now);
  // An attempt that was closed is not run any more: its end was being told.
  if (lease) return tracked(ref, now);
  return scripted ? inDoubt(ref, now) : { stage: "none" };
}

/**
 * The operator has us take it over, and no directory of ours is there. `bareSince`: there is one of the Python daemon's,
 * made then; it submits as `emx2-<first 8 of the job id>`, and what it has submitted is carried on.
 */
export function runTakenOver(job: Unknown, bareSince: number | undefined, now: number): Run {
  const known = job.status !== "CLAIMED";
  if (bareSince === undefined)
    return known ? tracked({ ...refOf(job, now), ...reportedId(job) }, now) : { stage: "none" };
  const ref = { ...pythonRef(job, now), notBefore: bareSince };
  return known ? tracked({ ...ref, ...reportedId(job) }, now) : inDoubt(ref, now);
}

/** Slurm knows it under the job's own name. */
export function runInSlurm(job: Unknown, schedulerId: string, now: number): Run {
  return tracked({ ...refOf(job, now), schedulerId }, now);
}

export function refOf({ id, dir }: Unknown, now: number): RunRef {
  return { jobId: id, attempt: "a1", name: runName(id), dir, notBefore: now - longestLifeMs };
}

function pythonRef(job: Unknown, now: number): RunRef {
  return { ...refOf(job, now), name: runName(job.id.slice(0, 8)), unreceipted: true };
}

/** An id alone is no identity: it is followed together with name and user. */
function reportedId({ slurmJobId }: Unknown): { readonly schedulerId?: string } {
  return slurmJobId !== undefined && slurmId.test(slurmJobId) ? { schedulerId: slurmJobId } : {};
}

function tracked(ref: RunRef, since: number): Run {
  return { stage: "tracked", ref, since };
}

function inDoubt(ref: RunRef, intentAt: number): Run {
  return { stage: "submitting", ref, intentAt, doubt: true };
}
