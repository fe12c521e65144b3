/**
 * Recorded exchanges with a real server, as data in tests/fixtures/emx2/<generation>: each file holds scenarios, each scenario
 * is sent in order to a fresh server with two registered workers, a user of every role and one committed input `{in}`.
 * `{name}` stands for a value kept from an earlier answer. `<uuid>`, `<stored>` and `<fresh>` in an expected answer stand
 * for an id and for the two spellings of a date-time; `<absent>` for a member that is not there.
 */
import { expect } from "bun:test";
import type { GenerationName } from "../../../src/emulator/generation.ts";
import { handle } from "../../../src/emulator/handle.ts";
import { createState, type EmulatorState, roles } from "../../../src/emulator/state.ts";
import { addArtifact, addSharedSecret, addToken, addWorkerCredential } from "../../../src/emulator/submitter.ts";
import { sha256Hex, signature } from "../../../src/emx2/signature.ts";

export interface RecordedExchange {
  readonly name: string;
  /** `METHOD target`. */
  readonly do: string;
  /** A worker, a role that holds a token, or nobody at all. Default: the worker `w1`. */
  readonly as?: string;
  /** A body: JSON, text as it is, or that many bytes of 0, 1, … 255, 0, … */
  readonly json?: unknown;
  readonly text?: string;
  readonly bytes?: number;
  /** Beside or instead of the usual ones; null takes one away. */
  readonly headers?: Readonly<Record<string, string | null>>;
  /** What the signature was made of, where it was not what was sent. */
  readonly signed?: { readonly target?: string; readonly secret?: string; readonly body?: string };
  readonly timestampOffsetS?: number;
  readonly status: number;
  /** Expected headers, and members of the JSON answer or its whole text. */
  readonly answerHeaders?: Readonly<Record<string, string>>;
  readonly answer?: unknown;
  /** Name to the member of the answer that is kept under it. */
  readonly keep?: Readonly<Record<string, string>>;
}

export const now = Date.UTC(2026, 10, 22, 15, 10, 37, 670);
export const secrets: Readonly<Record<string, string>> = { w1: "secret-of-w1", w2: "secret-of-w2" };
const sharedSecret = "the secret that all workers share";
const requestId = "7f6f4a0e-9f1c-4f8e-8a55-0d6f5a3c9b21";

export function freshServer(generation: GenerationName = "2026-05"): {
  state: EmulatorState;
  kept: Map<string, string>;
} {
  const state = createState({ uuid: countingUuids(), wall: () => now, generation });
  const cpu = { processor: "demo", profile: "cpu", maxConcurrentJobs: 3 };
  const gpu = { processor: "demo", profile: "gpu", maxConcurrentJobs: 1 };
  for (const id of ["w1", "w2"]) {
    addWorkerCredential(state, id, secrets[id] ?? "");
    addSharedSecret(state, sharedSecret);
    const capabilities = id === "w1" ? [cpu, gpu] : [cpu];
    state.workers.set(id, { id, hostname: id, capabilities, registeredAt: now, lastHeartbeatAt: now });
  }
  for (const role of roles) addToken(state, `token-of-${role}`, role, role);
  const input = addArtifact(state, { name: "in", type: "dataset", files: [{ path: "a.txt", content: "hello" }] });
  return { state, kept: new Map([["in", input]]) };
}

export function countingUuids(): () => string {
  let count = 0;
  return () => `00000000-0000-4000-8000-${String(++count).padStart(12, "0")}`;
}

export async function replay(
  exchanges: readonly RecordedExchange[],
  generation: GenerationName = "2026-05",
): Promise<void> {
  const { state, kept } = freshServer(generation);
  let sent = 0;
  for (const template of exchanges) {
    const exchange = JSON.parse(filledIn(JSON.stringify(template), kept)) as RecordedExchange;
    const response = await handle(state, toRequest(exchange, generation, ++sent), now, targetOf(exchange));
    const bytes = new Uint8Array(await response.arrayBuffer());
    const text = new TextDecoder(response.ok ? "utf-8" : "iso-8859-1").decode(bytes);
    expect({ exchange: exchange.name, status: response.status, text }).toMatchObject({ status: exchange.status });
    for (const [name, value] of Object.entries(exchange.answerHeaders ?? {})) {
      expect({ exchange: exchange.name, [name]: response.headers.get(name) }).toMatchObject({ [name]: value });
    }
    expectAnswer(exchange, text);
    for (const [name, member] of Object.entries(exchange.keep ?? {})) kept.set(name, String(JSON.parse(text)[member]));
  }
}

/** The headers that a request carries when nothing is wrong with it. `target` as on the wire. */
export function usualHeaders(request: {
  method: string;
  target: string;
  as: string;
  timestamp: number;
  bodySha256: string;
  secret?: string;
  nonce?: string;
}): Record<string, string> {
  const { method, target, as, timestamp, bodySha256 } = request;
  const common = { "x-emx2-api-version": "2025-01", "x-request-id": requestId, "x-timestamp": String(timestamp) };
  if (as === "none") return { ...common, "x-worker-id": "w1" };
  if (as in secrets || as === "ghost") {
    const { nonce = "0123456789abcdef0123456789abcdef" } = request;
    const secret = request.secret ?? secrets[as] ?? "";
    const sign = signature(secret, { method, target, bodySha256, timestamp, nonce });
    return { ...common, "x-worker-id": as, "x-nonce": nonce, authorization: `HMAC-SHA256 ${sign}` };
  }
  return { ...common, "x-molgenis-token": `token-of-${as}` };
}

function toRequest(exchange: RecordedExchange, generation: GenerationName, count: number): Request {
  const { as = "w1", signed = {}, timestampOffsetS = 0 } = exchange;
  const [method = ""] = exchange.do.split(" ");
  const { body, headers: bodyHeaders, sha256 } = bodyOf(exchange);
  const headers: Record<string, string> = {
    ...bodyHeaders,
    ...usualHeaders({
      method,
      target: signed.target ?? targetOf(exchange),
      as,
      timestamp: Math.floor(now / 1_000) + timestampOffsetS,
      bodySha256: signed.body === undefined ? sha256 : sha256Hex(signed.body),
      ...(generation === "2026-02" ? { secret: sharedSecret, nonce: String(count).padStart(32, "0") } : {}),
      ...(signed.secret === undefined ? {} : { secret: signed.secret }),
    }),
  };
  for (const [name, value] of Object.entries(exchange.headers ?? {})) {
    if (value === null) delete headers[name];
    else headers[name] = value;
  }
  return new Request("http://127.0.0.1/", { method, headers, ...(body === undefined ? {} : { body }) });
}

function bodyOf({ json, text, bytes }: RecordedExchange) {
  if (json !== undefined || (text !== undefined && bytes === undefined)) {
    const body = text ?? JSON.stringify(json);
    return { body, headers: { "content-type": "application/json" }, sha256: sha256Hex(body) };
  }
  if (bytes === undefined) return { body: undefined, headers: {}, sha256: sha256Hex("") };
  const body = Uint8Array.from({ length: bytes }, (_, index) => index % 256);
  const sha256 = sha256Hex(body);
  return { body, headers: { "content-type": "application/octet-stream", "content-sha256": sha256 }, sha256 };
}

function targetOf(exchange: RecordedExchange): string {
  return exchange.do.slice(exchange.do.indexOf(" ") + 1);
}

function expectAnswer({ name, answer }: RecordedExchange, text: string): void {
  if (answer === undefined) return;
  if (typeof answer === "string") {
    expect({ exchange: name, text }).toEqual({ exchange: name, text: answer });
    return;
  }
  expect({ exchange: name, answer: picked(JSON.parse(text), answer) }).toEqual({
    exchange: name,
    answer: withPatterns(answer),
  });
}

const absent = "<absent>";

/** Of what was received, only what something is expected of; lists whole. */
function picked(received: unknown, expected: unknown): unknown {
  if (Array.isArray(received) && Array.isArray(expected)) {
    return received.map((element, index) => picked(element, expected[index]));
  }
  if (!isRecord(received) || !isRecord(expected)) return received;
  return Object.fromEntries(
    Object.entries(expected).map(([key, member]) => [key, key in received ? picked(received[key], member) : absent]),
  );
}

const patterns: Readonly<Record<string, unknown>> = {
  "<uuid>": expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  "<stored>": "2026-11-22 15:10:37.67",
  "<fresh>": "2026-11-22T15:10:37.670000000",
};

function withPatterns(value: unknown): unknown {
  if (typeof value === "string") return patterns[value] ?? value;
  if (Array.isArray(value)) return value.map(withPatterns);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withPatterns(member)]));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `{p*100}` is a hundred times p. */
function filledIn(text: string, kept: ReadonlyMap<string, string>): string {
  return text
    .replace(/\{(\w)\*(\d+)\}/g, (_, character: string, count: string) => character.repeat(Number(count)))
    .replace(/\{(\w+)\}/g, (whole, name: string) => kept.get(name) ?? whole);
}
