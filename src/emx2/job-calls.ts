/** The calls about this worker and its jobs. */
import type { ServerJob } from "../job/job.ts";
import { isTerminal } from "../job/status.ts";
import * as bodies from "./bodies.ts";
import type { Emx2Client } from "./client.ts";
import { type Exchange, get, isNotFound, post, unlessUnknown } from "./exchange.ts";
import type { Generations } from "./generation.ts";
import { listJobs } from "./job-list.ts";
import { urlPath } from "./url-path.ts";
import * as wire from "./wire.ts";

type JobCalls = Pick<Emx2Client, "health" | "register" | "heartbeat" | "listJobs" | "readJob" | "claim" | "report">;

export function jobCalls(exchange: Exchange, generations: Generations, workerId: string): JobCalls {
  return {
    async health(call) {
      const health = await exchange.json({ ...get("/health"), anonymous: true }, wire.readHealth, call);
      if (health.generation !== null) generations.learn(health.generation);
      return health;
    },

    async register({ hostname, capabilities }, call) {
      generations.forget();
      const request = post(urlPath("workers", "register"), bodies.writeWorker(workerId, hostname, capabilities));
      await exchange.json(request, wire.readWorker, call);
    },

    async heartbeat(call) {
      const request = post(urlPath("workers", workerId, "heartbeat"));
      return (await unlessUnknown(exchange.json(request, wire.readWorker, call))) === null ? "unknown" : "ok";
    },

    listJobs: (filter, call) => listJobs(exchange, generations, filter, call),

    readJob: (jobId, call) => unlessUnknown(exchange.json(get(urlPath("jobs", jobId)), theJob(jobId), call)),

    claim: (jobId, call) =>
      exchange.json(
        // A second claim is refused with 409 even to the worker that made the first.
        { ...post(urlPath("jobs", jobId, "claim"), bodies.writeClaim(workerId)), repeatable: false },
        theJob(jobId),
        call,
      ),

    async report(jobId, report, call) {
      const body = bodies.writeReport(workerId, report);
      const tell = (verb: string) => exchange.json(post(urlPath("jobs", jobId, verb), body), theJob(jobId), call);
      if (!isTerminal(report.status) || (await generations.present(call)) === "2026-02") {
        await tell("transition");
        return;
      }
      try {
        await tell("complete");
      } catch (error) {
        if (!isNotFound(error, "errors")) throw error;
        // There is no such endpoint in 2026-02, which this server has become.
        generations.forget();
        await tell("transition");
      }
    },
  };
}

function theJob(jobId: string): (text: string) => ServerJob {
  return (text) => {
    const job = wire.readJob(text);
    if (job.id !== jobId) throw new TypeError(`it names another job, ${job.id}`);
    return job;
  };
}
