/** The calls about this worker and its jobs. */
import type { ServerJob } from "../job/job.ts";
import { isTerminal } from "../job/status.ts";
import type { Call, Emx2Client, JobFilter, JobList, ListedJob } from "./client.ts";
import { type Exchange, get, isNotFound, post, unlessUnknown } from "./exchange.ts";
import { cleanText } from "./problem.ts";
import { OversizedAnswer } from "./refusal.ts";
import { query, urlPath } from "./url-path.ts";
import * as wire from "./wire.ts";

type JobCalls = Pick<Emx2Client, "health" | "register" | "heartbeat" | "listJobs" | "readJob" | "claim" | "report">;

const defaultPageSize = 100;
const defaultMaxJobs = 10_000;

export function jobCalls(exchange: Exchange, workerId: string): JobCalls {
  return {
    health: (call) => exchange.json({ ...get("/health"), anonymous: true }, wire.readHealth, call),

    async register({ hostname, capabilities }, call) {
      const request = post(urlPath("workers", "register"), wire.writeWorker(workerId, hostname, capabilities));
      await exchange.json(request, wire.readWorker, call);
    },

    async heartbeat(call) {
      const request = post(urlPath("workers", workerId, "heartbeat"));
      return (await unlessUnknown(exchange.json(request, wire.readWorker, call))) === null ? "unknown" : "ok";
    },

    listJobs: (filter, call) => listJobs(exchange, filter, call),

    readJob: (jobId, call) => unlessUnknown(exchange.json(get(urlPath("jobs", jobId)), theJob(jobId), call)),

    claim: (jobId, call) =>
      exchange.json(
        // A second claim is refused with 409 even to the worker that made the first.
        { ...post(urlPath("jobs", jobId, "claim"), wire.writeClaim(workerId)), repeatable: false },
        theJob(jobId),
        call,
      ),

    async report(jobId, report, call) {
      const body = wire.writeReport(workerId, report);
      const tell = (verb: string) => exchange.json(post(urlPath("jobs", jobId, verb), body), theJob(jobId), call);
      const told = isTerminal(report.status) ? await tell("complete").catch(noSuchEndpoint) : null;
      if (told === null) await tell("transition");
    },
  };
}

/** Jobs come and go between two pages, so one may be missed or come twice; the next poll sees it. */
async function listJobs(exchange: Exchange, filter: JobFilter, call?: Call): Promise<JobList> {
  const { pageSize = defaultPageSize, maxJobs = defaultMaxJobs, ...which } = filter;
  const jobs = new Map<string, ListedJob>();
  const warnings: string[] = [];
  let limit = Math.min(pageSize, maxJobs);
  let total = 0;
  for (let offset = 0; offset < maxJobs; ) {
    const path = `/jobs${query({ ...which, limit: Math.min(limit, maxJobs - offset), offset })}`;
    const page = await exchange.json(get(path), wire.readPage, call).catch((error) => {
      // Jobs with megabytes of parameters must not hide all others.
      if (!(error instanceof OversizedAnswer) || limit === 1) throw error;
      limit = Math.ceil(limit / 2);
    });
    if (!page) continue;
    for (const item of page.items) readInto(jobs, warnings, item);
    offset += page.items.length;
    total = page.total ?? offset;
    // Without a total, only a page that is not full is known to be the last.
    const last = page.total === null ? page.items.length < limit : offset >= page.total;
    if (last || page.items.length === 0) break;
  }
  return { jobs: [...jobs.values()], total, warnings };
}

function readInto(jobs: Map<string, ListedJob>, warnings: string[], item: string): void {
  try {
    const { parametersText: _left, ...job } = wire.readJob(item);
    jobs.set(job.id, job);
  } catch (cause) {
    warnings.push(unreadableJob(item, cause));
  }
}

function unreadableJob(item: string, cause: unknown): string {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return `a job of EMX2's list cannot be read and is left alone: ${cleanText(reason, 200)}; it begins ${cleanText(item.slice(0, 200), 80)}`;
}

function theJob(jobId: string): (text: string) => ServerJob {
  return (text) => {
    const job = wire.readJob(text);
    if (job.id !== jobId) throw new TypeError(`it names another job, ${job.id}`);
    return job;
  };
}

/** 2026-02 has no such endpoint, and its framework says so. */
function noSuchEndpoint(error: unknown): null {
  if (!isNotFound(error, "errors")) throw error;
  return null;
}
