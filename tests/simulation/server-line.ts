/**
 * The line between one daemon and the emulated EMX2: requests and answers get lost, come twice, come too late or not at all,
 * and a gateway answers in EMX2's place. What was sent arrives though the sender was killed meanwhile.
 */
import { handle } from "../../src/emulator/handle.ts";
import type { EmulatorState } from "../../src/emulator/state.ts";
import type { Fetch, FetchInit } from "../../src/emx2/client.ts";
import type { Chronicle } from "./chronicle.ts";
import type { VirtualClock } from "./virtual-clock.ts";
import { isWithin, type Weather } from "./weather.ts";

interface Parts {
  readonly clock: VirtualClock;
  readonly server: EmulatorState;
  readonly weather: Weather;
  readonly chronicle: Chronicle;
  readonly worker: string;
  /** Told of each request as it is sent. */
  onRequest(method: string, path: string, body: Uint8Array): void;
}

const latencyMs = { least: 5, most: 200 } as const;
/** Longer than a client waits. */
const slowestMs = 100_000;

export function createLine({ clock, server, weather, chronicle, worker, onRequest }: Parts): Fetch {
  const chance = (share: number) => clock.mono() < weather.quietAt && clock.random() < share;
  const isDown = () => isWithin(weather.serverDown, clock.mono());
  let lastWasSpurious = false;
  /** What was answered with 400 or 404 once: that is believed the second time. */
  const believed = new Set<string>();

  async function deliver(url: string, init: FetchInit, body: Uint8Array<ArrayBuffer>): Promise<Response> {
    const { method, headers } = init;
    const request = new Request(url, { method, headers, ...(body.length > 0 ? { body } : {}) });
    const answer = await handle(server, request, clock.wall());
    chronicle.say(`${worker} ${method} ${new URL(url).pathname.slice("/api/hpc".length)} ${answer.status}`);
    return answer;
  }

  async function exchange(url: string, init: FetchInit, body: Uint8Array<ArrayBuffer>): Promise<Response> {
    await clock.sleep(latencyMs.least + clock.random() * (latencyMs.most - latencyMs.least));
    if (isDown()) throw fault(clock.random() < 0.7 ? "ConnectionRefused" : "ECONNRESET");
    if (chance(weather.lostRequest)) throw fault("ECONNRESET");
    const spurious = !lastWasSpurious && chance(weather.spurious);
    lastWasSpurious = spurious;
    const before = spurious && clock.random() < 0.7;
    if (before) return said(spuriousAnswer(clock.random(), init.method, url, believed));
    if (chance(weather.slow)) await clock.sleep(clock.random() * slowestMs);
    let answer = await deliver(url, init, body);
    if (chance(weather.doubled))
      answer = clock.random() < 0.5 ? await deliver(url, init, body) : await twice(url, init, body, answer);
    if (chance(weather.slow)) await clock.sleep(clock.random() * slowestMs);
    await clock.sleep(latencyMs.least);
    if (isDown() || chance(weather.lostAnswer)) throw fault("ECONNRESET");
    return spurious ? said(gateway(502)) : answer;
  }

  /** The second delivery's answer is not read. */
  async function twice(
    url: string,
    init: FetchInit,
    body: Uint8Array<ArrayBuffer>,
    first: Response,
  ): Promise<Response> {
    await deliver(url, init, body);
    return first;
  }

  function said(answer: Response): Response {
    chronicle.note(`${worker} is told ${answer.status} by somebody`);
    return answer;
  }

  return async (url, init) => {
    const body = await bytesOf(init);
    onRequest(init.method, new URL(url).pathname, body);
    const gone = Promise.withResolvers<never>();
    const leave = () => gone.reject(init.signal?.reason);
    init.signal?.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([exchange(url, init, body), gone.promise]);
    } finally {
      init.signal?.removeEventListener("abort", leave);
    }
  };
}

async function bytesOf({ body }: FetchInit): Promise<Uint8Array<ArrayBuffer>> {
  return body ? new Uint8Array(await new Response(body).arrayBuffer()) : new Uint8Array();
}

function fault(code: string): Error {
  return Object.assign(new Error(`simulated: ${code}`), { code });
}

/** A job may not be found for a moment (404) while EMX2 is deployed anew. */
function spuriousAnswer(random: number, method: string, url: string, believed: Set<string>): Response {
  if (random < 0.3) return gateway(503);
  const mayBeUnknown = method === "GET" && /\/jobs\/[^/?]+$/.test(url);
  const drawn = random < 0.5 ? 400 : random < 0.7 ? 500 : random < 0.85 || !mayBeUnknown ? 401 : 404;
  const asked = `${drawn} ${method} ${url}`;
  const status = believed.has(asked) ? 500 : drawn;
  if (drawn === 400 || drawn === 404) believed.add(asked);
  const body = JSON.stringify({ type: "about:blank", title: "simulated", status, detail: "simulated" });
  return new Response(body, { status, headers: { "content-type": "application/problem+json" } });
}

function gateway(status: number): Response {
  return new Response("<html>simulated</html>", { status, headers: { "content-type": "text/html" } });
}
