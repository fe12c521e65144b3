/**
 * A server on a bare socket: what it answers, and how it breaks off, is up to the test; it keeps what reached it. Its
 * /health, by which a client learns the generation, stands apart.
 */
import { createServer, type Socket } from "node:net";
import { systemClock } from "../../../src/clock.ts";
import { createClient, type Emx2Client, type Emx2Options, type Fetch } from "../../../src/emx2/client.ts";
import type { Generation } from "../../../src/emx2/generation.ts";

export interface Received {
  readonly method: string;
  readonly target: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** Counts from 1. */
  readonly connection: number;
}

export type Answer = (request: Received, socket: Socket) => string | undefined;

export interface RawServer {
  readonly url: string;
  /** All but the questions about health. */
  readonly received: readonly Received[];
  readonly health: { answer: Answer; asked: number };
  [Symbol.asyncDispose](): Promise<void>;
}

/** Answers one request after the other with `answers`, the last of them for ever; undefined: it says nothing more itself. */
export async function rawServer(...answers: readonly [Answer, ...Answer[]]): Promise<RawServer> {
  const received: Received[] = [];
  const health = { answer: healthOf("2026-05"), asked: 0 };
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    const connection = ++connections;
    let buffered: Buffer = Buffer.alloc(0);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      const request = parse(buffered, connection);
      if (!request) return;
      buffered = Buffer.alloc(0);
      const text = answerTo(request)(request, socket);
      if (text !== undefined) socket.write(Buffer.from(text, "latin1"));
    });
  });
  const answerTo = (request: Received): Answer => {
    if (request.target.endsWith("/api/hpc/health")) {
      health.asked += 1;
      return health.answer;
    }
    received.push(request);
    return answers[Math.min(received.length, answers.length) - 1] ?? silence;
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    received,
    health,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function parse(buffered: Buffer, connection: number): Received | undefined {
  const headEnd = buffered.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [first = "", ...lines] = buffered.subarray(0, headEnd).toString("latin1").split("\r\n");
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const body = buffered.subarray(headEnd + 4);
  if (body.length < Number(headers.get("content-length") ?? 0)) return undefined;
  const [method = "", target = ""] = first.split(" ");
  return { method, target, headers, body, connection };
}

/** `body` in ISO-8859-1. */
export function http(status: number, body: string, headers: Record<string, string> = {}): Answer {
  return () => {
    const all = { "Content-Type": "application/json", "Content-Length": String(body.length), ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    return `HTTP/1.1 ${status} Whatever\r\n${lines.join("")}\r\n${body}`;
  };
}

const healthTexts: Readonly<Record<Generation, string>> = {
  "2026-02": '{"status":"ok","api_version":"2025-01","hpc_enabled":false,"database":"connected"}',
  "2026-05": '{"status":"ok","api_version":"2025-01","hpc_enabled":true,"worker_auth_mode":"per-worker-hmac"}',
};

export function healthOf(generation: Generation): Answer {
  return http(200, healthTexts[generation]);
}

/** For servers that have no /health. */
export const knownAs =
  (generation: Generation): Fetch =>
  async (url, init) =>
    url.endsWith("/api/hpc/health") ? new Response(healthTexts[generation]) : fetch(url, init);

export const hangUp: Answer = (_, socket) => {
  socket.resetAndDestroy();
  return undefined;
};

export const silence: Answer = () => undefined;

export const secret = "contract-secret-0123456789abcdef0123456789";

/** Time passes as it does, but waits between attempts are short. */
export const hastyClock = {
  ...systemClock,
  sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 1_000, signal),
};

export function clientOf(server: { readonly url: string }, options: Partial<Emx2Options> = {}): Emx2Client {
  return createClient({
    baseUrl: server.url,
    workerId: "w1",
    credential: { mode: "hmac", secret: () => secret },
    clock: hastyClock,
    ...options,
  });
}

/** What the promise rejects with; throws where it does not. */
export async function faultOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("expected a failure");
}
