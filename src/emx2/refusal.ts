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
}

export function refusal(refused: Refused): ApiError {
  const { method, url, status, headers, requestId } = refused;
  const { form = headForm(refused), title, detail } = readProblem(refused.body, status);
  const retryAfterMs = readRetryAfter(headers, refused.nowMs);
  const clockOffsetS = status === 401 ? clockOffset(refused) : undefined;
  const reason = explain(refused, clockOffsetS) ?? detail ?? title;
  const heading = title !== undefined && title !== reason ? `${status} ${title}` : String(status);
  return new ApiError(`EMX2 answered ${heading} to ${method} ${url.pathname}${reason ? `: ${reason}` : ""}`, {
    status,
    method,
    path: url.pathname,
    requestId,
    ...(form !== undefined && { form }),
    ...(title !== undefined && { title }),
    ...(detail !== undefined && { detail }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(clockOffsetS !== undefined && { clockOffsetS }),
  });
}

/** An answer to HEAD has no body, so its headers have to tell; EMX2's 404 is an empty text (2026-02, 2026-05). */
function headForm({ method, status, headers }: Refused): RefusalForm | undefined {
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
  answer: { readonly method: string; readonly url: URL; readonly requestId: string; readonly status: number },
  why: string,
): ApiError {
  const { method, url, requestId, status } = answer;
  const words = `EMX2 answered ${status} to ${method} ${url.pathname} with what its protocol does not allow`;
  return new ApiError(`${words}: ${cleanText(why, 200)}`, { status, method, path: url.pathname, requestId });
}

/** Causes that we know better than the answer's words. */
function explain(refused: Refused, clockOffsetS: number | undefined): string | undefined {
  if (refused.status >= 300 && refused.status < 400) {
    return `a redirect to ${redirectTarget(refused)}, which is not followed; correct emx2.base_url if EMX2 has moved`;
  }
  if (clockOffsetS === undefined) return undefined;
  const direction = clockOffsetS > 0 ? "ahead of" : "behind";
  return `clock: this host's clock is ${Math.abs(clockOffsetS)} s ${direction} EMX2's, at most ${maxClockOffsetS} s are allowed; the secret may be right`;
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
