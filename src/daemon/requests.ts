/**
 * Takes what commands ask for (`request-files.ts`): a request becomes an event, and its file goes once that is on disk. A
 * crash in between finds the file again, and the same event changes nothing the second time.
 *
 * The directory is looked into at a fixed pace of its own, since whoever asked waits for it; a local directory costs nothing,
 * and a network file system answers from its cache, so that a request from another host may take it half a minute.
 */
import type { Clock } from "../clock.ts";
import { isSystemError } from "../errors.ts";
import { type Job, keptFor } from "../job/job.ts";
import type { Log } from "../log.ts";
import type { Engine } from "./engine.ts";
import type { Loop } from "./loop.ts";
import { isNews } from "./news.ts";
import { concludeRequest, type FoundRequest, findRequests, type Request } from "./request-files.ts";

interface RequestsParts {
  readonly engine: Pick<Engine, "jobs" | "observe">;
  readonly clock: Clock;
  readonly log: Log;
  readonly stateDir: string;
}

const requestIntervalMs = 2_000;

export function createRequests(parts: RequestsParts): Loop {
  const { clock, log, stateDir } = parts;
  let failures = 0;
  return {
    intervalMs: requestIntervalMs,
    async tick() {
      try {
        let fault: unknown;
        for (const found of await findRequests(stateDir, clock))
          await take(parts, found).catch((error: unknown) => {
            // One that can not be concluded must not stand in the way of those behind it.
            if (!isSystemError(error)) throw error;
            fault = error;
          });
        if (fault !== undefined) throw fault;
        if (failures > 0) log.info("requests can be read again");
        failures = 0;
      } catch (error) {
        if (!isSystemError(error)) throw error;
        failures += 1;
        const fields = { cause: error.message, failures };
        if (isNews(failures)) log.warn("requests of commands can not be read", fields);
        else log.debug("requests of commands still can not be read", fields);
      }
    },
  };
}

async function take(parts: RequestsParts, found: FoundRequest): Promise<void> {
  const { engine, clock, log, stateDir } = parts;
  if (found.is === "unusable") {
    log.warn("a request can not be used and is removed", { request: found.name, cause: found.why });
    return concludeRequest(stateDir, found.name, found.why);
  }
  if (found.request.kind === "clean") return await clean(parts, found.name, found.request.by);
  const { jobId, by } = found.request;
  const verdict = judge(engine.jobs.get(jobId), found.request);
  if (verdict.is === "later") return;
  if (verdict.is === "refused") {
    log.warn("a request is refused", { jobId, request: found.request.kind, by, cause: verdict.why });
    return concludeRequest(stateDir, found.name, verdict.why);
  }
  if (verdict.is === "news") {
    const { kind } = found.request;
    engine.observe(jobId, { kind: kind === "cancel" ? "CancelAsked" : "RetryAsked", at: clock.wall(), by });
    // An engine that is stopping takes nothing any more: the request waits for the next.
    const taken = engine.jobs.get(jobId);
    if (kind === "cancel" ? !taken?.stop : taken && hasFailed(taken)) return;
  }
  return concludeRequest(stateDir, found.name);
}

function hasFailed({ waits }: Job): boolean {
  return Object.values(waits).some(({ failures }) => failures > 0);
}

type Judged = { readonly is: "news" | "known" | "later" } | { readonly is: "refused"; readonly why: string };

/** Every directory that may go: those of jobs that have ended, and whose results are at EMX2. */
async function clean({ engine, clock, stateDir }: RequestsParts, name: string, by: string): Promise<void> {
  const jobs = [...engine.jobs.values()].filter((job) => keptFor(job) === undefined);
  for (const { id } of jobs) engine.observe(id, { kind: "CleanAsked", at: clock.wall(), by });
  // A job whose directory is gone is no longer known. An engine that is stopping takes nothing any more.
  const isTaken = jobs.every(({ id }) => !engine.jobs.has(id) || engine.jobs.get(id)?.cleanAsked);
  if (isTaken) await concludeRequest(stateDir, name);
}

function judge(job: Job | undefined, { kind, jobId }: Exclude<Request, { kind: "clean" }>): Judged {
  if (!job) return { is: "refused", why: `job ${jobId} is not tracked here` };
  if (job.closed) return { is: "refused", why: `job ${jobId} has ended: ${job.closed.why}` };
  if (kind === "retry") {
    if (hasFailed(job)) return { is: "news" };
    return { is: "refused", why: `nothing of job ${jobId} waits after a failure: there is nothing to try again` };
  }
  if (job.claim.stage === "refused") return { is: "refused", why: `job ${jobId} is not ours: ${job.claim.why}` };
  // Whether it is ours at all shows within moments.
  if (job.claim.stage !== "ours") return { is: "later" };
  if (job.stop) return { is: "known" };
  if (job.run.stage !== "ended") return { is: "news" };
  const { state } = job.run.outcome;
  const why = `job ${jobId}: its run has ended (${state}), and its results are on their way; cancel it at EMX2 to stop them`;
  return { is: "refused", why };
}
