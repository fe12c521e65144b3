/** The watch over jobs and the registration, against the emulator over a real socket. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { addJob } from "../../../src/emulator/submitter.ts";
import { never, openPollStage, type PollStage, profileOf, workerId } from "./poll-stage.ts";

const page404 = () =>
  new Response("<html><h1>404 Not Found</h1>", { status: 404, headers: { "content-type": "text/html" } });

let stage: PollStage;
beforeEach(async () => {
  stage = await openPollStage();
});
afterEach(() => stage.server.stop());

const sawNull = (id: string) =>
  stage.seen.filter((one) => one.id === id && one.event.kind === "ServerSaw" && !one.event.job);

describe("a job that EMX2 does not know", () => {
  test("is believed gone when it is asked again and says so again", async () => {
    const id = stage.ours(true);
    const poll = stage.poll([profileOf("p/default")]);
    await poll.tick(never);
    expect(sawNull(id)).toHaveLength(1);
    expect(stage.jobs.get(id)?.stop?.by).toBe("server-deleted");
  });

  test("is not gone where it is known at the second question", async () => {
    const id = stage.ours();
    const poll = stage.poll([profileOf("p/default")]);
    const problem = { type: "about:blank", title: "Not Found", status: 404, detail: `Job ${id} not found` };
    let answers = 0;
    stage.around = (target) => {
      if (!target.endsWith(`/jobs/${id}`) || answers++ % 2 === 1) return undefined;
      return Response.json(problem, { status: 404, headers: { "content-type": "application/problem+json" } });
    };
    for (let look = 0; look < 3; look++) await poll.tick(never);
    expect(answers).toBe(6);
    expect(sawNull(id)).toHaveLength(0);
    expect(stage.jobs.get(id)?.stop).toBeUndefined();
  });

  test("is not meant by a proxy's 404, however often it comes", async () => {
    const id = stage.ours();
    const poll = stage.poll([profileOf("p/default")]);
    stage.around = page404;
    for (let look = 0; look < 3; look++) await poll.tick(never);
    expect(stage.seen).toEqual([]);
    expect(stage.jobs.get(id)?.stop).toBeUndefined();
    expect(poll.reachable).toBe(false);
    expect(stage.said("EMX2 can not be asked now")).toBe(1);
  });
});

describe("an EMX2 that knows none of several jobs", () => {
  test.each([
    ["is believed after emx2.unknown_jobs_wait", 7_200_000],
    ["is never believed where that is never", null],
  ] as const)("%s", async (_, waitMs) => {
    stage.unknownJobsWaitMs = waitMs;
    const ids = [stage.ours(true), stage.ours(true)];
    const poll = stage.poll([profileOf("p/default")]);
    await poll.tick(never);
    stage.aheadMs = 7_100_000;
    await poll.tick(never);
    expect(ids.flatMap(sawNull)).toEqual([]);
    stage.aheadMs = 7_300_000;
    await poll.tick(never);
    expect(ids.flatMap(sawNull)).toHaveLength(waitMs === null ? 0 : 2);
    expect(stage.said("EMX2 knows none of the jobs that run here")).toBe(1);
  });
});

describe("while it knows none of them", () => {
  test("one that it has given us since says nothing about them, nor does another start", async () => {
    stage.unknownJobsWaitMs = 7_200_000;
    const ids = [stage.ours(true), stage.ours(true)];
    await stage.poll([profileOf("p/default")]).tick(never);
    stage.ours();
    const poll = stage.poll([profileOf("p/default")]);
    for (let look = 0; look < 3; look++) await poll.tick(never);
    expect(ids.flatMap(sawNull)).toEqual([]);
    expect(stage.said("EMX2 knows none of the jobs that run here")).toBe(1);
    stage.aheadMs = 7_300_000;
    await poll.tick(never);
    expect(ids.flatMap(sawNull)).toHaveLength(2);
  });

  test("a job that can not be read is not known again, and one that is known ends it for all", async () => {
    const ids = [stage.ours(true), stage.ours(true)];
    const poll = stage.poll([profileOf("p/default")]);
    await poll.tick(never);
    stage.around = (target) =>
      ids.some((id) => target.includes(id)) ? new Response("broken", { status: 500 }) : undefined;
    await poll.tick(never);
    stage.around = () => undefined;
    expect(stage.said("EMX2 knows jobs of ours again")).toBe(0);
    const [first = "", second = ""] = ids;
    stage.restore(first);
    await poll.tick(never);
    expect(stage.said("EMX2 knows jobs of ours again")).toBe(1);
    expect(sawNull(second)).toHaveLength(1);
  });
});

describe("an EMX2 that can not be asked", () => {
  const down = () => new Response("<h1>502", { status: 502 });

  test("is probed by one request, and nobody else asks before its pause is over", async () => {
    for (let count = 0; count < 5; count++) stage.ours();
    const poll = stage.poll([profileOf("p/default")]);
    stage.around = down;
    await poll.tick(never);
    expect(poll.reachable).toBe(false);
    stage.requests.length = 0;
    for (let look = 0; look < 20; look++) await poll.tick(never);
    expect(stage.requests).toEqual([]);
    stage.aheadMs += 2_000;
    await poll.tick(never);
    expect(stage.requests).toEqual([`POST /workers/${workerId}/heartbeat`]);
    stage.around = () => undefined;
    stage.aheadMs += 10_000;
    await poll.tick(never);
    expect(poll.reachable).toBe(true);
    expect(stage.seen).toHaveLength(5);
  });
});

test("a wrong secret is tried rarely, and another one at once", async () => {
  const { secret } = stage;
  stage.secret = "a wrong secret, as long as they must be";
  const poll = stage.poll([profileOf("p/default")]);
  await poll.tick(never);
  expect(stage.said("check emx2.worker_id")).toBe(1);
  const tries = stage.requests.length;
  expect(tries).toBe(2);
  stage.aheadMs += 7_000;
  await poll.tick(never);
  expect(stage.requests).toHaveLength(tries);
  stage.secret = secret;
  await poll.tick(never);
  expect(poll.reachable).toBe(true);
});

describe("the watch over jobs", () => {
  test("goes on while the registration is refused, and claims wait for it", async () => {
    const id = stage.ours();
    const pending = addJob(stage.server.state, { processor: "p", profile: "default" });
    const refusal = { title: "Conflict", status: 409, detail: "worker is blocked" };
    stage.around = (target) => (target.endsWith("/register") ? Response.json(refusal, { status: 409 }) : undefined);
    const poll = stage.poll([profileOf("p/default")]);
    await poll.tick(never);
    expect(stage.seen.map((one) => one.id)).toEqual([id]);
    expect(poll.reachable).toBe(false);
    stage.around = () => undefined;
    await poll.tick(never);
    expect(stage.taken().map(({ id }) => id)).toEqual([pending]);
    expect(poll.reachable).toBe(true);
  });

  test("is not stopped by one job that can never be read, which is said once until it reads again", async () => {
    const [broken, sound] = [stage.ours(), stage.ours()];
    const poll = stage.poll([profileOf("p/default")]);
    stage.around = (target) => (target === `GET /jobs/${broken}` ? new Response("[", { status: 200 }) : undefined);
    for (let look = 0; look < 3; look++) await poll.tick(never);
    expect(stage.seen.filter((one) => one.id === sound)).toHaveLength(3);
    expect(stage.lists().length).toBeGreaterThan(0);
    expect(stage.said("can not be read at EMX2; it goes on")).toBe(1);
    stage.around = () => undefined;
    await poll.tick(never);
    expect(stage.said("can be read at EMX2 again")).toBe(1);
    expect(stage.seen.filter((one) => one.id === broken)).toHaveLength(1);
  });

  test("asks in pages only where that is fewer requests, by how long the lists were", async () => {
    for (let count = 0; count < 4; count++) stage.ours();
    for (let count = 0; count < 1_100; count++) {
      const id = addJob(stage.server.state, { processor: "other", profile: "x" });
      Object.assign(stage.server.state.jobs.get(id) ?? {}, { status: "STARTED", workerId: "w2" });
    }
    const poll = stage.poll([]);
    await poll.watch(never);
    expect(stage.requests).toHaveLength(5);
    stage.requests.length = 0;
    await poll.watch(never);
    expect(stage.lists()).toHaveLength(0);
    expect(stage.requests).toHaveLength(4);
    stage.requests.length = 0;
    stage.aheadMs = 601_000;
    await poll.watch(never);
    expect(stage.lists()).toHaveLength(5);
    expect(stage.seen).toHaveLength(12);
  });
});

describe("the registration", () => {
  const registrations = () => stage.requests.filter((request) => request.endsWith("/register")).length;
  const known = () =>
    stage.server.state.workers.get(workerId)?.capabilities.map(({ processor, profile }) => `${processor}/${profile}`);
  const profiles = ["p/gpu", "p/cpu"].map((key) => profileOf(key));

  test("names what may be claimed for, and is made again when that changes alone", async () => {
    const poll = stage.poll(profiles);
    for (let look = 0; look < 2; look++) await poll.tick(never);
    expect([registrations(), known()]).toEqual([1, ["p/gpu", "p/cpu"]]);
    stage.claimable = { "p/gpu": "none" };
    for (let look = 0; look < 2; look++) await poll.tick(never);
    expect([registrations(), known()]).toEqual([2, ["p/cpu"]]);
    stage.claimable = { "p/gpu": "one" };
    for (let look = 0; look < 2; look++) await poll.tick(never);
    expect([registrations(), known()]).toEqual([3, ["p/gpu", "p/cpu"]]);
  });

  test("of a worker that can run nothing now is an empty one, so that EMX2 sees it alive and counts on nothing", async () => {
    stage.claimable = { "p/gpu": "none", "p/cpu": "none" };
    const poll = stage.poll(profiles);
    await poll.tick(never);
    expect(poll.registered).toBe(true);
    expect(known()).toEqual([]);
  });

  test("is made again where EMX2 has forgotten what the worker can run, and not over and over", async () => {
    const poll = stage.poll(profiles);
    await poll.tick(never);
    for (let look = 0; look < 3; look++) {
      poll.capabilityMissing();
      await poll.tick(never);
    }
    expect(registrations()).toBe(2);
    stage.aheadMs = 601_000;
    poll.capabilityMissing();
    await poll.tick(never);
    expect(registrations()).toBe(3);
    expect(stage.said("EMX2 does not know any more what this worker can run")).toBe(2);
  });
});
