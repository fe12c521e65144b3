/**
 * `handle` on a real socket, on loopback. It stands on node:http and not on Bun.serve, which (1.4.5) gives only a URL with
 * `..` and `%2e%2e` resolved, so that the signature of such a target can not be checked, and which corrects the wrong
 * Content-Length of a broken download.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import type { Clock } from "../clock.ts";
import type { GenerationName } from "./generation.ts";
import { handle } from "./handle.ts";
import { createState, type EmulatorState } from "./state.ts";

export interface ServeOptions {
  readonly clock: Clock;
  readonly state?: EmulatorState;
  /** Of a state that is made here. */
  readonly generation?: GenerationName;
  /** Of a state that is made here: a directory for large content, which is left in it. */
  readonly contentDir?: string;
  /** 0: any free port. */
  readonly port?: number;
  /** Connections without traffic are cut after this, stalled bodies too. */
  readonly idleTimeoutMs?: number;
  /** May answer in the server's place, change its answer, or throw to cut the connection. */
  readonly around?: (request: Request, answer: () => Promise<Response>) => Promise<Response>;
}

export interface ServedEmulator {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly state: EmulatorState;
  stop(): Promise<void>;
}

export async function serve(options: ServeOptions): Promise<ServedEmulator> {
  const { clock, port = 0, idleTimeoutMs = 30_000 } = options;
  const {
    state = createState({
      uuid: () => clock.uuid(),
      wall: () => clock.wall(),
      ...(options.generation && { generation: options.generation }),
      ...(options.contentDir !== undefined && { contentDir: options.contentDir }),
    }),
    around = (_, answer) => answer(),
  } = options;
  const server = createServer({ maxHeaderSize: 65_536 }, (incoming, outgoing) => {
    const target = incoming.url ?? "/";
    const request = toRequest(incoming, target);
    around(request, () => handle(state, request, clock.wall(), target))
      .then((response) => send(response, outgoing, incoming.method === "HEAD"))
      .catch(() => incoming.socket.destroy());
  });
  server.timeout = idleTimeoutMs;
  server.keepAliveTimeout = idleTimeoutMs;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`,
    state,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function toRequest(incoming: IncomingMessage, target: string): Request {
  const { headers, method = "GET" } = incoming;
  const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
  const list: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) list.push([name, Array.isArray(value) ? value.join(", ") : value]);
  }
  const init = { method, headers: list };
  const url = `http://127.0.0.1${target.startsWith("/") ? target : "/"}`;
  return new Request(
    url,
    hasBody && method !== "GET" && method !== "HEAD" ? { ...init, body: bodyOf(incoming) } : init,
  );
}

/** Nothing is read before somebody asks, so that an upload can be refused by its headers. */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  let chunks: AsyncIterator<Uint8Array> | undefined;
  return new ReadableStream(
    {
      async pull(controller) {
        chunks ??= incoming[Symbol.asyncIterator]();
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(new Uint8Array(value));
      },
    },
    { highWaterMark: 0 },
  );
}

/** Of an answer that is sent in one piece. */
const maxWholeBytes = 4 * 1024 * 1024;

/** The length that the response declares is sent as it is, right or wrong; after `connection: close` nothing follows. */
async function send(response: Response, outgoing: ServerResponse, isHead: boolean): Promise<void> {
  const isLarge = Number(response.headers.get("content-length")) > maxWholeBytes;
  if (isLarge && !isHead && response.body !== null) {
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    return pipeline(Readable.fromWeb(response.body as NodeReadableStream), outgoing);
  }
  const body = new Uint8Array(await response.arrayBuffer());
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (isHead) outgoing.end();
  else outgoing.end(body);
}
