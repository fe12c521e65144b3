/** A 404 means "EMX2 does not know it" only where EMX2 itself says so: else a job would end over a proxy's page. */
import { describe, expect, test } from "bun:test";
import { ApiError } from "../../../src/errors.ts";
import { clientOf, faultOf, http, rawServer } from "./raw-server.ts";

const id = "550e8400-e29b-41d4-a716-446655440000";
const html = { "Content-Type": "text/html" };
const problem = (detail: string) => {
  const type = { "Content-Type": "application/problem+json" };
  return http(404, JSON.stringify({ type: "about:blank", title: "Not Found", status: 404, detail }), type);
};

const strangers = [
  ["an ingress's page", http(404, "<html><h1>404 Not Found</h1>nginx</html>", html)],
  ["Tomcat's page", http(404, "<!doctype html><title>HTTP Status 404 – Not Found</title>", html)],
  ["a default backend", http(404, "default backend - 404", { "Content-Type": "text/plain" })],
  ["an empty body", http(404, "")],
  ["a gateway's JSON", http(404, '{"message":"no Route matched with those values"}')],
  ["a framework's JSON", http(404, '{"status":404,"error":"Not Found","path":"/api/hpc/jobs/x"}')],
  ["a problem document without detail", http(404, '{"type":"about:blank","title":"Not Found","status":404}')],
] as const;

describe("a 404 that is not EMX2's own", () => {
  test.each(strangers)(
    "(%s) says nothing about a job, an artifact or a worker, and is tried again",
    async (_name, answer) => {
      await using server = await rawServer(answer);
      const client = clientOf(server);
      const calls = [
        () => client.readJob(id),
        () => client.readArtifact(id),
        () => client.heartbeat(),
        () => client.report(id, { status: "FAILED" }),
      ];
      for (const [index, call] of calls.entries()) {
        expect(await faultOf(call())).toBeInstanceOf(ApiError);
        expect(server.received).toHaveLength(3 * (index + 1));
      }
      expect(server.received.some(({ target }) => target.endsWith("/transition"))).toBe(false);
    },
  );

  test("is a missing route: neither the job nor the artifact is unknown", async () => {
    await using server = await rawServer(http(404, '{"errors":[{"message":"Endpoint GET /api/hpc/x not found"}]}'));
    const client = clientOf(server);
    expect(await faultOf(client.readJob(id))).toMatchObject({ answer: { status: 404, form: "errors" } });
    expect(await faultOf(client.readArtifact(id))).toBeInstanceOf(ApiError);
  });
});

describe("a 404 of EMX2's", () => {
  test("is believed at once", async () => {
    await using server = await rawServer(problem(`Job ${id} not found`));
    const client = clientOf(server);
    expect(await client.readJob(id)).toBeNull();
    expect(await client.readArtifact(id)).toBeNull();
    expect(await client.heartbeat()).toBe("unknown");
    expect(server.received).toHaveLength(3);
  });

  test("to a report of the end is about the job, and no reason to ask another route", async () => {
    await using server = await rawServer(problem(`Job ${id} not found`));
    expect(await faultOf(clientOf(server).report(id, { status: "FAILED" }))).toMatchObject({ answer: { status: 404 } });
    expect(server.received).toHaveLength(1);
  });
});

describe("HEAD", () => {
  const bare = (type: string, bytes = 0) => http(404, "", { "Content-Type": type, "Content-Length": String(bytes) });

  test("answered with an empty text means that the file is not there", async () => {
    await using server = await rawServer(bare("text/plain"));
    expect(await clientOf(server).headFile(id, "f")).toBeNull();
    expect(server.received).toHaveLength(1);
  });

  test.each([
    ["a page's type", bare("text/html")],
    ["the length of a text", bare("text/plain", 21)],
  ])("answered with %s is tried again", async (_name, answer) => {
    await using server = await rawServer(answer);
    expect(await faultOf(clientOf(server).headFile(id, "f"))).toBeInstanceOf(ApiError);
    expect(server.received).toHaveLength(3);
  });

  test("refused for its path is refused, although no body says so", async () => {
    await using server = await rawServer(http(400, "", { "Content-Type": "application/problem+json" }));
    const error = await faultOf(clientOf(server).headFile(id, "f"));
    expect(error).toMatchObject({ answer: { status: 400, form: "problem" } });
  });
});
