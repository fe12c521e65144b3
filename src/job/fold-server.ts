/**
 * What EMX2 says of a job, against what we think of it. Lists are read while other requests are under way, so that an older
 * status than the one we know is no evidence but a doubt; a job that is read because of a doubt settles it. An EMX2 that was
 * restored from a backup has forgotten what it was told: it is told again, in order.
 */
import { type Job, movedOn, type Report, type ServerJob, type Stop } from "./job.ts";
import { isTerminal, statusRank } from "./status.ts";

type Seen = Omit<ServerJob, "parametersText">;

/** `resolves`: the job was read on purpose (ReadJob), after the doubt arose. null: EMX2 does not know it (404). */
export function seenAtServer(job: Job, seen: Seen | null, at: number, resolves: boolean): Job {
  if (job.claim.stage === "wanted" || job.claim.stage === "refused") return job;
  if (job.claim.stage === "claiming") return resolves || job.claim.doubt ? settleClaim(job, job.claim, seen, at) : job;
  if (movedOn(job)) return resolves ? nothingMoreToSay(job) : job;
  if (seen === null) return stop(job, "server-deleted", at, "EMX2 no longer knows the job");
  if (seen.workerId !== null && seen.workerId !== job.workerId)
    return stop(job, "other-worker", at, `EMX2 has given the job to worker ${seen.workerId}`);
  const report = job.outbox[0];
  if (isTerminal(seen.status)) {
    if (job.announced === seen.status) return resolves ? agreed(job, seen.status) : job;
    const by = seen.status === "CANCELLED" ? "server-cancelled" : "server-ended";
    const why = seen.status === "CANCELLED" ? "cancelled at EMX2" : `EMX2 already says ${seen.status}`;
    return stop({ ...job, server: { status: seen.status, doubt: false } }, by, at, why);
  }
  const forgot = statusRank[seen.status] < statusRank[job.server.status];
  const isNews = forgot && !job.server.doubt && !isTerminal(job.server.status);
  if (!resolves) return isNews ? { ...job, server: { ...job.server, doubt: true } } : job;
  if (!job.server.doubt) return job;
  const server = { status: seen.status, doubt: false };
  // What is to be said follows from the lanes once more (`settle.ts`). Without its claim the job is claimed again first.
  if (forgot) return { ...job, announced: seen.status, outbox: [], server };
  // The report that was refused or lost had arrived after all, or the server is beyond it.
  if (report && statusRank[seen.status] >= statusRank[report.status])
    return { ...taken(job, report, seen.status), server };
  return { ...job, server };
}

/** Whose job is it after a claim whose answer is not known, or that was refused? */
function settleClaim(
  job: Job,
  claim: Extract<Job["claim"], { stage: "claiming" }>,
  seen: Seen | null,
  at: number,
): Job {
  if (seen === null) return refuse(job, "EMX2 no longer knows the job");
  if (seen.status === "CLAIMED" && seen.workerId === job.workerId)
    return { ...claimed(job, seen, at), claim: { stage: "ours", at, byReading: true } };
  if (seen.status === "PENDING" && claim.refusal === undefined) return { ...job, claim: { stage: "wanted" } };
  return refuse(job, claim.refusal ?? `EMX2 says ${seen.status}${seen.workerId ? ` by worker ${seen.workerId}` : ""}`);
}

export function claimed(job: Job, seen: Seen, at: number): Job {
  return {
    ...job,
    claim: { stage: "ours", at },
    server: { status: "CLAIMED", doubt: false },
    inputRefs: seen.inputs,
    ...(seen.unreadable === undefined ? {} : { inputs: { stage: "failed", detail: seen.unreadable } }),
    submitUser: seen.submitUser,
    timeoutSeconds: seen.timeoutSeconds,
  };
}

function refuse(job: Job, why: string): Job {
  return { ...job, claim: { stage: "refused", why } };
}

/** The head of the outbox has reached EMX2. */
export function taken(job: Job, report: Report, status: Job["server"]["status"]): Job {
  return { ...job, outbox: job.outbox.filter((other) => other !== report), server: { status, doubt: false } };
}

/**
 * EMX2 refused a report, having ended the job as we are about to: only the end itself may still be said, once, since it
 * carries what EMX2 does not know.
 */
function agreed(job: Job, status: Job["server"]["status"]): Job {
  if (!job.server.doubt) return job;
  const outbox = job.outbox.slice(1).filter((report) => isTerminal(report.status));
  return { ...job, outbox, server: { status, doubt: false } };
}

/** EMX2 refused the last word on a job that it has ended itself. */
function nothingMoreToSay(job: Job): Job {
  return job.server.doubt ? { ...job, outbox: [], server: { ...job.server, doubt: false } } : job;
}

/**
 * What was still to be said is dropped: EMX2 has moved on and would refuse it. A last word that was not said does not count
 * as said: where EMX2 cancelled, it may yet be repeated with the log's artifact.
 */
function stop(job: Job, by: Stop["by"], at: number, detail: string): Job {
  const unsaid = job.outbox.some((report) => isTerminal(report.status));
  const announced = unsaid ? "STARTED" : job.announced;
  return { ...job, announced, stop: { by, at, detail }, outbox: [], server: { ...job.server, doubt: false } };
}
