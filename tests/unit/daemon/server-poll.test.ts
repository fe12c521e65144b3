/** The EMX2 poll against the emulator over a real socket: what it asks, what it makes of the answers, and what it says. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { createServerPoll, type ServerPoll } from "../../../src/daemon/server-poll.ts";
import { type ServedEmulator, serve } from "../../../src/emulator/serve.ts";
import { addJob, addWorkerCredential } from "../../../src/emulator/submitter.ts";
import type { JobEvent } from "../../../src/job/effect.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job } from "../../../src/job/job.ts";
import type { Profile } from "../../../src/job/profile.ts";
import { createLog } from "../../../src/log.ts";
import { clientOf, hastyClock, secret } from "../emx2/raw-server.ts";
import { began, ended, offered, ok, seen as viewOf } from "../job/story.ts";

const never = new AbortController().signal;
const page404 = () =>
  new Response("<html><h1>404 Not Found</h1>", { status: 404, headers: { "content-type": "text/html" } });

let server: ServedEmulator;
let requests: string[];
let around: (target: string) => Promise<Response> | Response | undefined;
let jobs: Map<string, Job>;
let seen: { readonly id: string; readonly event: JobEvent }[];
let lines: string[];
let aheadMs: number;
let blocked: string | undefined;
const clock: Clock = { ...hastyClock, mono: () => systemClock.mono() + aheadMs };

beforeEach(async () => {
  [requests, seen, lines, jobs, aheadMs, blocked] = [[], [], [], new Map(), 0, undefined];
  around = () => undefined;
  server = await serve({
    clock: systemClock,
    around: async (request, answer) => {
      const target = `${request.method} ${request.url.replace(/^.*\/api\/hpc/, "")}`;
      requests.push(target);
      return (await around(target)) ?? answer();
    },
  });
  addWorkerCredential(server.state, "w1", secret);
});
afterEach(() => server.stop());

const profileOf = (processor: string): Profile => ({
  key: `${processor}/default`,
  processor,
  profile: "default",
  workload: { kind: "host", entrypoint: "/bin/true" },
  ...{ sbatchArgs: [], prelude: [], allowedEnvironment: [], outputResidence: "managed", logResidence: "managed" },
});

function pollOf(processors: readonly string[], maxConcurrentJobs = 10): ServerPoll {
  return createServerPoll({
    engine: {
      jobs,
      observe(id, event) {
        seen.push({ id, event });
        const job = fold(jobs.get(id), event);
        if (job) jobs.set(id, job);
      },
    },
    client: clientOf(server, { clock }),
    clock,
    log: createLog({ clock, level: "info", json: false, color: false, write: (line) => void lines.push(line) }),
    intervalMs: 1_000,
    worker: { workerId: "w1", hostname: "head" },
    profiles: processors.map(profileOf),
    limits: { maxConcurrentJobs, perProfile: {} },
    backend: "slurm",
    jobDir: (id) => `/jobs/${id}`,
    blocked: async () => blocked,
  });
}

/** A job that this worker has claimed; EMX2 knows it unless it is `forgotten`. */
function ours(forgotten = false): string {
  const id = addJob(server.state, { processor: "p", profile: "default" });
  const stored = server.state.jobs.get(id);
  if (stored) Object.assign(stored, { status: "CLAIMED", workerId: "w1" });
  if (forgotten) server.state.jobs.delete(id);
  const view = viewOf({ id, processor: "p", profile: "default", workerId: "w1" });
  const claim = { kind: "ClaimJob" } as const;
  const value = { job: { ...view, parametersText: "{}" } };
  const events = [{ ...offered, job: view } as JobEvent, began(claim), ended(claim, ok<"ClaimJob">(value))];
  const job = events.reduce<Job | undefined>(fold, undefined);
  if (job) jobs.set(id, job);
  return id;
}

const sawNull = (id: string) => seen.filter((one) => one.id === id && one.event.kind === "ServerSaw" && !one.event.job);
const offeredIds = () => seen.filter(({ event }) => event.kind === "Offered").map(({ id }) => id);
const lists = () => requests.filter((request) => request.startsWith("GET /jobs?"));
const said = (words: string) => lines.filter((line) => line.includes(words)).length;

describe("a job that EMX2 does not know", () => {
  test("is believed gone when it is asked again and says so again", async () => {
    const id = ours(true);
    const poll = pollOf(["p"]);
    await poll.tick(never);
    expect(sawNull(id)).toHaveLength(1);
    expect(jobs.get(id)?.stop?.by).toBe("server-deleted");
  });

  test("is not gone where it is known at the second question", async () => {
    const id = ours();
    const poll = pollOf(["p"]);
    const problem = { type: "about:blank", title: "Not Found", status: 404, detail: `Job ${id} not found` };
    let answers = 0;
    around = (target) => {
      if (!target.endsWith(`/jobs/${id}`) || answers++ % 2 === 1) return undefined;
      return Response.json(problem, { status: 404, headers: { "content-type": "application/problem+json" } });
    };
    for (let look = 0; look < 3; look++) await poll.tick(never);
    expect(answers).toBe(6);
    expect(sawNull(id)).toHaveLength(0);
    expect(jobs.get(id)?.stop).toBeUndefined();
  });

  test("is not meant by a proxy's 404, however often it comes", async () => {
    const id = ours();
    const poll = pollOf(["p"]);
    around = page404;
    for (let look = 0; look < 3; look++) await poll.tick(never);
    expect(seen).toEqual([]);
    expect(jobs.get(id)?.stop).toBeUndefined();
    expect(poll.reachable).toBe(false);
    expect(said("EMX2 can not be asked now")).toBe(1);
  });
});

describe("the watch over jobs", () => {
  test("goes on while the registration is refused, and claims wait for it", async () => {
    const id = ours();
    const pending = addJob(server.state, { processor: "p", profile: "default" });
    const refusal = { title: "Conflict", status: 409, detail: "worker is blocked" };
    around = (target) => (target.endsWith("/register") ? Response.json(refusal, { status: 409 }) : undefined);
    const poll = pollOf(["p"]);
    await poll.tick(never);
    expect(seen.map((one) => one.id)).toEqual([id]);
    expect(poll.reachable).toBe(false);
    around = () => undefined;
    await poll.tick(never);
    expect(offeredIds()).toEqual([pending]);
    expect(poll.reachable).toBe(true);
  });

  test("is not stopped by one job that can never be read, which is said once until it reads again", async () => {
    const [broken, sound] = [ours(), ours()];
    const poll = pollOf(["p"]);
    around = (target) => (target === `GET /jobs/${broken}` ? new Response("[", { status: 200 }) : undefined);
    for (let look = 0; look < 3; look++) await poll.tick(never);
    expect(seen.filter((one) => one.id === sound)).toHaveLength(3);
    expect(lists().length).toBeGreaterThan(0);
    expect(said("can not be read at EMX2; it goes on")).toBe(1);
    around = () => undefined;
    await poll.tick(never);
    expect(said("can be read at EMX2 again")).toBe(1);
    expect(seen.filter((one) => one.id === broken)).toHaveLength(1);
  });

  test("asks in pages only where that is fewer requests, by how long the lists were", async () => {
    for (let count = 0; count < 4; count++) ours();
    for (let count = 0; count < 1_100; count++) {
      const id = addJob(server.state, { processor: "other", profile: "x" });
      Object.assign(server.state.jobs.get(id) ?? {}, { status: "STARTED", workerId: "w2" });
    }
    const poll = pollOf([]);
    await poll.watch(never);
    expect(requests).toHaveLength(5);
    requests.length = 0;
    await poll.watch(never);
    expect(lists()).toHaveLength(0);
    expect(requests).toHaveLength(4);
    requests.length = 0;
    aheadMs = 601_000;
    await poll.watch(never);
    expect(lists()).toHaveLength(5);
    expect(seen).toHaveLength(12);
  });
});

describe("claims", () => {
  test("are not hidden by thousands of other processors' jobs, and cost one request a profile", async () => {
    for (let count = 0; count < 6_000; count++) addJob(server.state, { processor: "other", profile: "default" });
    const mine = ["p", "q"].map((processor) => addJob(server.state, { processor, profile: "default" }));
    await pollOf(["p", "q"]).tick(never);
    expect(offeredIds()).toEqual(mine);
    expect(lists()).toHaveLength(2);
    for (const { event } of seen) expect(JSON.stringify(event)).not.toContain("parametersText");
  });

  test("for more than ten profiles ask for one list, and say once that it is cut", async () => {
    for (let count = 0; count < 5_001; count++) addJob(server.state, { processor: "other", profile: "default" });
    const poll = pollOf(Array.from({ length: 11 }, (_, index) => `p${index}`));
    for (let look = 0; look < 2; look++) await poll.tick(never);
    expect(lists()).toHaveLength(20);
    expect(lists().some((request) => request.includes("processor="))).toBe(false);
    expect(said("EMX2 has more jobs waiting than are looked at")).toBe(1);
  });

  test("for one profile whose jobs EMX2 can not list do not stop the others", async () => {
    const mine = addJob(server.state, { processor: "q", profile: "default" });
    const failure = { title: "Internal Server Error", status: 500, detail: "enrichment failed" };
    around = (target) => (target.includes("processor=p&") ? Response.json(failure, { status: 500 }) : undefined);
    const poll = pollOf(["p", "q"]);
    for (let look = 0; look < 2; look++) await poll.tick(never);
    expect(offeredIds()).toEqual([mine]);
    expect(said("EMX2 can not list a profile's jobs")).toBe(1);
    expect(poll.reachable).toBe(true);
  });

  test("that are blocked, and jobs that can not be read, are said when that changes alone", async () => {
    const poll = pollOf(["p"]);
    for (const reason of ["1.0 GiB free", "0.9 GiB free", undefined, "not mounted", "not mounted"]) {
      blocked = reason;
      await poll.tick(never);
    }
    expect([said("nothing new is claimed"), said("new jobs are claimed again")]).toEqual([2, 1]);
    blocked = undefined;
    const id = addJob(server.state, { processor: "p", profile: "default" });
    const stored = server.state.jobs.get(id);
    if (stored) server.state.jobs.set(id, { ...stored, id: "../../etc" });
    for (let look = 0; look < 3; look++) await poll.tick(never);
    expect(said("a job in EMX2's list can not be read")).toBe(1);
    server.state.jobs.delete(id);
    expect(offeredIds()).toEqual([]);
  });
});
