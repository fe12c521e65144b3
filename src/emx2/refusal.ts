/** An answer outside 2xx, made into the error that says it in one line. */

import { isLoopback } from "../config/places.ts";
import { ApiError, type RefusalForm } from "../errors.ts";
import { cleanText, readProblem } from "./problem.ts";

/** EMX2 refuses what is signed further off than this. */
const maxClockOffsetS = 300;

export interface Refused {
  readonly method: string;
  /** The whole URL that was asked. */
  readonly url: URL;
  readonly requestId: string;
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array;
  /** Our wall clock when the answer came, in milliseconds. */
  readonly nowMs: number;
  /** As whom we asked; undefined: as nobody. */
  readonly sender: { readonly workerId: string; readonly mode: "hmac" | "token" } | undefined;
  /** The token that was sent, if one was: an answer that echoes it must not take it into logs and reports. */
  readonly secret: string;
}

export function refusal(refused: Refused): ApiError {
  const { method, url, status, headers, requestId } = refused;
  const { form = formByHeaders(refused), title, detail } = readProblem(redacted(refused), status);
  const retryAfterMs = readRetryAfter(headers, refused.nowMs);
  const clockOffsetS = status === 401 ? clockOffset(refused) : undefined;
  const reason = explain(refused, clockOffsetS) ?? detail ?? title;
  const heading = title !== undefined && title !== reason ? `${status} ${title}` : String(status);
  const unexplained = status === 401 && clockOffsetS === undefined;
  const advice = unexplained ? whatToCheck(refused, form, detail) : status === 503 && form ? switchedOff : undefined;
  const why = [reason, advice].filter(Boolean).join("; ");
  const tooLarge = refusedForSize(status, detail);
  return new ApiError(`EMX2 answered ${heading} to ${method} ${url.pathname}${why ? `: ${why}` : ""}`, {
    status,
    method,
    path: url.pathname,
    requestId,
    ...(form !== undefined && { form }),
    ...(title !== undefined && { title }),
    ...(detail !== undefined && { detail }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(clockOffsetS !== undefined && { clockOffsetS }),
    ...(tooLarge && { tooLarge }),
  });
}

/** EMX2 itself, which is up, says so of every path but /health. */
const switchedOff =
  "its HPC interface is switched off: whoever runs EMX2 switches it on by the _SYSTEM_ setting MOLGENIS_HPC_ENABLED (before 2026-05: MOLGENIS_HPC_SHARED_SECRET)";

/** What is shorter is no token, and would be found in any text. */
const shortestTokenChars = 8;

function redacted({ body, secret }: Refused): Uint8Array {
  if (secret.length < shortestTokenChars) return body;
  const text = Buffer.from(body).toString("latin1");
  return text.includes(secret) ? Buffer.from(text.replaceAll(secret, "[secret]"), "latin1") : body;
}

/** What the body does not tell, or cannot: HEAD has none. EMX2's 404 to it is an empty text (2026-02, 2026-05). */
function formByHeaders(refused: Refused): RefusalForm | undefined {
  const { method, status, headers } = refused;
  if (posixLocation(refused) !== undefined) return "posix";
  if (method !== "HEAD") return undefined;
  const type = headers.get("content-type") ?? "";
  if (/^application\/problem\+json\b/i.test(type)) return "problem";
  const empty = /^text\/plain\b/i.test(type) && Number(headers.get("content-length") ?? 0) === 0;
  return empty && status === 404 ? "bare" : undefined;
}

/** An answer that goes on beyond what is read of any: the same question must ask for less. */
export class OversizedAnswer extends ApiError {
  override name = "OversizedAnswer";
}

/** A success that is none: HTML, cut-off JSON, another shape than the protocol's. */
export function notTheProtocol(
  answer: { readonly method: string; readonly url: URL; readonly requestId: string; readonly response: Response },
  why: string,
): ApiError {
  const { method, url, requestId, response } = answer;
  const { status } = response;
  const isPage = /^text\/html\b/i.test(response.headers.get("content-type") ?? "");
  const words = isPage
    ? `${status} to ${method} ${url.pathname} came with a web page, and so from somebody in front of EMX2 or in its place (a login, a notice); check emx2.base_url, and what stands in front of EMX2`
    : `EMX2 answered ${status} to ${method} ${url.pathname} with what its protocol does not allow: ${cleanText(why, 200)}`;
  const facts = { status, method, path: url.pathname, requestId };
  return new ApiError(words, isPage ? { ...facts, isPage } : facts);
}

/** Causes that we know better than the answer's words. */
function explain(refused: Refused, clockOffsetS: number | undefined): string | undefined {
  const location = posixLocation(refused);
  if (location !== undefined) {
    return `its content is not at EMX2: the artifact is posix, and lies on the cluster as ${cleanText(location, 1_000)}`;
  }
  if (isRedirect(refused)) {
    return `a redirect to ${redirectTarget(refused)}, which is not followed; correct emx2.base_url if EMX2 has moved`;
  }
  if (clockOffsetS === undefined) return undefined;
  const direction = clockOffsetS > 0 ? "ahead of" : "behind";
  return `clock: this host's clock is ${Math.abs(clockOffsetS)} s ${direction} EMX2's, at most ${maxClockOffsetS} s are allowed; the secret may be right`;
}

function isRedirect({ status }: Refused): boolean {
  return status >= 300 && status < 400;
}

function posixLocation(refused: Refused): string | undefined {
  const location = refused.headers.get("location") ?? "";
  return isRedirect(refused) && /^file:/i.test(location) ? location : undefined;
}

/** What a person looks at next, after a 401 that our clock does not explain. */
function whatToCheck({ sender }: Refused, form: RefusalForm | undefined, detail = ""): string | undefined {
  if (sender === undefined || /nonce/i.test(detail)) return undefined;
  if (form === undefined) return "this is not EMX2's own answer: check emx2.base_url, and what stands in front of EMX2";
  if (/timestamp too far/i.test(detail)) return "set this host's clock right; the secret may be right";
  if (sender.mode === "token")
    return "check that the token in the secret file (emx2.worker_secret_file) is still valid";
  const file = "the secret file (emx2.worker_secret_file, or emx2.shared_secret_file where all workers share one)";
  return `check emx2.worker_id (${sender.workerId}) and ${file}: the secret may be another worker's, rotated or revoked`;
}

/** 413, also a proxy's; 2026-02 answers an upload that is too long with 500. */
function refusedForSize(status: number, detail = ""): ApiError["answer"]["tooLarge"] {
  if (status !== 413 && !(status === 500 && detail === "Content Too Large")) return undefined;
  const limit = /maximum upload size of (\d{1,15}) bytes/.exec(detail)?.[1];
  return limit === undefined ? {} : { limitBytes: Number(limit) };
}

function redirectTarget({ headers, url }: Refused): string {
  const location = headers.get("location") ?? "";
  const target = URL.canParse(location, url.href) ? new URL(location, url.href) : null;
  return cleanText(target?.host || target?.protocol || "nowhere", 200);
}

/** Seconds by which our clock is ahead, where that explains a 401 and the server's word on it can be trusted. */
function clockOffset({ headers, url, nowMs }: Refused): number | undefined {
  if (url.protocol !== "https:" && !isLoopback(url)) return undefined;
  const serverMs = Date.parse(headers.get("date") ?? "");
  const offsetS = Math.round((nowMs - serverMs) / 1_000);
  return Math.abs(offsetS) > maxClockOffsetS ? offsetS : undefined;
}

/** Seconds, or a date, which the server measures by its own clock. */
function readRetryAfter(headers: Headers, nowMs: number): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1_000;
  const serverMs = Date.parse(headers.get("date") ?? "");
  const waitMs = Date.parse(value) - (Number.isNaN(serverMs) ? nowMs : serverMs);
  return Number.isNaN(waitMs) ? undefined : Math.max(0, waitMs);
}
