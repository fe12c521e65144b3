/** File bodies in both directions: streamed, bounded, watched, and checked. */
import { describe, expect, test } from "bun:test";
import { createServer, type Server, type Socket } from "node:net";
import { systemClock } from "../../../src/clock.ts";
import { watchIdle } from "../../../src/emx2/idle.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { uploadBody } from "../../../src/emx2/transfer.ts";
import { IntegrityError, NetworkError } from "../../../src/errors.ts";
import { type Answer, clientOf, faultOf, http, knownAs, rawServer } from "./raw-server.ts";

const artifactId = "550e8400-e29b-41d4-a716-446655440000";
const chunkBytes = 65_536;

/** Counts what is taken from it. */
function source(chunks: number): {
  body: () => ReadableStream<Uint8Array>;
  taken: () => number;
  cancelled: () => boolean;
} {
  let taken = 0;
  let cancelled = false;
  const body = () => {
    let left = chunks;
    return new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          if (left-- === 0) return controller.close();
          taken += chunkBytes;
          controller.enqueue(new Uint8Array(chunkBytes));
        },
        cancel() {
          cancelled = true;
        },
      },
      { highWaterMark: 0 },
    );
  };
  return { body, taken: () => taken, cancelled: () => cancelled };
}

/** A server that knows no HTTP, but what the test says. */
async function listen(onSocket: (socket: Socket) => void): Promise<{ server: Server; url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    server,
    url: `http://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const reply = (status: number, body: string) => http(status, body)(undefined as never, undefined as never) ?? "";

describe("putFile", () => {
  const fetch = knownAs("2026-05");
  const bytes = 320 * chunkBytes;
  const sha256 = sha256Hex(new Uint8Array(bytes));
  const stored = JSON.stringify({ id: "1", path: "f", sha256, size_bytes: bytes });

  test("sends 20 MB with their length and hash, never far ahead of what the server takes", async () => {
    const { body, taken } = source(320);
    let head = "";
    let received = 0;
    let furthestAhead = 0;
    await using server = await listen((socket) =>
      socket.on("data", (chunk: Buffer) => {
        const headEnd = head === "" ? chunk.indexOf("\r\n\r\n") + 4 : 0;
        if (head === "") head = chunk.subarray(0, headEnd).toString();
        received += chunk.length - headEnd;
        furthestAhead = Math.max(furthestAhead, taken() - received);
        socket.pause();
        systemClock.timer(0, () => socket.resume());
        if (received === bytes) socket.end(reply(201, stored));
      }),
    );
    await clientOf(server, { fetch }).putFile(artifactId, { path: "dir/f", bytes, sha256, body });
    expect(received).toBe(bytes);
    expect(furthestAhead).toBeLessThan(10 * 2 ** 20);
    expect(head).toStartWith(`PUT /api/hpc/artifacts/${artifactId}/files/dir/f HTTP/1.1\r\n`);
    expect(head).toContain(`\r\nContent-Length: ${bytes}\r\n`);
    expect(head).toMatch(new RegExp(`\r\nContent-SHA256: ${sha256}\r\n`, "i"));
    expect(head).toMatch(/\r\nContent-Type: application\/octet-stream\r\n/i);
    expect(head).not.toMatch(/chunked/i);
  });

  test("sends the body anew where an attempt failed", async () => {
    const small = { path: "f", bytes: chunkBytes, sha256: sha256Hex(new Uint8Array(chunkBytes)) };
    const answer = JSON.stringify({ path: "f", sha256: small.sha256, size_bytes: chunkBytes });
    const { body, taken } = source(1);
    await using server = await rawServer(http(500, "{}"), http(201, answer));
    await clientOf(server).putFile(artifactId, { ...small, body });
    expect(taken()).toBe(2 * chunkBytes);
    expect(server.received.map((request) => sha256Hex(request.body))).toEqual([small.sha256, small.sha256]);
  });

  test.each([
    ["hash", { sha256: sha256Hex("other"), size_bytes: chunkBytes }],
    ["size", { sha256: sha256Hex(new Uint8Array(chunkBytes)), size_bytes: String(chunkBytes - 1) }],
  ])("does not take another %s for an acknowledgement", async (what, acknowledged) => {
    const { body } = source(1);
    await using server = await rawServer(http(201, JSON.stringify({ path: "f", ...acknowledged })));
    const file = { path: "f", bytes: chunkBytes, sha256: sha256Hex(new Uint8Array(chunkBytes)), body };
    const error = await faultOf(clientOf(server).putFile(artifactId, file));
    expect(error).toBeInstanceOf(IntegrityError);
    expect(String(error)).toContain(`the ${what} of f in artifact ${artifactId}`);
  });

  test.each([
    ["longer", 1],
    ["shorter", 3],
  ])("says of a file that is %s than it was that it changed, and sends it once", async (_name, chunks) => {
    const { body } = source(2);
    await using server = await listen((socket) => socket.resume());
    const file = { path: "f", bytes: chunks * chunkBytes, sha256: sha256Hex(""), body };
    const error = await faultOf(clientOf(server, { fetch }).putFile(artifactId, file));
    expect(error).toBeInstanceOf(IntegrityError);
    expect(String(error)).toContain("a file changed while it was sent");
  });

  test("passes on what reading the file threw", async () => {
    const fault = new IntegrityError("changed", { what: "hash", expected: "a", actual: "b" });
    const body = () => new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(fault) });
    await using server = await listen((socket) => socket.resume());
    expect(
      await faultOf(
        clientOf(server, { fetch }).putFile(artifactId, { path: "f", bytes: 9, sha256: sha256Hex(""), body }),
      ),
    ).toBe(fault);
  });

  test.each(["its end", "more of it"])(
    "has no fault of the file where fetch let go of the body before %s",
    async (next) => {
      const asked = Promise.withResolvers<void>();
      const read = Promise.withResolvers<void>();
      const body = () =>
        new ReadableStream<Uint8Array>(
          {
            async pull(controller) {
              asked.resolve();
              await read.promise;
              if (next === "its end") controller.close();
              else controller.enqueue(new Uint8Array(chunkBytes));
            },
          },
          { highWaterMark: 0 },
        );
      const sent = uploadBody({ bytes: next === "its end" ? 0 : chunkBytes, body }, watchIdle(systemClock, 60_000));
      const reader = sent.stream.getReader();
      const wanted = reader.read();
      await asked.promise;
      await reader.cancel();
      read.resolve();
      await wanted;
      await Bun.sleep(10);
      expect(sent.failure()).toBeUndefined();
    },
  );

  test("gives up on a server that takes no byte, and lets go of the file", async () => {
    const { body, cancelled } = source(100_000);
    await using server = await listen((socket) => socket.pause());
    const file = { path: "f", bytes: 100_000 * chunkBytes, sha256: sha256Hex(""), body };
    const error = await faultOf(
      clientOf(server, { idleTimeoutMs: 200, fetch }).putFile(artifactId, file, { attempts: 1 }),
    );
    expect(error).toBeInstanceOf(NetworkError);
    expect(String(error)).toContain("no byte moved for 0.2 s");
    expect(cancelled()).toBe(true);
  });

  test("takes longer than the idle limit where bytes keep moving", async () => {
    const small = { path: "f", bytes: 10 * chunkBytes, sha256: sha256Hex(new Uint8Array(10 * chunkBytes)) };
    await using server = await rawServer(http(201, JSON.stringify({ ...small, size_bytes: small.bytes })));
    let left = 10;
    const body = () =>
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          if (left-- === 0) return controller.close();
          await systemClock.sleep(50);
          controller.enqueue(new Uint8Array(chunkBytes));
        },
      });
    const startedAt = systemClock.mono();
    await clientOf(server, { idleTimeoutMs: 300 }).putFile(artifactId, { ...small, body }, { attempts: 1 });
    expect(systemClock.mono() - startedAt).toBeGreaterThan(300);
  });

  test.each([".", "..", "a/../b", "a/./b", "\ud800"])("sends nothing for the path %j", async (path) => {
    await using server = await rawServer(http(201, "{}"));
    const file = { path, bytes: 0, sha256: sha256Hex(""), body: source(0).body };
    const client = clientOf(server);
    for (const call of [
      () => client.putFile(artifactId, file),
      () => client.getFile(artifactId, path),
      () => client.headFile(artifactId, path),
    ]) {
      expect(await faultOf(call())).toMatchObject({ answer: { status: 400 } });
    }
    expect(server.received).toHaveLength(0);
  });
});

describe("getFile", () => {
  /** 1 MB, of which the server sends `parts` 64 kB parts, one each `gapMs`, and then does what `then` says. */
  const trickle =
    (parts: number, gapMs: number, then: "end" | "hang" | "cut"): Answer =>
    (_, socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${16 * chunkBytes}\r\nX-Content-SHA256: ABCD\r\n\r\n`);
      let sent = 0;
      const next = () => {
        if (sent++ < parts) socket.write(Buffer.alloc(chunkBytes), () => systemClock.timer(gapMs, next));
        else if (then === "cut") socket.resetAndDestroy();
      };
      next();
      return undefined;
    };

  async function drain(body: ReadableStream<Uint8Array>): Promise<number> {
    let bytes = 0;
    for await (const chunk of body) bytes += chunk.byteLength;
    return bytes;
  }

  test("streams, with length and hash from the headers, for longer than the idle limit", async () => {
    await using server = await rawServer(trickle(16, 40, "end"));
    const { body, bytes, sha256 } = await clientOf(server, { idleTimeoutMs: 400 }).getFile(artifactId, "f");
    expect({ bytes, sha256 }).toEqual({ bytes: 16 * chunkBytes, sha256: "abcd" });
    expect(await drain(body)).toBe(16 * chunkBytes);
  });

  test.each([
    ["falls silent", "hang", "EIDLE"],
    ["breaks off", "cut", "ECONNRESET"],
  ] as const)("of a server that %s in the middle ends in a NetworkError", async (_name, then, code) => {
    await using server = await rawServer(trickle(3, 0, then));
    const { body } = await clientOf(server, { idleTimeoutMs: 200 }).getFile(artifactId, "f");
    const error = await faultOf(drain(body));
    expect(error).toBeInstanceOf(NetworkError);
    expect(error).toMatchObject({ failure: { code, method: "GET" } });
  });

  test("waits for a reader that takes its time, without end", async () => {
    await using server = await rawServer(trickle(16, 0, "end"));
    const { body } = await clientOf(server, { idleTimeoutMs: 100 }).getFile(artifactId, "f");
    const reader = body.getReader();
    await reader.read();
    await systemClock.sleep(250);
    reader.releaseLock();
    expect(await drain(body)).toBeGreaterThan(10 * chunkBytes);
  });

  test("ends with the caller's reason when that aborts it", async () => {
    await using server = await rawServer(trickle(2, 0, "hang"));
    const controller = new AbortController();
    const { body } = await clientOf(server).getFile(artifactId, "f", { signal: controller.signal });
    const drained = drain(body);
    controller.abort(new Error("enough"));
    expect(await faultOf(drained)).toEqual(new Error("enough"));
  });

  test("refuses bytes that were encoded on the way, since they are not what was hashed", async () => {
    await using server = await rawServer(http(200, "\x1f\x8b", { "Content-Encoding": "gzip" }));
    const error = await faultOf(clientOf(server).getFile(artifactId, "f", { attempts: 1 }));
    expect(String(error)).toContain("encoded as gzip");
  });
});
