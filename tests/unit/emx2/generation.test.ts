/** Which generation a server is of: asked once, remembered, and learnt again when it is upgraded or restored older. */
import { describe, expect, test } from "bun:test";
import type { Emx2Client } from "../../../src/emx2/client.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { ApiError, NetworkError } from "../../../src/errors.ts";
import {
  type Answer,
  clientOf,
  faultOf,
  hangUp,
  hastyClock,
  healthOf,
  http,
  rawServer,
  silence,
} from "./raw-server.ts";

const artifactId = "550e8400-e29b-41d4-a716-446655440000";
const content = "hello";
const sha256 = sha256Hex(content);
const bytes = content.length;
const stored = http(201, JSON.stringify({ path: "d/f", sha256, size_bytes: bytes }));
const beat = http(200, '{"worker_id":"w1","status":"ok"}');
const unauthorized = http(401, '{"errors":[{"message":"HMAC signature mismatch"}]}');
const missingRoute = http(404, '{"errors":[{"message":"Endpoint PUT /api/hpc/… not found"}]}');

const put = (client: Emx2Client, signal?: AbortSignal) =>
  client.putFile(
    artifactId,
    { path: "d/f", bytes, sha256, body: () => new Blob([content]).stream() },
    signal ? { signal } : {},
  );

describe("the generation", () => {
  test.each(["2026-02", "2026-05"] as const)(
    "is %s where /health tells so, asked without credentials",
    async (told) => {
      await using server = await rawServer(beat);
      let headers: ReadonlyMap<string, string> = new Map();
      server.health.answer = (request, socket) => {
        headers = request.headers;
        return healthOf(told)(request, socket);
      };
      expect(await clientOf(server).generation()).toBe(told);
      expect(headers.has("authorization")).toBe(false);
    },
  );

  test("is asked for once by any number of uploads, also at the same time", async () => {
    await using server = await rawServer(stored);
    const client = clientOf(server);
    await Promise.all([put(client), put(client), put(client)]);
    for (let count = 0; count < 3; count++) await put(client);
    expect(server.received).toHaveLength(6);
    expect(server.health.asked).toBe(1);
  });

  test("is not asked for by calls that are the same in both", async () => {
    await using server = await rawServer(beat);
    const client = clientOf(server);
    await client.heartbeat();
    await client.register({ hostname: "h", capabilities: [] });
    expect(server.health.asked).toBe(0);
  });

  test("is known from any look at the health", async () => {
    await using server = await rawServer(stored);
    const client = clientOf(server);
    await client.health();
    await put(client);
    expect(server.health.asked).toBe(1);
  });

  test("is learnt again after ten minutes", async () => {
    let monoMs = 0;
    await using server = await rawServer(stored);
    const client = clientOf(server, { clock: { ...hastyClock, mono: () => monoMs } });
    await client.generation();
    server.health.answer = healthOf("2026-02");
    monoMs = 599_999;
    expect(await client.generation()).toBe("2026-05");
    monoMs = 600_000;
    expect(await client.generation()).toBe("2026-02");
    expect(server.health.asked).toBe(2);
  });

  test("is learnt again after a 401 to any call, and after a registration", async () => {
    await using server = await rawServer(unauthorized, unauthorized, beat);
    const client = clientOf(server);
    await client.generation();
    server.health.answer = healthOf("2026-02");
    await faultOf(client.heartbeat());
    expect(await client.generation()).toBe("2026-02");
    server.health.answer = healthOf("2026-05");
    await client.register({ hostname: "h", capabilities: [] });
    expect(await client.generation()).toBe("2026-05");
  });

  test.each([
    ["hangs up", hangUp, NetworkError],
    ["is down", http(503, "<h1>down</h1>"), ApiError],
    ["is a login page", http(200, "<html>log in</html>"), ApiError],
    ["is something else's", http(200, '{"status":"UP"}'), ApiError],
  ] as const)(
    "is not guessed where the health %s: the upload fails, and the next one asks again",
    async (_name, answer, kind) => {
      await using server = await rawServer(stored);
      server.health.answer = answer;
      const client = clientOf(server);
      expect(await faultOf(put(client))).toBeInstanceOf(kind);
      expect(server.received).toHaveLength(0);
      server.health.answer = healthOf("2026-05");
      await put(client);
    },
  );

  test("is waited for by the others when one caller gives up", async () => {
    let answerNow: () => void = () => undefined;
    await using server = await rawServer(stored);
    server.health.answer = (request, socket) => {
      answerNow = () => void socket.write(healthOf("2026-05")(request, socket) ?? "");
      return silence(request, socket);
    };
    const client = clientOf(server);
    const controller = new AbortController();
    const [given, waiting] = [put(client, controller.signal), put(client)];
    controller.abort(new Error("cancelled"));
    expect(await faultOf(given)).toEqual(new Error("cancelled"));
    while (server.health.asked === 0) await hastyClock.sleep(1_000);
    answerNow();
    await waiting;
    expect(server.health.asked).toBe(1);
  });
});

describe("an upload", () => {
  const signedOverNothing =
    (accept: Answer): Answer =>
    (request, socket) =>
      (request.headers.has("content-sha256") ? unauthorized : accept)(request, socket);

  test("meets a server that was upgraded: signed for the new generation within the same call", async () => {
    const signedOverContent: Answer = (request, socket) =>
      (request.headers.has("content-sha256") ? stored : unauthorized)(request, socket);
    await using server = await rawServer(signedOverContent);
    server.health.answer = healthOf("2026-02");
    const client = clientOf(server);
    await client.generation();
    server.health.answer = healthOf("2026-05");
    await put(client);
    expect(server.received.at(-1)?.target).toEndWith("/files/d/f");
    expect(server.health.asked).toBe(2);
  });

  test("meets a server that was restored older, by its 401 or by the route that it lacks", async () => {
    for (const lacking of [signedOverNothing(stored), routeOfOneSegment]) {
      await using server = await rawServer(lacking);
      const client = clientOf(server);
      await client.generation();
      server.health.answer = healthOf("2026-02");
      await put(client);
      expect(server.received.at(-1)?.target).toEndWith("/files/d%2Ff");
    }
  });

  const routeOfOneSegment: Answer = (request, socket) =>
    (request.target.endsWith("%2Ff") ? stored : missingRoute)(request, socket);

  test("refused by the generation that was assumed stays refused, after one look", async () => {
    const refused = http(409, '{"title":"Conflict","status":409,"detail":"is committed"}');
    await using server = await rawServer(refused);
    expect(await faultOf(put(clientOf(server)))).toMatchObject({ answer: { status: 409, detail: "is committed" } });
    expect(server.received).toHaveLength(1);
    expect(server.health.asked).toBe(2);
  });
});
