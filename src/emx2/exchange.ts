/**
 * Sends one request of the API and tries again what may pass, each attempt with its own request id, nonce and signature.
 * Redirects are refused: fetch would carry `x-molgenis-token` to the other host.
 */
import { ApiError, NetworkError, type RefusalForm } from "../errors.ts";
import type { Call, Emx2Options, FetchInit } from "./client.ts";
import { requestHeaders } from "./headers.ts";
import { type IdleWatch, watchIdle } from "./idle.ts";
import { connectionInit, networkFault } from "./network.ts";
import { notTheProtocol, OversizedAnswer, refusal } from "./refusal.ts";
import { backoffMs, nextAttempt } from "./retry.ts";
import { readBounded, uploadBody } from "./transfer.ts";

export interface ApiRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Path below `/api/hpc`, and query, encoded as they are to be sent. */
  readonly path: string;
  /** A second delivery does no harm. */
  readonly repeatable: boolean;
  /** Each delivery leaves something behind, whatever was answered: a call sends it once, and looks before it does so again. */
  readonly once?: true;
  /** Without credentials and the protocol's headers. */
  readonly anonymous?: boolean;
  /** The answer's bytes count, not their meaning: no content encoding is undone. */
  readonly raw?: boolean;
  readonly json?: string;
  readonly upload?: Upload;
}

export interface Upload {
  readonly bytes: number;
  readonly contentType: string;
  /** `Content-SHA256`, which the signature then covers; 2026-02 wants uploads signed over nothing. */
  readonly sha256?: string;
  readonly body: () => ReadableStream<Uint8Array>;
  readonly envelope?: Envelope;
}

/** What is sent before and after the bytes of an upload. */
export interface Envelope {
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
}

/** A 2xx answer whose body has not been read. */
export interface Reply {
  readonly response: Response;
  readonly watch: IdleWatch;
  /** What is to be thrown where waiting for the answer, or reading it, throws `cause`. */
  readonly fault: (cause: unknown) => unknown;
  /** The error for an answer that is not what the protocol says. */
  readonly unreadable: (why: string) => ApiError;
}

export interface Exchange {
  send<T>(request: ApiRequest, use: (reply: Reply) => Promise<T>, call?: Call): Promise<T>;
  /** `decode` throws where the text is not what the protocol says. */
  json<T>(request: ApiRequest, decode: (text: string) => T, call?: Call): Promise<T>;
}

const defaultAttempts = 3;
const defaultIdleTimeoutMs = 60_000;
const maxJsonBytes = 64 * 2 ** 20;
/** Of an answer that says no, this much is read. */
const maxProblemBytes = 64 * 2 ** 10;

/** `onUnauthorized`: told of each 401. */
export function createExchange(options: Emx2Options, onUnauthorized: () => void = () => undefined): Exchange {
  const { clock } = options;
  const connection = connectionInit(options);

  async function send<T>(request: ApiRequest, use: (reply: Reply) => Promise<T>, call: Call = {}): Promise<T> {
    const allowed = call.attempts ?? defaultAttempts;
    let previousStatus: number | undefined;
    for (let made = 1; ; made++) {
      call.signal?.throwIfAborted();
      try {
        const fresh = previousStatus === 401 ? { keepalive: false } : {};
        return await attempt(options, { ...connection, ...fresh }, request, use, call);
      } catch (error) {
        if (error instanceof ApiError && error.answer.status === 401) onUnauthorized();
        const next = request.once ? "give-up" : nextAttempt(error, request, { made, allowed, previousStatus });
        if (next === "give-up") throw error;
        const answer = error instanceof ApiError ? error.answer : undefined;
        previousStatus = answer?.status;
        if (next === "wait") await clock.sleep(backoffMs(made, clock.random(), answer?.retryAfterMs), call.signal);
      }
    }
  }

  return {
    send,
    json: (request, decode, call) => send(request, (reply) => readJson(reply, decode), call),
  };
}

export function get(path: string): ApiRequest {
  return { method: "GET", path, repeatable: true };
}

export function post(path: string, json?: string): ApiRequest {
  return { method: "POST", path, repeatable: true, ...(json !== undefined && { json }) };
}

/** null where EMX2 does not know what was asked about. */
export async function unlessUnknown<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isUnknown(error)) return null;
    throw error;
  }
}

/**
 * EMX2 says so in a problem document. Its framework's 404 (`errors`) is about a route, and any other is the word of whoever
 * stands in front of it, or in its place while it is deployed anew.
 */
function isUnknown(error: unknown): error is ApiError {
  return isNotFound(error, "problem");
}

export function isNotFound(error: unknown, form: RefusalForm): error is ApiError {
  return error instanceof ApiError && error.answer.status === 404 && error.answer.form === form;
}

function codeOf(failed: unknown): string {
  if (failed instanceof NetworkError) return failed.failure.code;
  return failed instanceof Error ? failed.name : "unknown";
}

async function readJson<T>(reply: Reply, decode: (text: string) => T): Promise<T> {
  const declaredBytes = Number(reply.response.headers.get("content-length"));
  const body = declaredBytes > maxJsonBytes ? undefined : await readBounded(reply, maxJsonBytes);
  if (body === undefined || body.cut) {
    const { message, answer } = reply.unreadable(`its body is longer than ${maxJsonBytes} bytes`);
    throw new OversizedAnswer(message, answer);
  }
  try {
    return decode(new TextDecoder("utf-8", { fatal: true }).decode(body.bytes));
  } catch (cause) {
    throw reply.unreadable(cause instanceof Error ? cause.message : String(cause));
  }
}

async function attempt<T>(
  options: Emx2Options,
  connection: Partial<FetchInit>,
  request: ApiRequest,
  use: (reply: Reply) => Promise<T>,
  call: Call,
): Promise<T> {
  const { clock, fetch = globalThis.fetch } = options;
  const { method } = request;
  const url = new URL(`${options.baseUrl.replace(/\/+$/, "")}/api/hpc${request.path}`);
  const requestId = clock.uuid();
  const headers = requestHeaders(options, request, { url, requestId, traceId: call.traceId });
  const watch = watchIdle(clock, options.idleTimeoutMs ?? defaultIdleTimeoutMs, call.signal);
  const upload = request.upload && uploadBody(request.upload, watch, call.onBytes);
  const body = upload?.stream ?? request.json;
  const sentAt = clock.mono();
  const tell = (result: number | string) =>
    options.onAttempt?.({
      ...{ method, path: url.pathname + url.search, result, requestId },
      ms: Math.round(clock.mono() - sentAt),
    });
  const fault = (cause: unknown) => upload?.failure()?.cause ?? networkFault(cause, { method, url }, call.signal);
  try {
    const sent = fetch(url.href, {
      ...connection,
      method,
      headers,
      decompress: !request.raw,
      ...(body !== undefined && { body }),
      redirect: "manual",
      signal: watch.signal,
    });
    const response = await watch.within(sent).catch((cause) => {
      const failed = fault(cause);
      tell(codeOf(failed));
      throw failed;
    });
    tell(response.status);
    const unreadable = (why: string) => notTheProtocol({ method, url, requestId, response }, why);
    const reply: Reply = { response, watch, fault, unreadable };
    if (response.ok) return await use(reply);
    const { bytes } = await readBounded(reply, maxProblemBytes);
    const { status, headers: answered } = response;
    const { workerId, credential } = options;
    const sender = request.anonymous ? undefined : { workerId, mode: credential.mode };
    const said = refusal({
      secret: headers["x-molgenis-token"] ?? "",
      method,
      url,
      requestId,
      status,
      headers: answered,
      body: bytes,
      nowMs: clock.wall(),
      sender,
    });
    if (said.answer.clockOffsetS !== undefined) options.onClockOffset?.(said.answer.clockOffsetS);
    throw said;
  } catch (error) {
    watch.end();
    throw error;
  } finally {
    upload?.close();
  }
}
