/**
 * A job that EMX2 calls ours and the journal does not know, as it is once it was taken in: claimed, with the run that its
 * directory and the scheduler bear out. Inputs that a script was written for are there; uploads begin anew.
 */
import type { JobEvent } from "./effect.ts";
import type { Inputs, Job } from "./job.ts";
import { settle } from "./settle.ts";

type Adopted = Extract<JobEvent, { kind: "Adopted" }>;

export function adopted(event: Adopted): Job {
  const { job, run, at, parametersHash, inPlace, outputBase } = event;
  const taken: Job = {
    id: job.id,
    processor: job.processor,
    serverProfile: job.profile,
    profileKey: event.profileKey,
    backend: event.backend,
    dir: event.dir,
    ...(outputBase === undefined ? {} : { outputBase }),
    ...(inPlace === undefined ? {} : { inPlace }),
    workerId: event.workerId,
    traceId: event.traceId,
    submitUser: job.submitUser,
    inputRefs: job.inputs,
    timeoutSeconds: job.timeoutSeconds,
    ...(parametersHash === undefined ? {} : { parametersHash }),
    offeredAt: event.claimedAt,
    server: { status: job.status, doubt: false },
    claim: { stage: "ours", at: event.claimedAt },
    inputs: inputsOf(event),
    run,
    logs: { stage: "waiting" },
    outputs: { stage: "waiting" },
    outbox: [],
    announced: job.status,
    cleaned: false,
    waits: {},
  };
  return settle(taken, at);
}

function inputsOf({ run, job }: Adopted): Inputs {
  if (run.stage !== "none") return { stage: "ready", total: 0, bytes: 0 };
  return job.unreadable === undefined ? { stage: "unlisted" } : { stage: "failed", detail: job.unreadable };
}
