/** The two generations' ways to end a job, and the commit. */
import { describe, expect, test } from "bun:test";
import { ApiError } from "../../../src/errors.ts";
import { clientOf, faultOf, healthOf, http, type RawServer, rawServer } from "./raw-server.ts";

const id = (index: number) => `550e8400-e29b-41d4-a716-${String(index).padStart(12, "0")}`;
const job = (index: number) => ({ id: id(index), processor: "p", status: "PENDING" });

describe("report", () => {
  const endpoint = http(404, '{"errors":[{"message":"Endpoint POST /api/hpc/jobs/x/complete not found"}]}');

  const failed = http(200, JSON.stringify({ ...job(1), status: "FAILED" }));
  const verbs = (server: RawServer) => server.received.map(({ target }) => target.split("/").at(-1));

  test.each([
    ["complete", "2026-05"],
    ["transition", "2026-02"],
  ] as const)("of an end goes to %s on %s", async (verb, generation) => {
    await using server = await rawServer(failed);
    server.health.answer = healthOf(generation);
    const client = clientOf(server);
    for (let count = 0; count < 3; count++) await client.report(id(1), { status: "FAILED" });
    expect(verbs(server)).toEqual([verb, verb, verb]);
    expect(server.health.asked).toBe(1);
  });

  test("of an end goes to transition where the server has lost its complete, and the generation is learnt again", async () => {
    await using server = await rawServer(endpoint, failed);
    const client = clientOf(server);
    await client.generation();
    server.health.answer = healthOf("2026-02");
    await client.report(id(1), { status: "FAILED", detail: "why", logArtifactId: id(9) });
    expect(verbs(server)).toEqual(["complete", "transition"]);
    expect(await client.generation()).toBe("2026-02");
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
