/** One request and its attempts, seen from a server's side. */

import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { concernsAll } from "../../../src/emx2/retry.ts";
import { signature } from "../../../src/emx2/signature.ts";
import { ApiError, NetworkError } from "../../../src/errors.ts";
import { clientOf, faultOf, hangUp, hastyClock, http, rawServer, secret, silence } from "./raw-server.ts";

const jobId = "550e8400-e29b-41d4-a716-446655440000";
const job = (status = "PENDING") => JSON.stringify({ id: jobId, processor: "p", status });
const beat = http(200, '{"worker_id":"w1","status":"ok"}');
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

async function apiError(promise: Promise<unknown>): Promise<ApiError> {
  const error = await faultOf(promise);
  if (error instanceof ApiError) return error;
  throw error;
}

async function networkError(promise: Promise<unknown>): Promise<NetworkError> {
  const error = await faultOf(promise);
  if (error instanceof NetworkError) return error;
  throw error;
}

describe("every attempt", () => {
  test("carries the protocol's headers and a signature over the target as it is on the wire", async () => {
    await using server = await rawServer(http(200, job("CLAIMED")));
    const traceId = "6b2f8c1e-0000-4000-8000-000000000001";
    await clientOf({ url: `${server.url}/some prefix/` }).claim(jobId, { traceId });
    const { method, target, headers, body } = server.received[0] ?? expect.unreachable();
    expect(target).toBe(`/some%20prefix/api/hpc/jobs/${jobId}/claim`);
    expect(body.toString()).toBe('{"worker_id":"w1"}');
    expect(headers.get("x-emx2-api-version")).toBe("2025-01");
    expect(headers.get("x-request-id")).toMatch(uuid);
    expect(headers.get("x-trace-id")).toBe(traceId);
    expect(headers.get("x-worker-id")).toBe("w1");
    expect(headers.get("x-nonce")).toMatch(/^[0-9a-f]{32}$/);
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("accept-encoding")).toBe("identity");
    expect(headers.get("x-molgenis-token")).toBeUndefined();
    const timestamp = headers.get("x-timestamp") ?? "";
    expect(Math.abs(Number(timestamp) - hastyClock.wall() / 1_000)).toBeLessThan(5);
    const bodySha256 = new Bun.CryptoHasher("sha256").update(body).digest("hex");
    const nonce = headers.get("x-nonce") ?? "";
    expect(headers.get("authorization")).toBe(
      `HMAC-SHA256 ${signature(secret, { method, target, bodySha256, timestamp, nonce })}`,
    );
  });

  test("has its own request id and nonce, and the secret as it is by then", async () => {
    await using server = await rawServer(http(500, "{}"), http(503, "{}"), beat);
    const secrets = ["first", "second", "third"];
    await clientOf(server, { credential: { mode: "token", secret: () => secrets.shift() ?? "" } }).heartbeat();
    expect(server.received.map(({ headers }) => headers.get("x-molgenis-token"))).toEqual(["first", "second", "third"]);
    expect(new Set(server.received.map(({ headers }) => headers.get("x-request-id"))).size).toBe(3);
    await using signed = await rawServer(http(500, "{}"), beat);
    await clientOf(signed).heartbeat();
    expect(new Set(signed.received.map(({ headers }) => headers.get("x-nonce"))).size).toBe(2);
  });

  test("of one call after another shares a connection", async () => {
    await using server = await rawServer(beat);
    const client = clientOf(server);
    for (let count = 0; count < 3; count++) await client.heartbeat();
    expect(server.received.map(({ connection }) => connection)).toEqual([1, 1, 1]);
  });
});

describe("an answer that is no success", () => {
  const problem = '{"type":"about:blank","title":"Conflict","status":409,"detail":"is not in PENDING status"}';

  test("becomes an ApiError with title, detail and request id", async () => {
    await using server = await rawServer(http(409, problem));
    const error = await apiError(clientOf(server).claim(jobId));
    const requestId = server.received[0]?.headers.get("x-request-id") ?? "";
    const path = `/api/hpc/jobs/${jobId}/claim`;
    const detail = "is not in PENDING status";
    expect(error.answer).toEqual({
      ...{ status: 409, method: "POST", path, form: "problem", title: "Conflict", detail, requestId },
    });
    expect(error.message).toBe(`EMX2 answered 409 Conflict to POST ${path}: ${detail}`);
    expect(server.received).toHaveLength(1);
  });

  test.each([
    ["HTML with 200", http(200, "<html><title>Please log in</title></html>")],
    ["truncated JSON", http(200, job().slice(0, -9))],
    ["another shape", http(200, '{"id":7,"status":"DANCING"}')],
    ["another job", http(200, job().replace("550e", "650e"))],
    ["nothing", http(204, "")],
    ["a list", http(200, "[]")],
  ])("%s is tried again and is never taken for a success", async (_name, answer) => {
    await using server = await rawServer(answer);
    const error = await apiError(clientOf(server).readJob(jobId));
    expect(error.message).toContain("with what its protocol does not allow");
    expect(server.received).toHaveLength(3);
    await using mended = await rawServer(answer, http(200, job()));
    expect(await clientOf(mended).readJob(jobId)).toMatchObject({ id: jobId });
  });

  test("is 503 for a while: it costs attempts, not the call", async () => {
    await using server = await rawServer(http(503, "<h1>down</h1>"), hangUp, http(200, job()));
    expect(await clientOf(server).readJob(jobId)).toMatchObject({ id: jobId });
    expect(server.received).toHaveLength(3);
  });

  test("is a redirect: refused, naming the host, which sees nothing of it", async () => {
    await using other = await rawServer(beat);
    await using server = await rawServer(http(307, "", { Location: `${other.url}/api/hpc/x` }));
    const credential = { mode: "token", secret: () => "a-token" } as const;
    const error = await apiError(clientOf(server, { credential }).heartbeat());
    expect(error.answer.status).toBe(307);
    expect(error.message).toContain(`a redirect to ${new URL(other.url).host}, which is not followed`);
    expect(other.received).toHaveLength(0);
    expect(server.received).toHaveLength(1);
  });

  const notAskedFor = '{"errors":[{"message":"no such header"}]}';

  test("is 400: believed the second time, also where a repetition would not be safe otherwise", async () => {
    await using once = await rawServer(http(400, notAskedFor), http(200, job("CLAIMED")));
    expect(await clientOf(once).claim(jobId)).toMatchObject({ status: "CLAIMED" });
    await using always = await rawServer(http(400, notAskedFor));
    const error = await apiError(clientOf(always).claim(jobId));
    expect(error.answer).toMatchObject({ status: 400, detail: "no such header" });
    expect(always.received).toHaveLength(2);
  });

  test("is 403 or 404: believed at once", async () => {
    for (const status of [403, 404]) {
      await using server = await rawServer(http(status, "{}"));
      expect((await apiError(clientOf(server).claim(jobId))).answer.status).toBe(status);
      expect(server.received).toHaveLength(1);
    }
  });

  test("is 400, 401, 400, 401 …: given up soon", async () => {
    await using server = await rawServer(http(400, "{}"), http(401, "{}"), http(400, "{}"), http(401, "{}"), beat);
    await apiError(clientOf(server).heartbeat());
    expect(server.received).toHaveLength(4);
  });
});

describe("401", () => {
  const date = (offsetS: number) => ({ Date: new Date(hastyClock.wall() + offsetS * 1_000).toUTCString() });

  test("is believed only from a new connection, freshly signed", async () => {
    await using server = await rawServer(http(401, '{"title":"Unauthorized"}', date(0)));
    const error = await apiError(clientOf(server).claim(jobId, { attempts: 1 }));
    expect(error.answer.status).toBe(401);
    expect(error.answer.clockOffsetS).toBeUndefined();
    expect(server.received.map(({ connection }) => connection)).toEqual([1, 2]);
    expect(new Set(server.received.map(({ headers }) => headers.get("x-nonce"))).size).toBe(2);
  });

  test("that a new connection does not confirm costs nothing", async () => {
    await using server = await rawServer(http(401, "{}"), http(200, job("CLAIMED")));
    expect(await clientOf(server).claim(jobId)).toMatchObject({ status: "CLAIMED" });
  });

  test.each([
    ["behind", 400, -400],
    ["ahead of", -3_600, 3_600],
  ])("of a host whose clock is %s the server's says clock", async (direction, serverOffsetS, offsetS) => {
    await using server = await rawServer(http(401, '{"title":"Unauthorized"}', date(serverOffsetS)));
    const offsets: number[] = [];
    const error = await apiError(clientOf(server, { onClockOffset: (seconds) => offsets.push(seconds) }).heartbeat());
    expect(Math.abs((error.answer.clockOffsetS ?? 0) - offsetS)).toBeLessThan(3);
    expect(error.message).toMatch(new RegExp(`clock: this host's clock is \\d+ s ${direction} EMX2's`));
    expect(offsets).toContain(error.answer.clockOffsetS ?? Number.NaN);
  });

  const errors = (message: string) => http(401, JSON.stringify({ errors: [{ message }] }), date(0));

  test("of a secret that does not match names what to check, and no secret", async () => {
    await using server = await rawServer(errors("HMAC signature mismatch"));
    const { message } = await apiError(clientOf(server).heartbeat());
    expect(message).toStartWith(
      "EMX2 answered 401 to POST /api/hpc/workers/w1/heartbeat: HMAC signature mismatch; check emx2.worker_id (w1) and the secret file",
    );
    for (const word of ["emx2.worker_secret_file", "emx2.shared_secret_file", "rotated"])
      expect(message).toContain(word);
    expect(message).not.toContain(secret);
  });

  test("of a token names the token", async () => {
    await using server = await rawServer(errors("Cannot parse token"));
    const credential = { mode: "token", secret: () => "a-token" } as const;
    const { message } = await apiError(clientOf(server, { credential }).heartbeat());
    expect(message).toEndWith(
      "Cannot parse token; check that the token in the secret file (emx2.worker_secret_file) is still valid",
    );
  });

  test.each([
    [
      "a time too far off",
      errors("Request timestamp too far from server time (drift: 400s)"),
      "set this host's clock right",
    ],
    ["a proxy", http(401, "<title>Log in</title>", date(0)), "this is not EMX2's own answer: check emx2.base_url"],
    [
      "a nonce seen before",
      errors("Duplicate nonce (possible replay attack)"),
      "Duplicate nonce (possible replay attack)",
    ],
  ])("of %s is not put down to the secret", async (_name, answer, words) => {
    await using server = await rawServer(answer);
    const { message } = await apiError(clientOf(server).heartbeat());
    expect(message).toContain(words);
    expect(message).not.toContain("rotated");
  });

  test("over plain http from elsewhere tells nothing about the clock", async () => {
    const fetch = async () => new Response('{"title":"Unauthorized"}', { status: 401, headers: date(9_000) });
    const server = { url: "http://emx2.example.org" };
    const error = await apiError(clientOf(server, { fetch }).heartbeat());
    expect(error.answer.clockOffsetS).toBeUndefined();
  });
});

describe("a body that is too large", () => {
  const problem = (detail: string) => JSON.stringify({ title: "Payload Too Large", status: 413, detail });

  test.each([
    [
      "EMX2 of 2026-05",
      http(413, problem("Content-Length 600 exceeds maximum upload size of 500 bytes")),
      { limitBytes: 500 },
    ],
    ["EMX2 of 2026-02", http(500, '{"title":"Internal Server Error","status":500,"detail":"Content Too Large"}'), {}],
    ["EMX2's framework", http(413, '{"errors":[{"message":"Content Too Large"}]}'), {}],
    ["a proxy", http(413, "<title>413 Request Entity Too Large</title>"), {}],
  ])("is refused at once by %s, and said to be that", async (_name, answer, tooLarge) => {
    await using server = await rawServer(answer);
    const error = await apiError(clientOf(server).claim(jobId));
    expect(error.answer.tooLarge).toEqual(tooLarge);
    expect(concernsAll(error)).toBe(false);
    expect(server.received).toHaveLength(1);
  });

  test("is not what another 500 says", async () => {
    await using server = await rawServer(
      http(500, '{"title":"Internal Server Error","status":500,"detail":"deadlock"}'),
    );
    expect((await apiError(clientOf(server).claim(jobId))).answer.tooLarge).toBeUndefined();
  });
});

describe("Retry-After", () => {
  test("is waited for", async () => {
    await using server = await rawServer(http(429, "{}", { "Retry-After": "30" }), beat);
    const waits: number[] = [];
    const clock = { ...hastyClock, sleep: async (ms: number) => void waits.push(ms) };
    expect(await clientOf(server, { clock }).heartbeat()).toBe("ok");
    expect(waits).toHaveLength(1);
    expect(waits[0]).toBeWithin(30_000, 31_000);
  });

  test("beyond a minute is handed up at once, as seconds or as a date", async () => {
    const start = Date.UTC(2026, 0, 1);
    const headers = { "Retry-After": new Date(start + 90_000).toUTCString(), Date: new Date(start).toUTCString() };
    for (const answer of [http(503, "{}", { "Retry-After": "90" }), http(429, "{}", headers)]) {
      await using server = await rawServer(answer);
      expect((await apiError(clientOf(server).heartbeat())).answer.retryAfterMs).toBe(90_000);
      expect(server.received).toHaveLength(1);
    }
  });
});

describe("a network failure", () => {
  const metadata = { jobId, processor: "p", profile: null, role: "log", createdBy: null } as const;
  const log = {
    type: "log",
    residence: "managed",
    name: "log-550e8400",
    metadata: { ...metadata, inputArtifactIds: [], parametersHash: "" },
  } as const;

  test("after the request was sent may have delivered it, so that create and claim are sent once", async () => {
    for (const answer of [hangUp, http(500, "{}"), http(200, "<html>")]) {
      await using server = await rawServer(answer);
      const client = clientOf(server);
      await faultOf(client.createArtifact(log));
      await faultOf(client.claim(jobId));
      expect(server.received.map(({ target }) => target)).toEqual([
        "/api/hpc/artifacts",
        `/api/hpc/jobs/${jobId}/claim`,
      ]);
    }
    await using server = await rawServer(hangUp);
    expect((await networkError(clientOf(server).createArtifact(log))).failure).toMatchObject({
      code: "ECONNRESET",
      maybeDelivered: true,
    });
  });

  test("before anything was sent is known not to have delivered it", async () => {
    const closed = await rawServer(beat);
    await closed[Symbol.asyncDispose]();
    const error = await networkError(clientOf(closed).createArtifact(log));
    expect(error.failure).toMatchObject({ code: "ECONNREFUSED", maybeDelivered: false, method: "POST" });
    expect(error.message).not.toContain("verbose");
  });

  test("ends a call that is answered with silence, after the idle limit", async () => {
    await using server = await rawServer(silence);
    const error = await networkError(clientOf(server, { idleTimeoutMs: 100 }).readJob(jobId, { attempts: 1 }));
    expect(error.failure).toMatchObject({ code: "EIDLE", maybeDelivered: true });
    expect(error.message).toContain("no byte moved for 0.1 s");
  });

  test("ends a call whose answer comes in drops for ever", async () => {
    await using server = await rawServer((_, socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n");
      const drops = setInterval(() => socket.write(" "), 20);
      socket.on("close", () => clearInterval(drops));
      return undefined;
    });
    // All that is long is as short here.
    const clock = {
      ...systemClock,
      timer: (ms: number, wake: () => void) => systemClock.timer(Math.min(ms, 200), wake),
    };
    const error = await networkError(clientOf(server, { clock }).readJob(jobId, { attempts: 1 }));
    expect(error.failure).toMatchObject({ code: "EIDLE", maybeDelivered: true });
    expect(error.message).toContain("not whole after 300 s");
  });

  test("an aborted call throws the caller's reason, and is not sent again", async () => {
    const controller = new AbortController();
    await using server = await rawServer(() => {
      controller.abort(new Error("shutting down"));
      return undefined;
    });
    const error = await faultOf(clientOf(server).readJob(jobId, { signal: controller.signal }));
    expect(error).toEqual(new Error("shutting down"));
    expect(server.received).toHaveLength(1);
    expect(await faultOf(clientOf(server).readJob(jobId, { signal: controller.signal }))).toBe(error);
    expect(server.received).toHaveLength(1);
  });
});
