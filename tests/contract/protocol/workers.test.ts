/** Workers: registration, heartbeat, claims, and what the server holds a worker to. */
import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { conformance } from "./conformance.ts";
import { demand } from "./made.ts";

await conformance("workers", (server) => {
  const { sender, expected, call, processor, register, submit, jobIn, read } = server;
  const { workerId } = sender;
  const claim = (jobId: string, json: object = { worker_id: workerId }) =>
    call("POST", `/jobs/${jobId}/claim`, { json });

  describe("registration", () => {
    test("can be repeated, and keeps when it was first made", async () => {
      const [first, second] = [await register(), await register()];
      expect(first.json).toMatchObject({
        worker_id: workerId,
        hostname: "conformance",
        last_heartbeat_at: expect.any(String),
        _links: {
          self: { href: `/api/hpc/workers/${workerId}`, method: "GET" },
          heartbeat: {
            href: `/api/hpc/workers/${expected.linksHeartbeat ? `${workerId}/heartbeat` : "register"}`,
            method: "POST",
          },
        },
      });
      expect(second.json["registered_at"]).toBe(first.json["registered_at"]);
    });

    test.each([
      ["[]", []],
      ["nothing", null],
    ])("with %s takes all capabilities away", async (_what, none) => {
      const jobId = await submit();
      await register(none);
      expect((await claim(jobId)).status).toBe(expected.claimWithoutCapability);
    });

    test("a capability needs no limit", async () => {
      await register([{ processor, profile: "cpu" }]);
      expect((await claim(await submit())).status).toBe(200);
    });
  });

  describe("heartbeat", () => {
    const beat = (id: string, request = {}) => call("POST", `/workers/${id}/heartbeat`, request);

    test("with and without a body", async () => {
      for (const request of [{}, { json: {} }]) {
        const { status, json } = await beat(workerId, request);
        expect({ status, json }).toEqual({ status: 200, json: { worker_id: workerId, status: "ok" } });
      }
    });

    test("for another worker", async () => {
      expect((await beat(`other-${processor}`)).status).toBe(expected.heartbeatForAnother);
    });

    test.skipIf(sender.token === undefined)("of a worker that is not registered", async () => {
      const stranger = `other-${processor}`;
      const { status } = await beat(stranger, { as: "submitter", headers: { "X-Worker-Id": stranger } });
      expect(status).toBe(expected.heartbeatOfStranger);
    });
  });

  describe("claim", () => {
    test("makes the job the worker's", async () => {
      const jobId = await submit();
      const { status, json } = await claim(jobId);
      expect({ status, json }).toMatchObject({
        status: 200,
        json: { id: jobId, status: "CLAIMED", worker_id: workerId, claimed_at: expect.any(String) },
      });
    });

    test("repeated is refused, even to the same worker", async () => {
      const jobId = await jobIn("CLAIMED");
      const { status, json } = await claim(jobId);
      expect({ status, json }).toMatchObject({ status: 409, json: { title: "Conflict" } });
      expect(await read(jobId)).toMatchObject({ status: "CLAIMED", worker_id: workerId });
    });

    test("made four times at once succeeds once", async () => {
      const jobId = await submit();
      const statuses = (await Promise.all(Array.from({ length: 4 }, () => claim(jobId)))).map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toEqual([200]);
    });

    test("of a job without a profile", async () => {
      expect((await claim(await submit({ profile: null }))).status).toBe(200);
    });

    test("of a cancelled job is refused, of an unknown one too", async () => {
      expect((await claim(await jobIn("CANCELLED"))).status).toBe(409);
      expect((await claim(systemClock.uuid())).status).toBe(404);
    });

    test("without a body, without a worker, in another's name", async () => {
      const jobId = await submit();
      expect((await call("POST", `/jobs/${jobId}/claim`)).status).toBe(expected.noBody);
      expect((await claim(jobId, {})).status).toBe(expected.claimWithoutWorker);
      const taken = await jobIn("CLAIMED");
      expect((await claim(taken, { worker_id: `other-${processor}` })).status).toBe(expected.claimInAnothersName);
    });

    test("without the capability", async () => {
      expect((await claim(await submit({ profile: "unheard-of" }))).status).toBe(expected.claimWithoutCapability);
    });

    test("beyond max_concurrent_jobs, against which the jobs of all profiles count", async () => {
      const limited = (profile: string, limit: number) => ({ processor, profile, max_concurrent_jobs: limit });
      await register([limited("cpu", 2), limited("gpu", 1)]);
      const statuses: number[] = [];
      for (const profile of ["cpu", "cpu", "cpu", "gpu"])
        statuses.push((await claim(await submit({ profile }))).status);
      const over = expected.claimOverCapacity;
      expect(statuses).toEqual([200, 200, over, over]);
    });
  });

  describe("another worker", () => {
    const other = `other-${processor}`;
    const registered = () =>
      call("POST", "/workers/register", {
        headers: { "X-Worker-Id": other },
        json: { worker_id: other, hostname: "conformance", capabilities: [] },
      });
    const removed = () => call("DELETE", `/workers/${other}`);

    test("is registered and deleted by whoever has the secret, or by nobody but its own", async () => {
      expect((await registered()).status).toBe(expected.registrationOfAnother);
      expect((await removed()).status).toBe(expected.deletionOfAnother);
    });

    test.skipIf(sender.token === undefined)("reports about a job that is not its own", async () => {
      const jobId = await jobIn("CLAIMED");
      await demand(expected.registrationOfAnother, registered());
      const { status } = await call("POST", `/jobs/${jobId}/transition`, {
        as: "submitter",
        headers: { "X-Worker-Id": other },
        json: { status: "SUBMITTED", worker_id: other },
      });
      expect(status).toBe(expected.reportByAnother);
      expect(await read(jobId)).toMatchObject({ worker_id: status === 200 ? other : workerId });
      await call("POST", `/jobs/${jobId}/cancel`);
      await demand(expected.deletionOfAnother, removed());
    });
  });
});
