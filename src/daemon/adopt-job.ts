/**
 * One job that EMX2 calls ours and the journal does not know: it is read again, its directory is looked at, and it is taken
 * in, put off, or left alone. First the directory becomes ours, then the job is recorded: after a crash in between the next
 * look finds a directory that is ours.
 */
import type { Found, FoundDirectory } from "../artifacts/found.ts";
import type { JobFiles, Owner } from "../artifacts/job-files.ts";
import type { Clock } from "../clock.ts";
import type { Emx2Client } from "../emx2/client.ts";
import { profilesFor } from "../job/admit.ts";
import type { JobEvent } from "../job/effect.ts";
import type { Run, ServerJob } from "../job/job.ts";
import type { BackendName, Profile } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import { isTerminal } from "../job/status.ts";
import { parseWorkload } from "../job/workload.ts";
import type { Log } from "../log.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { Engine } from "./engine.ts";
import { refOf, runInSlurm, runOfDirectory, runTakenOver } from "./found-run.ts";
import type { Holders } from "./holder.ts";
import { staying } from "./run-effects.ts";

export interface AdoptingParts {
  readonly engine: Pick<Engine, "observe">;
  readonly client: Emx2Client;
  readonly clock: Clock;
  readonly log: Log;
  readonly files: Pick<JobFiles, "find" | "takeOver">;
  readonly owner: Owner;
  readonly holders: Holders;
  readonly worker: { readonly workerId: string };
  readonly profiles: readonly Profile[];
  readonly backend: BackendName;
  /** The operator knows that nobody else takes care of these jobs. */
  readonly takeOver: boolean;
  schedulerOf(backend: BackendName): Pick<Scheduler, "find">;
  jobDir(jobId: JobId): string;
}

/** `later`: it could not be told now, but can `until` has come. `left alone`: `next` is what the operator can do. */
export type Verdict =
  | { readonly is: "adopted"; readonly run: Run["stage"] }
  | { readonly is: "not ours any more" }
  /** Left alone once, and no directory has come up since: Slurm is not asked each time. */
  | { readonly is: "as before" }
  | { readonly is: "later"; readonly why: string; readonly until?: Promise<void> }
  | LeftAlone;

interface LeftAlone {
  readonly is: "left alone";
  readonly why: string;
  readonly next: string;
}

/** With what a job is taken in. `profile`: as it was for the script, as far as places go. */
type Plan =
  | { readonly is: "carry on"; readonly run: Run; readonly since?: number; readonly profile: Profile }
  | Exclude<Verdict, { is: "adopted" }>;

const takeOverKnowing = "once nobody else takes care of it: run --take-over";

/** `seen`: it was left alone before. */
export async function adopt(parts: AdoptingParts, jobId: JobId, seen: boolean, signal: AbortSignal): Promise<Verdict> {
  const { client, worker, clock, files, owner, jobDir } = parts;
  const job = await client.readJob(jobId, { signal });
  if (job === null || job.workerId !== worker.workerId || isTerminal(job.status) || job.status === "PENDING")
    return { is: "not ours any more" };
  const [profile] = profilesFor(job, parts.profiles, () => false);
  if (parts.backend !== "slurm")
    return leftAlone(`runs of backend ${parts.backend} are not taken up again`, "cancel it at EMX2");
  if (!profile) {
    const pair = `${job.processor}/${job.profile ?? "*"}`;
    return leftAlone(`the configuration has no profile for ${pair}`, "put it back, or cancel the job at EMX2");
  }
  const dir = jobDir(jobId);
  const found = await files.find(dir, owner.uid);
  if (seen && !parts.takeOver && found.is === "nothing") return { is: "as before" };
  const plan = await planFor(parts, { job, dir, profile }, found, signal);
  if (plan.is !== "carry on") return plan;
  if (found.is === "bare" || found.is === "directory") {
    const taken = await files.takeOver(dir, owner, found.is);
    if (taken.is === "foreign")
      return leftAlone(`its directory was just taken by ${taken.owner}`, "end one of the two");
  }
  const { parametersText, ...listed } = job;
  const parsed = parseWorkload(parametersText, profile.allowedEnvironment, "run");
  const now = clock.wall();
  const event: JobEvent = {
    kind: "Adopted",
    at: now,
    job: listed,
    workerId: worker.workerId,
    profileKey: profile.key,
    backend: parts.backend,
    dir,
    traceId: clock.uuid(),
    claimedAt: Math.min(now, plan.since ?? now),
    run: plan.run,
    ...(parsed.is === "parsed" ? { parametersHash: parsed.parametersHash } : {}),
    ...(plan.run.stage === "none" ? {} : placesOf({ id: jobId, dir }, plan.profile)),
  };
  parts.engine.observe(jobId, event);
  parts.log.warn("a job that this state did not know is carried on", {
    jobId,
    status: job.status,
    run: plan.run.stage,
  });
  return { is: "adopted", run: plan.run.stage };
}

interface Candidate {
  readonly job: ServerJob;
  readonly dir: string;
  readonly profile: Profile;
}

async function planFor(parts: AdoptingParts, candidate: Candidate, found: Found, signal: AbortSignal): Promise<Plan> {
  switch (found.is) {
    case "stranger":
      return leftAlone(`${candidate.dir} ${found.why}`, "move it away, or cancel the job at EMX2");
    case "directory":
      return planOfDirectory(parts, candidate, found);
    case "bare":
    case "nothing":
      return planWithout(parts, candidate, found.is === "bare" ? found.since : undefined, signal);
  }
}

function planOfDirectory(
  { clock, holders, takeOver }: AdoptingParts,
  candidate: Candidate,
  found: FoundDirectory,
): Plan {
  const { dir } = candidate;
  const holder = holders.of(found.ownership);
  switch (holder.is) {
    case "being watched":
      return { is: "later", why: "the daemon that has its directory is watched: is it alive?", until: holder.until };
    case "alive":
      return leftAlone(`${dir} belongs to another daemon, which is alive: ${holder.who}`, "end one of the two");
    case "unclear":
      if (!takeOver) return leftAlone(`${dir} has ${holder.why}`, takeOverKnowing);
  }
  const run = runOfDirectory(asUnknown(candidate), found, clock.wall());
  if ("unfit" in run) return leftAlone(`${dir}: ${run.unfit}`, "start with the backend that had it");
  const written = profileOfScript(candidate, found);
  return "is" in written ? written : { is: "carry on", run, since: found.since, profile: written };
}

/** What the script says of places it could have been made to say by the job: believed where the profile says the same. */
function profileOfScript({ job, dir, profile }: Candidate, found: FoundDirectory): Profile | LeftAlone {
  const { outputBase, scripted } = found;
  const configured = staying({ id: job.id, dir }, profile).outputBase;
  if (outputBase === undefined) return scripted && configured === undefined ? profile : inJobDirectory(profile);
  if (outputBase === configured) return profile;
  const where = typeof outputBase === "string" ? JSON.stringify(outputBase) : `a file that ${outputBase.unusable}`;
  return leftAlone(
    `${dir}/.emx2/output-base names ${where} for its outputs, and posix_output_dir of ${profile.key} does not`,
    "set posix_output_dir to what it was when the job was submitted",
  );
}

/** No directory of ours. What Slurm has under the job's own name may be another daemon's, with another tmp_dir. */
async function planWithout(
  { clock, takeOver, schedulerOf, backend }: AdoptingParts,
  candidate: Candidate,
  bareSince: number | undefined,
  signal: AbortSignal,
): Promise<Plan> {
  const unknown = asUnknown(candidate);
  const inSlurm = await schedulerOf(backend).find(refOf(unknown, clock.wall()), signal);
  if (inSlurm.is === "unavailable") return { is: "later", why: inSlurm.cause };
  if (takeOver) {
    const now = clock.wall();
    const run =
      inSlurm.is === "found" ? runInSlurm(unknown, inSlurm.schedulerId, now) : runTakenOver(unknown, bareSince, now);
    return {
      is: "carry on",
      run,
      ...(bareSince === undefined ? {} : { since: bareSince }),
      profile: inJobDirectory(candidate.profile),
    };
  }
  if (inSlurm.is === "found")
    return leftAlone(
      `Slurm knows it as job ${inSlurm.schedulerId}, but there is no ${candidate.dir}`,
      "set tmp_dir to what it was when the job was submitted",
    );
  return bareSince === undefined
    ? leftAlone(
        "neither this state, nor Slurm, nor a job directory knows it: is the same worker_id configured on another cluster?",
        takeOverKnowing,
      )
    : leftAlone(`${candidate.dir} was made by another program`, takeOverKnowing);
}

function asUnknown({ job: { id, status, slurmJobId }, dir }: Candidate) {
  return { id, status, dir, ...(slurmJobId === undefined ? {} : { slurmJobId }) };
}

/** Where what the run leaves is to be found, and what of it stays there. */
function placesOf(job: { readonly id: JobId; readonly dir: string }, profile: Profile) {
  const { inPlace, outputBase } = staying(job, profile);
  return { inPlace, ...(outputBase === undefined ? {} : { outputBase }) };
}

function inJobDirectory({ posixOutputDir: _elsewhere, ...profile }: Profile): Profile {
  return profile;
}

function leftAlone(why: string, next: string): LeftAlone {
  return { is: "left alone", why, next };
}
