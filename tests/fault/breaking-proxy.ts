/**
 * A TCP proxy between the daemon and EMX2 that breaks chosen requests at a chosen byte: what networks, load balancers and
 * servers that are restarted do to connections. It reads as much of HTTP/1.1 as it takes to know where in a request or its
 * answer it is; everything else goes through as it came, each request on a connection of its own to EMX2.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { systemClock } from "../../src/clock.ts";
import { Inlet, write } from "./inlet.ts";

export const places = [
  "after the request's headers",
  "in the middle of the request's body",
  "after the request, before EMX2 sees it",
  "after EMX2 has acted",
  "in the middle of the answer's headers",
  "after the answer's headers",
  "in the middle of the answer's body",
] as const;
export type Place = (typeof places)[number];

/** `refuse`: the connection is reset, and none is taken for a while. A text: an HTTP answer in EMX2's place, its head and body. */
export type Way = "reset" | "close" | "hang" | "refuse" | { readonly answer: string };

export interface Fault {
  readonly place: Place;
  readonly way: Way;
}

export interface Asked {
  readonly method: string;
  /** With its query. */
  readonly target: string;
  readonly header: (name: string) => string | undefined;
  /** Of a JSON body. */
  readonly json: string;
}

export interface BreakingProxy extends AsyncDisposable {
  readonly url: string;
  /** Of EMX2. */
  target: string;
  /** Asked at each request, once its head, and the whole of a JSON body, is here. */
  judge: (asked: Asked) => Fault | undefined;
  /** What went wrong in the proxy itself. */
  readonly troubles: readonly unknown[];
}

const host = "127.0.0.1";
const pieceBytes = 64 * 1024;
const refusesMs = 400;

interface Message {
  readonly head: Buffer;
  readonly firstLine: readonly string[];
  readonly header: (name: string) => string | undefined;
  readonly bodyBytes: number;
}

export async function openBreakingProxy(): Promise<BreakingProxy> {
  const clients = new Set<Socket>();
  const troubles: unknown[] = [];
  const onClient = (client: Socket) => {
    clients.add(client);
    client.on("close", () => clients.delete(client));
    talk(client).catch((error) => {
      troubles.push(error);
      client.destroy();
    });
  };
  let server = await listen(onClient, 0);
  const { port } = server.address() as AddressInfo;
  /** Under way: connections are taken again when the last is over. */
  let refusals = 0;

  const proxy: BreakingProxy = {
    url: `http://${host}:${port}`,
    target: "",
    judge: () => undefined,
    troubles,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const client of clients) client.destroy();
    },
  };

  async function talk(client: Socket): Promise<void> {
    const inlet = new Inlet(client);
    for (let goesOn = true; goesOn; ) {
      const request = message(await inlet.head());
      if (request === undefined) return;
      const isJson = request.header("content-type")?.startsWith("application/json") ?? false;
      const json = isJson ? await inlet.exactly(request.bodyBytes) : undefined;
      const [method = "", target = ""] = request.firstLine;
      const fault = proxy.judge({ method, target, header: request.header, json: json?.toString() ?? "" });
      goesOn = await passOn({ client, inlet, request, json, fault });
    }
    client.end();
  }

  /** One request and its answer. false: the connection is of no use any more. */
  async function passOn({ client, inlet, request, json, fault }: Turn): Promise<boolean> {
    const at = fault?.place;
    const broken = async () => {
      if (fault) await breakOff(client, fault.way);
      return false;
    };
    const isWhole = at !== "after the request's headers" && at !== "in the middle of the request's body";
    if (at === "after the request, before EMX2 sees it") {
      if (!json) await inlet.exactly(request.bodyBytes);
      return broken();
    }
    const { hostname, port: targetPort } = new URL(proxy.target);
    const upstream = connect(Number(targetPort), hostname);
    const answers = new Inlet(upstream);
    try {
      await write(upstream, request.head);
      const wanted = isWhole ? request.bodyBytes : at === "in the middle of the request's body" ? half(request) : 0;
      let sent = false;
      const sending = pass(json ? new Inlet(json) : inlet, upstream, wanted).then((all) => {
        sent = all;
      });
      if (!isWhole) {
        await sending;
        upstream.destroy();
        return await broken();
      }
      // A server may refuse an upload by its headers, and read none of it.
      const answer = message(await answers.head());
      if (answer === undefined) {
        client.destroy();
        return false;
      }
      const [method] = request.firstLine;
      const bodyBytes = method === "HEAD" ? 0 : answer.bodyBytes;
      if (at === "after EMX2 has acted") {
        await answers.exactly(bodyBytes);
        return await broken();
      }
      const headBytes = at === "in the middle of the answer's headers" ? half(answer.head) : answer.head.length;
      await write(client, answer.head.subarray(0, headBytes));
      if (at === "in the middle of the answer's headers" || at === "after the answer's headers") return await broken();
      await pass(answers, client, at === "in the middle of the answer's body" ? half(bodyBytes) : bodyBytes);
      if (at !== undefined) return await broken();
      return sent && answer.header("connection") !== "close";
    } finally {
      upstream.destroy();
    }
  }

  async function breakOff(client: Socket, way: Way): Promise<void> {
    if (way === "reset" || way === "refuse") client.resetAndDestroy();
    else if (way === "close") client.end();
    // The daemon ends what hangs by itself.
    else if (way === "hang") await new Promise((resolve) => client.once("close", resolve));
    else {
      client.resume();
      client.end(way.answer);
    }
    if (way !== "refuse") return;
    refusals += 1;
    if (refusals === 1) server.close();
    for (const other of clients) other.resetAndDestroy();
    await systemClock.sleep(refusesMs);
    refusals -= 1;
    if (refusals === 0) server = await listen(onClient, port);
  }

  return proxy;
}

interface Turn {
  readonly client: Socket;
  readonly inlet: Inlet;
  readonly request: Message;
  readonly json: Buffer | undefined;
  readonly fault: Fault | undefined;
}

function listen(onClient: (client: Socket) => void, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, onClient);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve(server));
  });
}

/** undefined: the connection ended before there was one. */
function message(head: Buffer | undefined): Message | undefined {
  if (head === undefined) return undefined;
  const [first = "", ...lines] = head.toString("latin1").trimEnd().split("\r\n");
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  if (headers.has("transfer-encoding")) throw new Error(`no length: ${first}`);
  const bodyBytes = Number(headers.get("content-length") ?? 0);
  return { head, firstLine: first.split(" "), header: (name) => headers.get(name), bodyBytes };
}

/** So many bytes from one to the other. false: one of them ended before. */
async function pass(from: Inlet, to: Socket, bytes: number): Promise<boolean> {
  for (let left = bytes; left > 0; ) {
    const piece = await from.some(Math.min(left, pieceBytes));
    if (piece === undefined || !(await write(to, piece))) return false;
    left -= piece.length;
  }
  return true;
}

function half(what: Message | Buffer | number): number {
  const bytes = typeof what === "number" ? what : "bodyBytes" in what ? what.bodyBytes : what.length;
  return Math.floor(bytes / 2);
}
