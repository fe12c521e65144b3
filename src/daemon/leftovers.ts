/**
 * Job directories of a state that was lost, whose jobs EMX2 does not call ours any more: cancelled, deleted, given to another
 * worker or ended before anybody looked, they are in none of its lists, and yet their runs may go on. They are taken in as
 * what they are, so that the ordinary lanes end the run, close the job and remove its directory. It is done once a state.
 */
import type { JobFiles, Owner } from "../artifacts/job-files.ts";
import type { Clock } from "../clock.ts";
import type { Emx2Client } from "../emx2/client.ts";
import { concernsAll } from "../emx2/retry.ts";
import { ApiError, isSystemError } from "../errors.ts";
import { profilesFor } from "../job/admit.ts";
import type { ServerJob } from "../job/job.ts";
import type { BackendName, Profile } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import { isTerminal } from "../job/status.ts";
import type { Journal } from "../journal/journal.ts";
import type { Log } from "../log.ts";
import type { Engine } from "./engine.ts";
import { runOfDirectory } from "./found-run.ts";
import type { Holders } from "./holder.ts";
import { readSurely } from "./server-effects.ts";

export interface LeftoverParts {
  readonly engine: Pick<Engine, "jobs" | "observe">;
  readonly client: Pick<Emx2Client, "readJob">;
  readonly clock: Clock;
  readonly log: Log;
  readonly journal: Pick<Journal, "keep" | "kept">;
  readonly files: Pick<JobFiles, "find" | "takeOver">;
  readonly owner: Owner;
  readonly holders: Pick<Holders, "of">;
  readonly worker: { readonly workerId: string };
  readonly profiles: readonly Profile[];
  readonly backend: BackendName;
  jobDir(jobId: JobId): string;
  /** Of the directories where job directories are made. */
  jobsOnDisk(): Promise<readonly JobId[]>;
}

/** Of those that may be somebody's, in one look. */
const maxJobsALook = 500;

/** The look gives false while there is more to look at. */
export function createLeftovers(parts: LeftoverParts): (signal: AbortSignal) => Promise<boolean> {
  const { engine, journal, log } = parts;
  const seen = new Set<JobId>();
  return async (signal) => {
    if (parts.backend !== "slurm" || journal.kept("leftovers") !== null) return true;
    const onDisk = await parts.jobsOnDisk().catch(unlessStorage);
    if (onDisk === undefined) return false;
    const left = onDisk.filter((id) => !engine.jobs.has(id) && !seen.has(id));
    let failed = 0;
    for (const id of left.slice(0, maxJobsALook)) {
      try {
        await takeIn(parts, id, signal);
        seen.add(id);
      } catch (error) {
        if (error instanceof ApiError ? concernsAll(error) : !isSystemError(error)) throw error;
        failed += 1;
        log.debug("what a lost state has left can not be looked at", { jobId: id, cause: String(error) });
      }
    }
    if (failed > 0 || left.length > maxJobsALook) return false;
    journal.keep("leftovers", "looked for");
    return true;
  };
}

/** Storage that does not answer is not an empty directory. */
function unlessStorage(error: unknown): undefined {
  if (!isSystemError(error)) throw error;
}

async function takeIn(parts: LeftoverParts, id: JobId, signal: AbortSignal): Promise<void> {
  const { engine, client, clock, files, holders, log, owner, worker, backend } = parts;
  const dir = parts.jobDir(id);
  const found = await files.find(dir, owner.uid);
  if (found.is !== "directory" || found.ownership.is !== "state") return;
  // Another state directory's are its own business, or `adoption.ts`'s.
  if (found.ownership.owner.stateDir !== owner.stateDir || holders.of(found.ownership).is !== "gone") return;
  const job = await readSurely({ client, clock }, id, { signal });
  if (job && (job.status === "PENDING" || (job.workerId === worker.workerId && !isTerminal(job.status)))) return;
  // Nothing is to be concluded from what EMX2 says now but that the run has to end.
  const known = { ...unknownJob(id), ...job, status: "CLAIMED" as const, workerId: worker.workerId };
  const run = runOfDirectory({ id, status: "CLAIMED", dir }, found, clock.wall());
  if ("unfit" in run || (await files.takeOver(dir, owner, "directory")).is === "foreign") return;
  const at = clock.wall();
  const [profile] = profilesFor(known, parts.profiles, () => false);
  const { parametersText: _left, ...listed } = known;
  log.warn("a job of a lost state has ended at EMX2: its run is ended, and its directory kept for its time", {
    jobId: id,
    status: job?.status ?? "unknown",
  });
  engine.observe(id, {
    kind: "Adopted",
    at,
    job: listed,
    workerId: worker.workerId,
    profileKey: profile?.key ?? `${known.processor}/${known.profile ?? "*"}`,
    backend,
    dir,
    traceId: clock.uuid(),
    claimedAt: Math.min(at, found.since),
    run,
  });
  const { parametersText: _none, ...now } = job ?? known;
  engine.observe(id, { kind: "ServerSaw", at, job: job === null ? null : now });
}

function unknownJob(id: JobId): ServerJob {
  return {
    id,
    processor: "unknown",
    profile: null,
    status: "CLAIMED",
    workerId: null,
    submitUser: null,
    inputs: [],
    timeoutSeconds: null,
    parametersText: "{}",
  };
}
