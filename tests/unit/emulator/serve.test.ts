import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { systemClock } from "../../../src/clock.ts";
import { type ServedEmulator, serve } from "../../../src/emulator/serve.ts";
import { addArtifact, addToken, artifact } from "../../../src/emulator/submitter.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";

const idleTimeoutMs = 200;
const waitMs = 10_000;
/** Connections are cut a second or two later than asked for. */
const testMs = 30_000;
let server: ServedEmulator;
let answersToCut = 0;

beforeAll(async () => {
  server = await serve({
    clock: systemClock,
    idleTimeoutMs,
    around: async (_, answer) => {
      const response = await answer();
      if (answersToCut-- > 0) throw new Error("cut");
      return response;
    },
  });
  addToken(server.state, "t", "admin", "admin");
});

afterAll(() => server.stop());

function headers(more: Record<string, string> = {}): Record<string, string> {
  return {
    "x-emx2-api-version": "2025-01",
    "x-request-id": systemClock.uuid(),
    "x-timestamp": String(Math.floor(systemClock.wall() / 1_000)),
    "x-molgenis-token": "t",
    ...more,
  };
}

function send(method: string, target: string, body?: string | Uint8Array<ArrayBuffer>): Promise<Response> {
  const type: Record<string, string> =
    typeof body === "string"
      ? { "content-type": "application/json" }
      : body === undefined
        ? {}
        : { "content-type": "application/octet-stream", "content-sha256": sha256Hex(body) };
  const init = { method, headers: headers({ "accept-encoding": "identity", ...type }) };
  return fetch(server.url + target, body === undefined ? init : { ...init, body });
}

/** Writes bytes on a bare socket; resolves with all that came, once the server has closed it. */
function onSocket(method: string, target: string, more: Record<string, string>, body = ""): Promise<string> {
  const lines = Object.entries(headers({ host: "emx2.test", ...more })).map(([name, value]) => `${name}: ${value}`);
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1", () => {
      socket.write(`${method} ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
    });
    const callOff = systemClock.timer(waitMs, () => {
      socket.destroy();
      reject(new Error(`still open after ${waitMs} ms: ${received}`));
    });
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      received += chunk;
    });
    socket.on("error", reject);
    socket.on("close", () => {
      callOff();
      resolve(received);
    });
  });
}

async function createArtifact(): Promise<string> {
  const { id } = (await (await send("POST", "/api/hpc/artifacts", "{}")).json()) as { id: string };
  return id;
}

describe("over a socket", () => {
  test("20 MB go up, are committed and come down again", async () => {
    const id = await createArtifact();
    const content = new Uint8Array(20_000_000).fill(9);
    const target = `/api/hpc/artifacts/${id}/files/sub/b%20c.bin`;
    expect((await send("PUT", target, content)).status).toBe(201);
    expect((await send("POST", `/api/hpc/artifacts/${id}/commit`, "{}")).status).toBe(200);
    const down = await send("GET", target);
    expect(down.headers.get("content-length")).toBe("20000000");
    expect(sha256Hex(new Uint8Array(await down.arrayBuffer()))).toBe(artifact(server.state, id).sha256 ?? "");
    const head = await send("HEAD", target);
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "20000000"]);
  });

  test("the target is taken as it was sent", async () => {
    const id = await createArtifact();
    const path = `/api/hpc/artifacts/${id}/files`;
    const more = { "content-length": "1", "content-sha256": sha256Hex("a"), connection: "close" };
    expect(await onSocket("PUT", `${path}/dd/../d.txt`, more, "a")).toContain("path traversal");
    expect(await onSocket("PUT", `${path}/%2e%2e/d.txt`, more, "a")).toContain("path traversal");
    expect(await onSocket("PUT", `${path}/dot/./d//e\\f`, more, "a")).toContain('"path":"dot/./d//e\\\\f"');
  });

  test(
    "a download with gzip declares more than it sends, and hangs until it is cut",
    async () => {
      const content = "hello ".repeat(1_000);
      const id = addArtifact(server.state, { files: [{ path: "t.txt", content }] });
      const path = `/api/hpc/artifacts/${id}/files/t.txt`;
      const [head = "", body = ""] = (await onSocket("GET", path, { "accept-encoding": "gzip" })).split("\r\n\r\n");
      expect(head).toContain("content-length: 6000");
      expect(head).toContain("content-encoding: gzip");
      expect(body.length).toBeLessThan(1_500);
      const broken = fetch(server.url + path, { headers: headers({ "accept-encoding": "gzip" }) });
      await expect(broken.then((response) => response.text())).rejects.toMatchObject({ code: "ECONNRESET" });
      expect(await (await send("GET", path)).text()).toBe(content);
    },
    testMs,
  );

  test("too large an upload is refused before it is sent", async () => {
    const id = await createArtifact();
    const more = { "content-length": "600000000", "content-sha256": sha256Hex("") };
    const answer = await onSocket("PUT", `/api/hpc/artifacts/${id}/files/huge`, more, "abc");
    expect(answer).toStartWith("HTTP/1.1 413 ");
    expect(answer).toContain("exceeds maximum upload size of 524288000 bytes");
  });

  test("an upload refused unread leaves the server usable", async () => {
    const init = { method: "PUT", headers: headers({ "x-molgenis-token": "bad" }), body: new Uint8Array(5_000_000) };
    const refused = await fetch(`${server.url}/api/hpc/artifacts/${systemClock.uuid()}/files/f`, init);
    expect(refused.status).toBe(401);
    expect((await send("GET", "/api/hpc/jobs")).status).toBe(200);
  });

  test("a body in chunks is read, one that is promised is waited for", async () => {
    const json = { "content-type": "application/json", connection: "close" };
    const chunks = '14\r\n{"processor":"demo"}\r\n0\r\n\r\n';
    const chunked = await onSocket("POST", "/api/hpc/jobs", { ...json, "transfer-encoding": "chunked" }, chunks);
    expect(chunked).toStartWith("HTTP/1.1 201 ");
    const more = { ...json, expect: "100-continue", "content-length": "20" };
    const expected = await onSocket("POST", "/api/hpc/jobs", more, '{"processor":"demo"}');
    expect(expected).toStartWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ");
  });

  test(
    "a stalled body is cut without an answer",
    async () => {
      const more = { "content-type": "application/json", "content-length": "100" };
      expect(await onSocket("POST", "/api/hpc/jobs", more, '{"processor"')).toBe("");
    },
    testMs,
  );

  test("more than 8 KB of headers are refused in HTML", async () => {
    const answer = await onSocket("GET", "/api/hpc/jobs", { "x-large": "a".repeat(9_000) });
    expect(answer).toStartWith("HTTP/1.1 431 ");
    expect(answer).toContain("<h1>Bad Message 431</h1>");
  });

  test("an answer can be lost after the server has acted", async () => {
    answersToCut = 1;
    const before = server.state.artifacts.size;
    const lost = await send("POST", "/api/hpc/artifacts", "{}").catch((error: { code?: string }) => error.code);
    expect(lost).toBe("ECONNRESET");
    expect(server.state.artifacts.size).toBe(before + 1);
  });
});
