/** Files on their way to a server of 2026-02: what is signed, how paths are written, and what is too long for a PUT. */
import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import type { Emx2Client } from "../../../src/emx2/client.ts";
import { sha256Hex, signature } from "../../../src/emx2/signature.ts";
import { IntegrityError } from "../../../src/errors.ts";
import {
  type Answer,
  clientOf,
  faultOf,
  hangUp,
  healthOf,
  http,
  type RawServer,
  type Received,
  rawServer,
  secret,
} from "./raw-server.ts";

const artifactId = "550e8400-e29b-41d4-a716-446655440000";
const files = `/api/hpc/artifacts/${artifactId}/files`;
const chunk = new Uint8Array(500_000).fill(7);

interface Content {
  readonly bytes: number;
  readonly sha256: string;
  readonly body: () => ReadableStream<Uint8Array>;
}

function content(bytes: number): Content {
  return { bytes, sha256: sha256Hex(Buffer.alloc(bytes, 7)), body: () => streamOf(bytes) };
}

function streamOf(bytes: number): ReadableStream<Uint8Array> {
  let left = bytes;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (left === 0) return controller.close();
        const part = chunk.subarray(0, Math.min(left, chunk.length));
        left -= part.length;
        controller.enqueue(part);
      },
    },
    { highWaterMark: 0 },
  );
}

const storedAs = (path: string, { sha256, bytes }: Content) =>
  http(201, utf8(JSON.stringify({ id: "1", artifact_id: artifactId, path, sha256, size_bytes: bytes })));
/** As `http` sends it. */
const utf8 = (text: string) => Buffer.from(text).toString("latin1");
const absent = http(404, "", { "Content-Type": "text/plain" });
const present = ({ sha256, bytes }: Content): Answer => {
  const headers = `Content-Length: ${bytes}\r\nX-Content-SHA256: ${sha256}\r\n`;
  return () => `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n${headers}\r\n`;
};
const gone = http(204, "", { "Content-Type": "text/plain" });

async function oldServer(...answers: readonly [Answer, ...Answer[]]): Promise<RawServer> {
  const server = await rawServer(...answers);
  server.health.answer = healthOf("2026-02");
  return server;
}

function isSignedOverNothing({ method, target, headers }: Received): boolean {
  const [timestamp = "", nonce = ""] = ["x-timestamp", "x-nonce"].map((name) => headers.get(name));
  const right = signature(secret, { method, target, bodySha256: sha256Hex(""), timestamp, nonce });
  return headers.get("authorization") === `HMAC-SHA256 ${right}`;
}

const requests = (server: RawServer) => server.received.map(({ method, target }) => `${method} ${target}`);
const putAt = (client: Emx2Client, path: string, file: Content) => client.putFile(artifactId, { path, ...file });

describe("a file of up to 10,000,000 bytes", () => {
  test("is put as it is, signed over nothing, its path in one segment", async () => {
    const file = content(10_000_000);
    await using server = await oldServer(storedAs("sub dir/é.png", file));
    await putAt(clientOf(server), "sub dir/é.png", file);
    const [sent] = server.received;
    if (!sent) return expect.unreachable();
    expect(requests(server)).toEqual([`PUT ${files}/sub%20dir%2F%C3%A9.png`]);
    expect(isSignedOverNothing(sent)).toBe(true);
    expect(sent.headers.get("content-type")).toBe("image/png");
    expect(sha256Hex(sent.body)).toBe(file.sha256);
  });

  test("is got and asked about by a path in one segment", async () => {
    await using server = await oldServer(http(200, "x"));
    const client = clientOf(server);
    await new Response((await client.getFile(artifactId, "a/b")).body).text();
    await client.readFileText(artifactId, "a/b", { maxBytes: 10 });
    expect(requests(server)).toEqual([`GET ${files}/a%2Fb`, `GET ${files}/a%2Fb`]);
  });

  test("with a path of more than 255 characters is refused by name, and not sent", async () => {
    await using server = await oldServer(http(500, "{}"));
    const path = `results/${"x".repeat(250)}`;
    const error = await faultOf(putAt(clientOf(server), path, content(1)));
    expect(error).toMatchObject({ answer: { form: "unsent" } });
    expect(String(error)).toContain("has 258 characters; EMX2 (2026-02) takes at most 255");
    expect(server.received).toHaveLength(0);
  });
});

describe("a file above that", () => {
  const file = content(10_000_001);

  test("goes as a form, of a length that is known beforehand", async () => {
    await using server = await oldServer(absent, storedAs("sub/é.csv", file));
    await putAt(clientOf(server), "sub/é.csv", file);
    expect(requests(server)).toEqual([`HEAD ${files}/sub%2F%C3%A9.csv`, `POST ${files}`]);
    const sent = server.received.at(-1);
    if (!sent) return expect.unreachable();
    expect(isSignedOverNothing(sent)).toBe(true);
    expect(sent.headers.has("transfer-encoding")).toBe(false);
    expect(sent.body.length).toBe(Number(sent.headers.get("content-length")));
    const type = sent.headers.get("content-type") ?? "";
    const form = await new Response(sent.body, { headers: { "Content-Type": type } }).formData();
    expect([...form.keys()]).toEqual(["path", "file"]);
    expect(form.get("path")).toBe("sub/é.csv");
    const part = form.get("file");
    if (!(part instanceof Blob)) return expect.unreachable();
    expect(sent.body.subarray(0, 1_000).toString()).toContain("\r\nContent-Type: text/csv\r\n\r\n");
    expect(sha256Hex(await part.bytes())).toBe(file.sha256);
  });

  test("that has arrived already is not sent again: the server would keep both", async () => {
    await using server = await oldServer(present(file));
    await putAt(clientOf(server), "f", file);
    expect(requests(server)).toEqual([`HEAD ${files}/f`]);
  });

  test("is asked about as often as any small call, however often its body may be sent", async () => {
    await using server = await oldServer(http(503, "{}", { "Retry-After": "0" }), absent, storedAs("f", file));
    await clientOf(server).putFile(artifactId, { path: "f", ...file }, { attempts: 1 });
    expect(requests(server)).toEqual([`HEAD ${files}/f`, `HEAD ${files}/f`, `POST ${files}`]);
  });

  test("takes the place of another at its path", async () => {
    await using server = await oldServer(present(content(1)), gone, absent, storedAs("f", file));
    await putAt(clientOf(server), "f", file);
    expect(requests(server)).toEqual([`HEAD ${files}/f`, `DELETE ${files}/f`, `HEAD ${files}/f`, `POST ${files}`]);
  });

  test("whose answer is lost is not sent again within the call", async () => {
    await using server = await oldServer(absent, hangUp);
    expect(await faultOf(putAt(clientOf(server), "f", file))).toMatchObject({ failure: { code: "ECONNRESET" } });
    expect(requests(server)).toEqual([`HEAD ${files}/f`, `POST ${files}`]);
  });

  test.each([401, 400])(
    "is looked for before it is sent again after a %d, which may have been about another delivery",
    async (status) => {
      await using server = await oldServer(absent, http(status, "{}"), present(file));
      await putAt(clientOf(server), "f", file);
      expect(requests(server)).toEqual([`HEAD ${files}/f`, `POST ${files}`, `HEAD ${files}/f`]);
      await using other = await oldServer(absent, http(status, "{}"), absent, storedAs("f", file));
      await putAt(clientOf(other), "f", file);
      expect(requests(other)).toEqual([`HEAD ${files}/f`, `POST ${files}`, `HEAD ${files}/f`, `POST ${files}`]);
    },
  );

  test.each([429, 500, 408])("that was answered %d is not sent again within the call", async (status) => {
    await using server = await oldServer(absent, http(status, "{}"));
    expect(await faultOf(putAt(clientOf(server), "f", file))).toMatchObject({ answer: { status } });
    expect(requests(server)).toEqual([`HEAD ${files}/f`, `POST ${files}`]);
  });

  test.each([
    ["hash", storedAs("f", content(10_000_002))],
    ["path", storedAs("other", file)],
  ])("is not acknowledged by another %s", async (what, answer) => {
    await using server = await oldServer(absent, answer);
    const error = await faultOf(putAt(clientOf(server), "f", file));
    expect(error).toBeInstanceOf(IntegrityError);
    expect(String(error)).toContain(`the ${what} of f in artifact ${artifactId}`);
  });

  test("that changed while it was sent is said to have", async () => {
    await using server = await oldServer(absent, http(500, "{}"));
    const shrunk = { ...file, body: () => streamOf(9_000_000) };
    const error = await faultOf(putAt(clientOf(server), "f", shrunk));
    expect(error).toBeInstanceOf(IntegrityError);
    expect(String(error)).toContain("fewer than 10000001 bytes");
  });

  test("is never in memory as a whole", async () => {
    const bytes = 200_000_000;
    let received = 0;
    const big: Content = { bytes, sha256: "ab".repeat(32), body: () => streamOf(bytes) };
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      maxRequestBodySize: bytes * 2,
      async fetch(request) {
        if (request.url.endsWith("/health")) return new Response('{"status":"ok","api_version":"2025-01"}');
        if (request.method === "HEAD")
          return new Response(null, { status: 404, headers: { "Content-Type": "text/plain" } });
        for await (const part of request.body ?? []) received += part.length;
        return Response.json({ path: "f", sha256: big.sha256, size_bytes: bytes }, { status: 201 });
      },
    });
    const before = process.memoryUsage.rss();
    let highest = 0;
    const watch = new AbortController();
    const watching = (async () => {
      while (!watch.signal.aborted) {
        highest = Math.max(highest, process.memoryUsage.rss() - before);
        await systemClock.sleep(5);
      }
    })();
    try {
      await putAt(clientOf({ url: server.url.origin }), "f", big);
    } finally {
      watch.abort();
      await watching;
      await server.stop(true);
    }
    expect(received).toBeGreaterThan(bytes);
    expect(highest).toBeLessThan(150_000_000);
  });
});
