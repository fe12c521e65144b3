/**
 * One HTTP request, exactly as it is written here: over node:http, since fetch resolves `..` and `%2e` in a target, adds headers
 * and decodes what is compressed. Unless a test says otherwise it carries what every request of the protocol must, and is
 * signed anew.
 */
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { request as httpsRequest } from "node:https";
import { systemClock } from "../../../src/clock.ts";
import { sha256Hex, signature } from "../../../src/emx2/signature.ts";

export interface Sender {
  /** `http(s)://host[/prefix]` */
  readonly url: string;
  readonly workerId: string;
  readonly secret: string;
  /** A submitter's. Without one the worker submits, which both generations let it do. */
  readonly token?: string;
  /** Else a file is signed over the empty string. */
  readonly signsContentHash: boolean;
}

export interface WireRequest {
  /** Default: the worker. */
  readonly as?: "worker" | "submitter" | "nobody";
  /** A body, at most one of them: a value, JSON text as it is, a file. */
  readonly json?: unknown;
  readonly text?: string;
  readonly bytes?: Uint8Array;
  /** Beside or instead of the usual ones; null takes one away. */
  readonly headers?: Readonly<Record<string, string | null>>;
  /** What is signed where it is not what is sent. */
  readonly signed?: { readonly target?: string; readonly body?: string; readonly bodySha256?: string };
  readonly secret?: string;
  readonly nonce?: string;
  /** How far the clock of the request is ahead. */
  readonly aheadS?: number;
  /** The headers of the answer are enough: its body may never end. */
  readonly headersOnly?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
  /** The members of a JSON object; none where the answer is something else. */
  readonly json: Readonly<Record<string, unknown>>;
}

/** `path` is what follows `/api/hpc`. */
export function send(sender: Sender, method: string, path: string, request: WireRequest = {}): Promise<Answer> {
  const target = targetOf(sender, path);
  const body = bodyOf(request);
  const headers = withChanges(
    { ...bodyHeaders(request, body), ...identity(sender, method, target, body, request) },
    request.headers ?? {},
  );
  const url = new URL(sender.url);
  const open = url.protocol === "https:" ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const outgoing = open(
      { hostname: url.hostname, port: url.port, method, path: target, headers, agent: false },
      (incoming) => {
        const chunks: Buffer[] = [];
        const end = () => resolve(toAnswer(incoming.statusCode ?? 0, incoming.headers, Buffer.concat(chunks)));
        if (request.headersOnly) {
          end();
          outgoing.destroy();
          return;
        }
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("end", end);
        incoming.on("error", reject);
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** As it stands on the wire, and in the signature. */
export function targetOf({ url }: Pick<Sender, "url">, path: string): string {
  return `${new URL(url).pathname.replace(/\/$/, "")}/api/hpc${path}`;
}

function bodyOf({ json, text, bytes }: WireRequest): Uint8Array | undefined {
  if (bytes !== undefined) return bytes;
  const written = text ?? (json === undefined ? undefined : JSON.stringify(json));
  return written === undefined ? undefined : Buffer.from(written);
}

function bodyHeaders({ bytes }: WireRequest, body: Uint8Array | undefined): Record<string, string> {
  if (body === undefined) return { "Content-Length": "0" };
  const length = { "Content-Length": String(body.length) };
  if (bytes === undefined) return { ...length, "Content-Type": "application/json" };
  return { ...length, "Content-Type": "application/octet-stream", "Content-SHA256": sha256Hex(bytes) };
}

function identity(
  sender: Sender,
  method: string,
  target: string,
  body: Uint8Array | undefined,
  request: WireRequest,
): Record<string, string> {
  const { as = "worker", signed = {}, aheadS = 0 } = request;
  const timestamp = String(Math.floor(systemClock.wall() / 1_000) + aheadS);
  const common = {
    "X-EMX2-API-Version": "2025-01",
    "X-Request-Id": systemClock.uuid(),
    "X-Timestamp": timestamp,
    "Accept-Encoding": "identity",
  };
  if (as === "submitter" && sender.token !== undefined) return { ...common, "x-molgenis-token": sender.token };
  const named = { ...common, "X-Worker-Id": sender.workerId };
  if (as === "nobody") return named;
  const nonce = request.nonce ?? freshNonce();
  const whole = signed.body ?? (request.bytes !== undefined && !sender.signsContentHash ? "" : (body ?? ""));
  const parts = { method, target: signed.target ?? target, bodySha256: signed.bodySha256 ?? sha256Hex(whole) };
  const proof = signature(request.secret ?? sender.secret, { ...parts, timestamp, nonce });
  return { ...named, "X-Nonce": nonce, Authorization: `HMAC-SHA256 ${proof}` };
}

export function freshNonce(): string {
  return Buffer.from(systemClock.randomBytes(16)).toString("hex");
}

/** Whatever the case of their names. */
function withChanges(
  headers: Readonly<Record<string, string>>,
  changes: Readonly<Record<string, string | null>>,
): Record<string, string> {
  const changed = new Set(Object.keys(changes).map((name) => name.toLowerCase()));
  const kept = Object.entries(headers).filter(([name]) => !changed.has(name.toLowerCase()));
  const set = Object.entries(changes).flatMap(([name, value]) => (value === null ? [] : [[name, value]]));
  return Object.fromEntries([...kept, ...set]);
}

/** Problem documents come in ISO-8859-1, whatever their type says. */
function toAnswer(status: number, headers: IncomingHttpHeaders, bytes: Buffer): Answer {
  const type = headers["content-type"] ?? "";
  const text = bytes.toString(type.includes("problem") ? "latin1" : "utf8");
  const value: unknown =
    type.includes("json") && text !== "" && !("content-encoding" in headers) ? JSON.parse(text) : {};
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return { status, headers, bytes, text, json: isObject ? { ...value } : {} };
}
