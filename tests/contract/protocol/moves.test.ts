/** How a job moves: every pair of statuses, repeats, progress, the end, and the trail that all of it leaves. */
import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { type JobStatus, jobStatuses, jobTransitions } from "../../../src/job/status.ts";
import { conformance } from "./conformance.ts";

const linksOf: Readonly<Record<JobStatus, readonly string[]>> = {
  PENDING: ["claim", "cancel"],
  CLAIMED: ["submit", "cancel"],
  SUBMITTED: ["start", "cancel"],
  STARTED: ["complete", "fail", "cancel"],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
};

await conformance("moves", (server) => {
  const { sender, expected, call, jobIn, report, read, create, input, submit } = server;
  const { workerId } = sender;
  const verb = expected.hasComplete ? "complete" : "transition";
  const end = (jobId: string, json: object) => call("POST", `/jobs/${jobId}/${verb}`, { json });
  const trail = async (jobId: string) => (await call("GET", `/jobs/${jobId}/transitions`)).json;

  describe.each([...jobStatuses])("from %s", (from) => {
    const legal = jobTransitions[from];

    test.each([...legal])("to %s", async (status) => {
      const jobId = await jobIn(from);
      expect((await report(jobId, { status })).json).toMatchObject({ id: jobId, status });
      expect(await read(jobId)).toMatchObject({ status });
    });

    test("to itself, and to nothing else", async () => {
      const jobId = await jobIn(from);
      for (const status of jobStatuses.filter((one) => !legal.includes(one))) {
        const answer = await report(jobId, { status });
        expect({ status, answered: answer.status }).toEqual({ status, answered: status === from ? 200 : 409 });
      }
      expect(await read(jobId)).toMatchObject({ status: from });
    });

    test("its links", async () => {
      const { _links: links } = await read(await jobIn(from));
      expect(Object.keys(links ?? {}).sort()).toEqual(["self", ...linksOf[from], "transitions"].sort());
    });
  });

  test("a claim by way of a transition", async () => {
    const jobId = await submit();
    const { status, json } = await call("POST", `/jobs/${jobId}/transition`, { json: { status: "CLAIMED" } });
    const worker_id = expected.claimByTransitionNamesWorker ? workerId : null;
    expect({ status, json }).toMatchObject({ status: 200, json: { status: "CLAIMED", worker_id } });
  });

  test.each([
    ["an unknown status", { json: { status: "BOGUS" } }, 400],
    ["no status", { json: {} }, 400],
    ["JSON that is none", { text: "{bad json" }, expected.malformedJson],
    ["a number for slurm_job_id", { json: { status: "SUBMITTED", slurm_job_id: 5 } }, 500],
    ["members that nobody knows", { json: { status: "SUBMITTED", foo: "x" } }, 200],
  ])("a report with %s", async (_what, request, status) => {
    const jobId = await jobIn("CLAIMED");
    expect((await call("POST", `/jobs/${jobId}/transition`, request)).status).toBe(status);
  });

  test("a report about an unknown job", async () => {
    expect((await report(systemClock.uuid(), { status: "FAILED" })).status).toBe(404);
  });

  test("of two slurm_job_ids the first one stays", async () => {
    const jobId = await jobIn("CLAIMED");
    for (const slurm_job_id of ["1", "2"]) {
      const { json } = await report(jobId, { status: "SUBMITTED", slurm_job_id, detail: `sbatch ${slurm_job_id}` });
      expect(json).toMatchObject({ status: "SUBMITTED", slurm_job_id: "1" });
    }
  });

  describe("progress", () => {
    const said = { phase: "align", message: "step 2/5", progress: 0.4 };

    test("is kept, or left out altogether", async () => {
      const jobId = await jobIn("STARTED");
      expect((await report(jobId, { status: "STARTED", ...said })).status).toBe(200);
      const job = await read(jobId);
      if (expected.keepsProgress) expect(job).toMatchObject(said);
      else for (const name of Object.keys(said)) expect(job).not.toHaveProperty(name);
      const { items } = await trail(jobId);
      const last = { from_status: "STARTED", to_status: "STARTED", worker_id: workerId, ...said };
      const told = expect.arrayContaining([expect.objectContaining(last)]);
      expect(items).toEqual(
        expected.keepsProgress ? told : expect.not.arrayContaining([expect.objectContaining(said)]),
      );
    });

    test.each([
      ["above 1", { progress: 1.5 }],
      ["below 0", { progress: -0.1 }],
      ["that is no number", { progress: "x" }],
      ["with a phase of 101 characters", { phase: "p".repeat(101) }],
      ["with a message of 501 characters", { message: "m".repeat(501) }],
    ])("%s", async (_what, body) => {
      const jobId = await jobIn("STARTED");
      expect((await report(jobId, { status: "STARTED", ...body })).status).toBe(expected.progressOutOfBounds);
    });
  });

  test("the trail tells every move, and the repeats that said something new", async () => {
    const jobId = await jobIn("CLAIMED");
    const submitted = { status: "SUBMITTED", detail: "sbatch 77", slurm_job_id: "77" };
    const reports = [submitted, submitted, { status: "STARTED", detail: "running" }, { status: "STARTED" }];
    for (const one of reports) await report(jobId, one);
    for (let time = 0; time < 2; time++) await end(jobId, { status: "COMPLETED", worker_id: workerId, detail: "done" });
    const { items, count } = await trail(jobId);
    const entry = (from: string | null, to: string, detail: string, by: string | null = workerId) =>
      expect.objectContaining({ job_id: jobId, from_status: from, to_status: to, detail, worker_id: by });
    const again = (status: string, detail: string) =>
      expected.recordsEveryRepeat ? [entry(status, status, detail)] : [];
    const told = [
      entry(null, "PENDING", "Job created", null),
      entry("PENDING", "CLAIMED", `Claimed by worker ${workerId}`),
      entry("CLAIMED", "SUBMITTED", "sbatch 77"),
      ...again("SUBMITTED", "sbatch 77"),
      entry("SUBMITTED", "STARTED", "running"),
      entry("STARTED", "COMPLETED", "done"),
      ...again("COMPLETED", "done"),
    ];
    expect(items).toEqual(told);
    expect(count).toBe(told.length);
  });

  test("a repeat with another detail is written down in any case", async () => {
    const jobId = await jobIn("SUBMITTED");
    await report(jobId, { status: "SUBMITTED", detail: "reason=Priority" });
    await report(jobId, { status: "SUBMITTED", detail: "reason=Resources" });
    const { items } = await trail(jobId);
    const details = Array.isArray(items) ? items.map(({ detail }) => detail) : [];
    expect(details.slice(-2)).toEqual(["reason=Priority", "reason=Resources"]);
  });

  test("an unknown job has an empty trail", async () => {
    expect(await trail(systemClock.uuid())).toEqual({ items: [], count: 0 });
  });

  describe("the end", () => {
    test("complete takes terminal statuses alone, or is not there", async () => {
      const jobId = await jobIn("STARTED");
      const complete = (status: string) => call("POST", `/jobs/${jobId}/complete`, { json: { status } });
      expect((await complete("STARTED")).status).toBe(expected.hasComplete ? 400 : 404);
      expect((await complete("COMPLETED")).status).toBe(expected.hasComplete ? 200 : 404);
      expect((await complete("COMPLETED")).status).toBe(expected.hasComplete ? 200 : 404);
      expect((await complete("FAILED")).status).toBe(expected.hasComplete ? 409 : 404);
    });

    test.each(["PENDING", "CLAIMED", "SUBMITTED"] as const)("COMPLETED is too early in %s", async (from) => {
      expect((await end(await jobIn(from), { status: "COMPLETED" })).status).toBe(409);
    });

    test.each(["CLAIMED", "SUBMITTED", "STARTED"] as const)("FAILED can follow %s", async (from) => {
      const { status, json } = await end(await jobIn(from), { status: "FAILED", detail: "bad input" });
      expect({ status, json }).toMatchObject({ status: 200, json: { completed_at: expect.any(String) } });
    });

    test("names its artifacts, the first ones for good, until they are deleted", async () => {
      const jobId = await jobIn("STARTED");
      const [output, uncommitted, other] = [await input(), await create({ name: "log", type: "log" }), await create()];
      const ids = { output_artifact_id: output, log_artifact_id: uncommitted };
      const artifacts = {
        ...ids,
        output_artifact: { id: output, name: "in", type: "dataset", status: "COMMITTED" },
        log_artifact: { id: uncommitted, name: "log", type: "log", status: "CREATED" },
      };
      expect((await end(jobId, { status: "COMPLETED", ...ids })).json).toMatchObject(artifacts);
      const repeat = { status: "COMPLETED", output_artifact_id: other };
      expect((await end(jobId, repeat)).json).toMatchObject(artifacts);
      expect((await call("DELETE", `/artifacts/${output}`)).status).toBe(204);
      expect(await read(jobId)).toMatchObject({ ...ids, output_artifact_id: null });
    });

    test("with an artifact that does not exist is not foreseen, and ends nothing", async () => {
      const jobId = await jobIn("STARTED");
      const body = { status: "COMPLETED", output_artifact_id: systemClock.uuid() };
      expect((await end(jobId, body)).status).toBe(500);
      expect(await read(jobId)).toMatchObject({ status: "STARTED", output_artifact_id: null });
    });
  });
});
