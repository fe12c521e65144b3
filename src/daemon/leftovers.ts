/**
 * Job directories of a state that was lost, whose jobs EMX2 does not call ours any more: cancelled, deleted, given to another
 * worker or ended before anybody looked, they are in none of its lists, and yet their runs may go on. They are taken in as
 * what they are, so that the ordinary lanes end the run, close the job and remove its directory. It is done once a state.
 */
import { join } from "node:path";
import type { FoundDirectory } from "../artifacts/found.ts";
import type { JobFiles, Owner } from "../artifacts/job-files.ts";
import { logsDirectory } from "../artifacts/posix-output.ts";
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
import { createLoss } from "./loss.ts";
import { staying } from "./run-effects.ts";
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
  /** How long runs go on while EMX2 knows none of several; null: for ever. */
  readonly unknownJobsWaitMs: number | null;
  jobDir(jobId: JobId): string;
  /** Of the directories where job directories are made. */
  jobsOnDisk(): Promise<readonly JobId[]>;
}

/** Of those that may be somebody's, in one look. */
const maxJobsALook = 500;
/** What EMX2 does not know is asked for twice, with a pause between. */
const looksAtOnce = 16;
/** The server poll waits for a look, and storage that hangs takes its whole time for each directory. */
const maxLookMs = 30_000;

/** The look gives false while there is more to look at. */
export function createLeftovers(parts: LeftoverParts): (signal: AbortSignal) => Promise<boolean> {
  const { clock, engine, journal, log } = parts;
  const seen = new Set<JobId>();
  const putOff = new Set<JobId>();
  const loss = createLoss(parts, "unknown-leftovers");

  const look = async (id: JobId, signal: AbortSignal): Promise<Leftover | "none" | "later"> => {
    try {
      return await lookAt(parts, id, signal);
    } catch (error) {
      throwUnlessOne(error);
      log.debug("what a lost state has left can not be looked at", { jobId: id, cause: String(error) });
      return "later";
    }
  };

  /** False: its storage does not answer. */
  const take = async (leftover: Leftover): Promise<boolean> => {
    try {
      await takeIn(parts, leftover);
      return true;
    } catch (error) {
      throwUnlessOne(error);
      return false;
    }
  };

  return async (signal) => {
    if (parts.backend !== "slurm" || journal.kept("leftovers") !== null) return true;
    const onDisk = await parts.jobsOnDisk().catch(unlessStorage);
    if (onDisk === undefined) return false;
    const all = onDisk.filter((id) => !engine.jobs.has(id) && !seen.has(id));
    const inTurn = all.toSorted((a, b) => Number(putOff.has(a)) - Number(putOff.has(b)));
    const endsAt = clock.mono() + maxLookMs;
    const leftovers: Leftover[] = [];
    let isDone = true;
    let from = 0;
    for (; from < inTurn.length && from < maxJobsALook && clock.mono() < endsAt; from += looksAtOnce) {
      const ids = inTurn.slice(from, from + looksAtOnce);
      for (const [index, found] of (await Promise.all(ids.map((id) => look(id, signal)))).entries()) {
        const id = ids[index] ?? "";
        putOff.delete(id);
        if (found === "later") putOff.add(id);
        else if (found === "none") seen.add(id);
        else leftovers.push(found);
      }
    }
    if (putOff.size > 0 || from < inTurn.length) isDone = false;
    const idsWhere = (isKnown: boolean) =>
      leftovers.filter(({ job }) => (job !== null) === isKnown).map(({ id }) => id);
    const told = { unknown: new Set(idsWhere(false)), known: new Set([...engine.jobs.keys(), ...idsWhere(true)]) };
    const waits = loss.isWaited(told, (id) => all.includes(id));
    for (const leftover of leftovers) {
      const { id, job } = leftover;
      if (job === null ? !waits && (await take(leftover)) : !isOver(parts, job) || (await take(leftover))) seen.add(id);
      else isDone = false;
    }
    if (isDone) journal.keep("leftovers", "looked for");
    return isDone;
  };
}

/** A directory of a lost state, and what EMX2 says of its job; null: it does not know it. */
interface Leftover {
  readonly id: JobId;
  readonly dir: string;
  readonly found: FoundDirectory;
  readonly job: ServerJob | null;
}

/** One job that EMX2 or its storage can not show must not hide the others. */
function throwUnlessOne(error: unknown): void {
  if (error instanceof ApiError ? concernsAll(error) : !isSystemError(error)) throw error;
}

/** Storage that does not answer is not an empty directory. */
function unlessStorage(error: unknown): undefined {
  if (!isSystemError(error)) throw error;
}

async function lookAt(parts: LeftoverParts, id: JobId, signal: AbortSignal): Promise<Leftover | "none"> {
  const { client, clock, files, holders, owner } = parts;
  const dir = parts.jobDir(id);
  const found = await files.find(dir, owner.uid);
  if (found.is !== "directory" || found.ownership.is !== "state") return "none";
  // Another state directory's are its own business, or `adoption.ts`'s.
  if (found.ownership.owner.stateDir !== owner.stateDir) return "none";
  const holder = holders.of(found.ownership).is;
  // Ours already: a crash came between taking it and recording its job.
  if (holder !== "gone" && holder !== "ourselves") return "none";
  return { id, dir, found, job: await readSurely({ client, clock }, id, { signal }) };
}

/** Not so: it is to be claimed, or to be carried on by `adoption.ts`. */
function isOver({ worker }: LeftoverParts, { status, workerId }: ServerJob): boolean {
  return status !== "PENDING" && (workerId !== worker.workerId || isTerminal(status));
}

async function takeIn(parts: LeftoverParts, { id, dir, found, job }: Leftover): Promise<void> {
  const { engine, clock, files, log, owner, worker, backend } = parts;
  // Nothing is to be concluded from what EMX2 says now but that the run has to end; on its way there nothing is reported.
  const known = { ...unknownJob(id), ...job, status: "STARTED" as const, workerId: worker.workerId };
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
    ...(run.stage === "none" ? {} : placesOf({ id, dir }, found, profile)),
  });
  const { parametersText: _none, ...now } = job ?? known;
  engine.observe(id, { kind: "ServerSaw", at, job: job === null ? null : now });
}

/** What stays where it is. Where nobody can tell any more everything does: it may be in an artifact, and leaves nowhere. */
function placesOf(job: { readonly id: JobId; readonly dir: string }, found: FoundDirectory, profile?: Profile) {
  if (!profile) return { inPlace: { outputs: true, logs: join(job.dir, logsDirectory) } };
  const { posixOutputDir: _elsewhere, ...here } = profile;
  const configured = staying(job, profile);
  const { inPlace, outputBase } = configured.outputBase === found.outputBase ? configured : staying(job, here);
  return { inPlace, ...(outputBase === undefined ? {} : { outputBase }) };
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
