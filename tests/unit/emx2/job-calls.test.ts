/** Lists that are not as they should be, and the two generations' ways to end a job. */
import { describe, expect, test } from "bun:test";
import { ApiError } from "../../../src/errors.ts";
import { clientOf, faultOf, http, rawServer } from "./raw-server.ts";

const id = (index: number) => `550e8400-e29b-41d4-a716-${String(index).padStart(12, "0")}`;
const job = (index: number) => ({ id: id(index), processor: "p", status: "PENDING" });
const page = (items: unknown[], total?: number) => http(200, JSON.stringify({ items, total_count: total }));

describe("listJobs", () => {
  test("leaves jobs alone that cannot be read, says so, and reads the others", async () => {
    const hostile = { ...job(2), id: "../../\u001b[31metc" };
    await using server = await rawServer(page([job(1), hostile, 7, { ...job(4), status: "LOST" }, job(5)], 5));
    const list = await clientOf(server).listJobs({ status: "PENDING" });
    expect(list.jobs.map((found) => found.id)).toEqual([id(1), id(5)]);
    expect(list.total).toBe(5);
    expect(list.warnings).toHaveLength(3);
    for (const warning of list.warnings) expect(warning).not.toMatch(/\p{Cc}/u);
  });

  test("ends where the server tells no total, and where its pages run dry before it", async () => {
    await using untold = await rawServer(page([job(1), job(2)]), page([job(3)]));
    expect((await clientOf(untold).listJobs({ status: "PENDING", pageSize: 2 })).jobs).toHaveLength(3);
    await using dry = await rawServer(page([job(1), job(2)], 9), page([], 9));
    expect((await clientOf(dry).listJobs({ status: "PENDING", pageSize: 2 })).jobs).toHaveLength(2);
    expect(dry.received).toHaveLength(2);
  });

  test("ends where a server repeats one page for ever", async () => {
    await using server = await rawServer(page([job(1), job(2)], 1_000_000));
    const list = await clientOf(server).listJobs({ status: "PENDING", pageSize: 2, maxJobs: 20 });
    expect(list.jobs).toHaveLength(2);
    expect(server.received).toHaveLength(10);
  });

  test("asks for smaller pages where jobs are too large for one answer", async () => {
    const limits: number[] = [];
    const fetch = async (url: string) => {
      const parameters = new URL(url).searchParams;
      const [limit, offset] = [Number(parameters.get("limit")), Number(parameters.get("offset"))];
      limits.push(limit);
      if (limit > 4) return new Response("", { headers: { "Content-Length": String(65 * 2 ** 20) } });
      if (limit > 2) return new Response(" ".repeat(65 * 2 ** 20));
      const items = Array.from({ length: Math.min(limit, 5 - offset) }, (_, index) => job(offset + index));
      return Response.json({ items, total_count: 5 });
    };
    const list = await clientOf({ url: "http://emx2.test" }, { fetch }).listJobs({ status: "PENDING", pageSize: 8 });
    expect(list.jobs.map((found) => found.id)).toEqual([0, 1, 2, 3, 4].map(id));
    expect(limits).toEqual([8, 4, 2, 2, 2]);
  });
});

describe("report", () => {
  const endpoint = http(404, '{"errors":[{"message":"Endpoint POST /api/hpc/jobs/x/complete not found"}]}');

  test("of an end goes to transition where the server has no complete", async () => {
    await using server = await rawServer(endpoint, http(200, JSON.stringify({ ...job(1), status: "FAILED" })));
    await clientOf(server).report(id(1), { status: "FAILED", detail: "why", logArtifactId: id(9) });
    expect(server.received.map(({ target }) => target.split("/").at(-1))).toEqual(["complete", "transition"]);
    const body = { status: "FAILED", worker_id: "w1", detail: "why", log_artifact_id: id(9) };
    for (const request of server.received) expect(JSON.parse(request.body.toString())).toEqual(body);
  });

  test("of anything else goes to transition alone", async () => {
    await using server = await rawServer(http(201, JSON.stringify({ ...job(1), status: "STARTED" })));
    await clientOf(server).report(id(1), { status: "STARTED" });
    expect(server.received.map(({ target }) => target.split("/").at(-1))).toEqual(["transition"]);
  });

  test("of an end that another job's answer follows is no success", async () => {
    await using server = await rawServer(http(200, JSON.stringify(job(2))));
    const error = await faultOf(clientOf(server).report(id(1), { status: "FAILED" }, { attempts: 1 }));
    expect(error).toBeInstanceOf(ApiError);
  });
});

describe("commit", () => {
  const sha256 = "ab".repeat(32);
  const artifact = (status: string, hash: string) =>
    http(200, JSON.stringify({ id: id(1), status, sha256: hash, size_bytes: "1" }));
  const conflict = http(409, '{"title":"Conflict","status":409,"detail":"cannot be committed from status COMMITTED"}');

  test("whose answer was lost is found to have happened", async () => {
    await using server = await rawServer(http(500, "{}"), conflict, artifact("COMMITTED", sha256));
    const committed = await clientOf(server).commit(id(1), { sha256, bytes: 1 });
    expect(committed).toMatchObject({ status: "COMMITTED", sha256, bytes: 1 });
  });

  test.each([
    ["of other content", "COMMITTED", "cd".repeat(32)],
    ["not made yet", "UPLOADING", sha256],
  ])("that conflicts with one %s stays refused", async (_name, status, hash) => {
    await using server = await rawServer(conflict, artifact(status, hash));
    const error = await faultOf(clientOf(server).commit(id(1), { sha256, bytes: 1 }));
    expect(error).toMatchObject({ answer: { status: 409 } });
  });

  test("acknowledged with another hash is no success", async () => {
    await using server = await rawServer(artifact("COMMITTED", "cd".repeat(32)));
    expect(String(await faultOf(clientOf(server).commit(id(1), { sha256, bytes: 1 })))).toContain("content hash");
  });
});
