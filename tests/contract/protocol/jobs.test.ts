/** Jobs as they are submitted, listed, read, cancelled and deleted. */
import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { memberText } from "../../../src/job/raw-json.ts";
import { conformance } from "./conformance.ts";

/** The two shapes of a date-time, neither of which has a zone. */
const dateTime = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?$/;

await conformance("jobs", (server) => {
  const { expected, call, client, processor, submit, jobIn, read, report, input } = server;
  const list = async (query = "") => {
    const answer = await call("GET", `/jobs?processor=${processor}${query}`);
    const items: { id: string }[] = Array.isArray(answer.json["items"]) ? answer.json["items"] : [];
    return { ...answer, ids: items.map(({ id }) => id) };
  };

  describe("submitted", () => {
    test("is PENDING, and as it was asked for", async () => {
      const jobId = await submit({ timeout_seconds: 600 });
      const job = await read(jobId);
      expect(job).toMatchObject({
        id: jobId,
        processor,
        profile: "cpu",
        status: "PENDING",
        timeout_seconds: 600,
        created_at: expect.stringMatching(dateTime),
      });
      for (const unset of ["worker_id", "slurm_job_id", "claimed_at", "submitted_at", "started_at", "completed_at"])
        expect({ [unset]: job[unset] ?? null }).toEqual({ [unset]: null });
      expect({ named: typeof job["submit_user"] === "string" }).toEqual({ named: expected.namesSubmitter });
    });

    test.each([
      ["no processor", { profile: "cpu" }, 400],
      ["a processor of 1,025 characters", { processor: "p".repeat(1_025) }, 400],
      ["text for timeout_seconds", { processor, timeout_seconds: "60" }, 500],
      ["an unknown input", { processor, inputs: [systemClock.uuid()] }, expected.unknownInput],
    ])("with %s is refused", async (_what, json, status) => {
      expect((await call("POST", "/jobs", { as: "submitter", json })).status).toBe(status);
      expect((await list()).ids).toEqual([]);
    });

    test("JSON that is no object, JSON beyond 10 MB", async () => {
      expect((await call("POST", "/jobs", { as: "submitter", text: "[1]" })).status).toBe(expected.malformedJson);
      const text = JSON.stringify({ processor, parameters: { a: "a".repeat(11_000_000) } });
      expect((await call("POST", "/jobs", { text })).status).toBe(413);
      expect((await list()).ids).toEqual([]);
    });

    test("its parameters come back: numbers of any length, floats, Unicode, nesting", async () => {
      const deep = { list: [null, true, {}], "10": "ten" };
      const others = { small: -2.5e-7, text: "é😀\n", deep };
      const jobId = await submit(
        `"parameters":{"big":12345678901234567890,"one":1.0,${JSON.stringify(others).slice(1)}`,
      );
      const { text, json } = await call("GET", `/jobs/${jobId}`);
      expect(json["parameters"]).toMatchObject({ one: 1, ...others });
      expect(memberText(text, ["parameters", "big"])).toBe("12345678901234567890");
      const job = await client.readJob(jobId);
      expect(memberText(job?.parametersText ?? "", ["big"])).toBe("12345678901234567890");
    });

    test.each([
      ["a list of ids", (id: string) => [id], true],
      ["a list of objects", (id: string) => [{ artifact_id: id, name: "x" }], expected.enrichesInputObjects],
      ["an object of names", (id: string) => ({ reads: id }), false],
    ])("its inputs as %s", async (_form, formOf, isEnriched) => {
      const id = await input();
      const sent = formOf(id);
      const jobId = await submit({ inputs: sent });
      const facts = { id, name: expect.any(String), type: "dataset", status: "COMMITTED" };
      const { inputs } = await read(jobId);
      expect(inputs).toEqual(isEnriched ? [expect.objectContaining(facts)] : sent);
      expect((await client.readJob(jobId))?.inputs).toMatchObject([{ artifactId: id }]);
    });
  });

  describe("listed", () => {
    test("PENDING ones, unless another status is asked for, with their number", async () => {
      const [claimed, pending] = [await jobIn("CLAIMED"), await submit()];
      const { headers, json, ids } = await list();
      expect(ids).toEqual([pending]);
      expect(json).toMatchObject({ count: 1, total_count: 1, limit: 100, offset: 0 });
      expect(headers["x-total-count"]).toBe("1");
      expect((await list("&status=CLAIMED")).ids).toEqual([claimed]);
      expect((await list("&status=CLAIMED&worker_id=nobody")).ids).toEqual([claimed]);
    });

    test.each(["BOGUS", "pending", "PENDING,CLAIMED", ""])("of status %p there are none", async (status) => {
      await submit();
      const { json, ids } = await list(`&status=${status}`);
      expect({ ids, total: json["total_count"] }).toEqual({ ids: [], total: 0 });
    });

    test("of one profile", async () => {
      const [cpu, gpu] = [await submit(), await submit({ profile: "gpu" })];
      expect((await list("&profile=gpu")).ids).toEqual([gpu]);
      expect((await list()).ids.toSorted()).toEqual([cpu, gpu].toSorted());
    });

    test("as many as are asked for, and all of them when that is enough", async () => {
      const made: string[] = [];
      for (let count = 0; count < 5; count++) made.push(await submit());
      const { json, ids } = await list("&limit=2&offset=1");
      expect({ json, count: ids.length }).toMatchObject({
        json: { count: 2, total_count: 5, limit: 2, offset: 1 },
        count: 2,
      });
      for (const limit of ["1000", "99999999999", "abc"])
        expect((await list(`&limit=${limit}`)).ids.toSorted()).toEqual(made.toSorted());
      for (const limit of ["0", "-1"])
        expect((await list(`&limit=${limit}`)).ids).toHaveLength(expected.limitZeroIsAll ? 5 : 0);
      if (expected.listsOldestFirst) expect((await list("&limit=2&offset=1")).ids).toEqual(made.slice(1, 3));
    });

    test("page by page through our client, each once", async () => {
      const made: string[] = [];
      for (let count = 0; count < 7; count++) made.push(await submit());
      const { jobs, total, warnings } = await client.listJobs({ status: "PENDING", processor, pageSize: 3 });
      expect(jobs.map(({ id }) => id).toSorted()).toEqual(made.toSorted());
      expect({ total, warnings }).toEqual({ total: 7, warnings: [] });
    });

    test("by a processor that is not ASCII", async () => {
      const unusual = `${processor} é+`;
      const jobId = await submit({ processor: unusual });
      const { json } = await call("GET", `/jobs?processor=${encodeURIComponent(unusual)}`);
      expect(json).toMatchObject({ items: [{ id: jobId, processor: unusual }], total_count: 1 });
    });
  });

  describe("cancelled", () => {
    test.each(["PENDING", "CLAIMED", "SUBMITTED", "STARTED"] as const)("when %s, and again", async (from) => {
      const jobId = await jobIn(from);
      const cancel = () => call("POST", `/jobs/${jobId}/cancel`, { as: "submitter" });
      for (const { status, json } of [await cancel(), await cancel()])
        expect({ status, json }).toMatchObject({ status: 200, json: { id: jobId, status: "CANCELLED" } });
      expect((await report(jobId, { status: "SUBMITTED" })).status).toBe(409);
      expect((await report(jobId, { status: "CANCELLED", detail: "scancel" })).status).toBe(200);
      expect(await read(jobId)).toMatchObject({ status: "CANCELLED", completed_at: expect.stringMatching(dateTime) });
    });

    test("by the worker too", async () => {
      expect((await call("POST", `/jobs/${await submit()}/cancel`)).json).toMatchObject({ status: "CANCELLED" });
    });

    test.each(["COMPLETED", "FAILED"] as const)("not when %s", async (end) => {
      const jobId = await jobIn(end);
      expect((await call("POST", `/jobs/${jobId}/cancel`, { as: "submitter", json: {} })).status).toBe(409);
      expect(await read(jobId)).toMatchObject({ status: end });
    });
  });

  describe("deleted", () => {
    const remove = (jobId: string) => call("DELETE", `/jobs/${jobId}`, { as: "submitter" });

    test("once it has ended, and then nobody knows it", async () => {
      const jobId = await jobIn("FAILED");
      expect((await remove(jobId)).status).toBe(204);
      expect((await call("GET", `/jobs/${jobId}`)).status).toBe(404);
      expect(await client.readJob(jobId)).toBeNull();
    });

    test("before it has ended", async () => {
      expect((await remove(await submit())).status).toBe(expected.deletionOfLiveJob);
    });
  });

  test("an unknown job is a 404 that names it", async () => {
    const jobId = systemClock.uuid();
    const { status, json } = await call("GET", `/jobs/${jobId}`);
    expect({ status, json }).toMatchObject({ status: 404, json: { title: "Not Found", status: 404 } });
    expect(String(json["detail"])).toContain(jobId);
  });
});
