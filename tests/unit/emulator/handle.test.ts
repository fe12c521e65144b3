import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { storedDateTime } from "../../../src/emulator/date-times.ts";
import { handle } from "../../../src/emulator/handle.ts";
import type { EmulatorState } from "../../../src/emulator/state.ts";
import {
  addArtifact,
  addJob,
  artifact,
  cancelJob,
  job,
  revokeWorkerCredential,
} from "../../../src/emulator/submitter.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { jobStatuses, jobTransitions } from "../../../src/job/status.ts";
import { freshServer, now, usualHeaders } from "./exchange-replay.ts";

interface Sent {
  readonly as?: string;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends what a careful client would send. */
function send(state: EmulatorState, method: string, target: string, sent: Sent = {}): Promise<Response> {
  const { as = "w1", body, headers } = sent;
  const bodySha256 = sha256Hex(body ?? "");
  const type: Record<string, string> =
    typeof body === "string"
      ? { "content-type": "application/json" }
      : body === undefined
        ? {}
        : { "content-type": "application/octet-stream", "content-sha256": bodySha256 };
  const usual = usualHeaders({ method, target, as, timestamp: Math.floor(now / 1_000), bodySha256 });
  const init = { method, headers: { ...type, ...usual, ...headers } };
  const request = new Request(`http://emx2.test${target}`, body === undefined ? init : { ...init, body });
  return handle(state, request, now);
}

describe("signatures", () => {
  test("hex in upper case is refused, blanks at the end are not", async () => {
    const { state } = freshServer();
    const right = usualHeaders({
      method: "GET",
      target: "/api/hpc/jobs",
      as: "w1",
      timestamp: Math.floor(now / 1_000),
      bodySha256: sha256Hex(""),
    });
    const hex = new Headers(right).get("authorization")?.split(" ")[1] ?? "";
    const upper = { authorization: `HMAC-SHA256 ${hex.toUpperCase()}` };
    expect((await send(state, "GET", "/api/hpc/jobs", { headers: upper })).status).toBe(401);
    const blank = { authorization: `HMAC-SHA256 ${hex} ` };
    expect((await send(state, "GET", "/api/hpc/jobs", { headers: blank })).status).toBe(200);
  });

  test("a body that is not UTF-8 never matches", async () => {
    const { state } = freshServer();
    const body = Uint8Array.from('{"processor":"d\xe9mo"}', (character) => character.charCodeAt(0));
    const headers = { "content-type": "application/json" };
    expect((await send(state, "POST", "/api/hpc/jobs", { body, headers })).status).toBe(401);
  });

  test("a revoked credential counts no more, at once", async () => {
    const { state } = freshServer();
    expect((await send(state, "GET", "/api/hpc/jobs")).status).toBe(200);
    revokeWorkerCredential(state, "w1");
    expect((await send(state, "GET", "/api/hpc/jobs")).status).toBe(401);
  });
});

describe("bodies", () => {
  test("parameters come back in the spelling they were sent in", async () => {
    const { state } = freshServer();
    const parameters = '{"10":1.0,"2":12345678901234567890,"a":[1e3,-0,{"é":"\\u00e9"}],"b":null}';
    const created = await send(state, "POST", "/api/hpc/jobs", {
      as: "admin",
      body: `{"processor":"demo","parameters":${parameters}}`,
    });
    const { id } = (await created.json()) as { id: string };
    expect(await (await send(state, "GET", `/api/hpc/jobs/${id}`)).text()).toContain(`"parameters":${parameters},`);
    expect(await (await send(state, "GET", "/api/hpc/jobs")).text()).toContain(`"parameters":${parameters},`);
  });

  test("a problem is ISO-8859-1 whatever its type says", async () => {
    const { state, kept } = freshServer();
    const response = await send(state, "GET", `/api/hpc/artifacts/${kept.get("in")}/files/%C3%A9-%E2%82%AC.txt`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(response.headers.get("content-length")).toBe(String(bytes.length));
    expect(new TextDecoder("iso-8859-1").decode(bytes)).toContain("File é-?.txt not found");
  });

  test("JSON of 9 MB is taken, of 11 MB is not, in one way for tokens and another for signatures", async () => {
    const { state } = freshServer();
    const body = (characters: number) => `{"processor":"demo","parameters":{"s":"${"x".repeat(characters)}"}}`;
    expect((await send(state, "POST", "/api/hpc/jobs", { as: "admin", body: body(9_000_000) })).status).toBe(201);
    const withToken = await send(state, "POST", "/api/hpc/jobs", { as: "admin", body: body(11_000_000) });
    expect(withToken.status).toBe(500);
    expect(await withToken.text()).toContain("Internal error processing request");
    const signed = await send(state, "POST", "/api/hpc/jobs", { body: body(11_000_000) });
    expect(signed.status).toBe(413);
    expect(await signed.json()).toEqual({ errors: [{ message: "Content Too Large" }] });
  });

  test("the upload limit is a setting", async () => {
    const { state, kept } = freshServer();
    state.settings.maxUploadBytes = 10;
    const target = `/api/hpc/artifacts/${kept.get("in")}/files/x`;
    const sent = { body: new Uint8Array(11), headers: { "content-length": "11" } };
    const response = await send(state, "PUT", target, sent);
    expect(response.status).toBe(413);
    expect(await response.text()).toContain("Content-Length 11 exceeds maximum upload size of 10 bytes");
  });

  test("more than 8 KB of headers are refused in HTML", async () => {
    const { state } = freshServer();
    const response = await send(state, "GET", "/api/hpc/jobs", { headers: { "x-large": "a".repeat(9_000) } });
    expect(response.status).toBe(431);
    expect(response.headers.get("content-type")).toBe("text/html;charset=iso-8859-1");
  });
});

describe("compression", () => {
  const gzip = { "accept-encoding": "gzip;q=0, identity" };

  test("JSON from 1,500 bytes on is compressed, and right", async () => {
    const { state } = freshServer();
    for (let count = 0; count < 10; count++) addJob(state, { processor: "demo" });
    const response = await send(state, "GET", "/api/hpc/jobs", { headers: gzip });
    const bytes = new Uint8Array(await response.arrayBuffer());
    expect(response.headers.get("content-encoding")).toBe("gzip");
    expect(response.headers.get("content-length")).toBe(String(bytes.length));
    expect(JSON.parse(new TextDecoder().decode(Bun.gunzipSync(bytes))).count).toBe(10);
  });

  test.each([
    [1_499, false],
    [1_500, true],
  ])("a download of %d bytes is broken by it: %p", async (size, isBroken) => {
    const { state } = freshServer();
    const id = addArtifact(state, { files: [{ path: "f", content: new Uint8Array(size) }] });
    const response = await send(state, "GET", `/api/hpc/artifacts/${id}/files/f`, { headers: gzip });
    const bytes = new Uint8Array(await response.arrayBuffer());
    expect(response.headers.get("content-length")).toBe(String(size));
    expect(response.headers.get("content-encoding")).toBe(isBroken ? "gzip" : null);
    expect(bytes.length < size).toBe(isBroken);
  });

  test("a download that asks for identity is whole", async () => {
    const { state } = freshServer();
    const content = new Uint8Array(20_000_000).fill(7);
    const id = addArtifact(state, { files: [{ path: "f", content }] });
    const headers = { "accept-encoding": "identity" };
    const response = await send(state, "GET", `/api/hpc/artifacts/${id}/files/f`, { headers });
    expect(response.headers.get("content-encoding")).toBeNull();
    expect(sha256Hex(new Uint8Array(await response.arrayBuffer()))).toBe(artifact(state, id).sha256 ?? "");
  });
});

describe("the server as a whole", () => {
  test("switched off it knows nothing but its health", async () => {
    const { state } = freshServer();
    state.settings.hpcEnabled = false;
    expect((await send(state, "GET", "/api/hpc/jobs")).status).toBe(503);
    const health = await send(state, "GET", "/api/hpc/health");
    expect(await health.json()).toMatchObject({ status: "ok", hpc_enabled: false });
  });

  test("every answer carries the server's date", async () => {
    const { state } = freshServer();
    const { headers } = await send(state, "GET", "/api/hpc/nosuch");
    expect(headers.get("date")).toBe("Sun, 22 Nov 2026 15:10:37 GMT");
  });

  test("the same requests make the same server, byte for byte", async () => {
    const run = async () => {
      const { state, kept } = freshServer();
      const id = addJob(state, { processor: "demo", profile: "cpu", inputs: [kept.get("in")] });
      const answers = [
        await send(state, "POST", `/api/hpc/jobs/${id}/claim`, { body: "{}" }),
        await send(state, "POST", "/api/hpc/artifacts", { body: "{}" }),
        await send(state, "GET", `/api/hpc/jobs/${id}/transitions`),
      ];
      return Promise.all(answers.map(async (answer) => [[...answer.headers], await answer.text()]));
    };
    expect(await run()).toEqual(await run());
  });

  test("stored date-times drop the zeros of their fraction and no others", () => {
    const at = (seconds: number, ms: number) => storedDateTime(Date.UTC(2026, 10, 20, 10, 0, seconds, ms));
    expect(at(0, 0)).toBe("2026-11-20 10:00:00");
    expect(at(30, 100)).toBe("2026-11-20 10:00:30.1");
    expect(at(30, 7)).toBe("2026-11-20 10:00:30.007");
  });

  test("a submitter's cancel leaves a job that has ended as it is", async () => {
    const { state } = freshServer();
    const id = addJob(state, { processor: "demo", profile: "cpu" });
    await send(state, "POST", `/api/hpc/jobs/${id}/claim`, { body: "{}" });
    await send(state, "POST", `/api/hpc/jobs/${id}/complete`, { body: '{"status":"FAILED"}' });
    cancelJob(state, id);
    expect(job(state, id).status).toBe("FAILED");
  });

  test("reports in any order move a job along legal moves alone, and only its owner's", async () => {
    const report = fc.record({
      as: fc.constantFrom("w1", "w2"),
      verb: fc.constantFrom("claim", "transition", "complete"),
      status: fc.constantFrom(...jobStatuses),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(report, { maxLength: 12 }), async (reports) => {
        const { state } = freshServer();
        const id = addJob(state, { processor: "demo", profile: "cpu" });
        const stored = job(state, id);
        for (const { as, verb, status } of reports) {
          const { status: before, workerId: owner, transitions } = stored;
          const count = transitions.length;
          const body = JSON.stringify(verb === "claim" ? {} : { status });
          const answer = await send(state, "POST", `/api/hpc/jobs/${id}/${verb}`, { as, body });
          const moved = stored.status !== before;
          expect(moved).toBe(answer.status === 200 && (verb === "claim" || status !== before));
          if (moved) expect(jobTransitions[before]).toContain(stored.status);
          if (owner !== null && as !== owner) expect(answer.status).not.toBe(200);
          expect(transitions.length - count).toBe(moved ? 1 : 0);
        }
      }),
      { numRuns: 100 },
    );
  });
});
