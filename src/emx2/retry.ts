/**
 * The one judgement over failed requests: what may pass, what is final, what may have happened all the same. The client
 * asks it between the attempts of one call, the engine after a call has failed for good; both wait by `backoffMs`.
 */
import { ApiError, IntegrityError, NetworkError } from "../errors.ts";
import { OversizedAnswer } from "./refusal.ts";

/**
 * `retry`: nothing happened, or doing it twice does no harm. `refused`: asking again will not change the answer.
 * `doubt`: it may have happened, and must not happen twice. `stop`: aborted by us, or a bug; not an answer at all.
 */
export type Verdict = "retry" | "refused" | "doubt" | "stop";

/** `repeatable`: a second delivery of the same request does no harm. */
export function judge(error: unknown, call: { readonly repeatable: boolean }): Verdict {
  if (error instanceof NetworkError) return call.repeatable || !error.failure.maybeDelivered ? "retry" : "doubt";
  if (error instanceof IntegrityError) return "refused";
  if (error instanceof ApiError) return judgeAnswer(error, call.repeatable);
  return "stop";
}

function judgeAnswer(error: ApiError, repeatable: boolean): Verdict {
  const { status, detail, form, tooLarge } = error.answer;
  if (tooLarge || form === "posix") return "refused";
  // 2026-05 answers an upload after the commit with 500, which would never pass.
  if (status === 500 && detail?.includes("in status COMMITTED")) return "refused";
  // A success whose body is not the protocol's: it happened, or a proxy spoke in EMX2's place.
  if (status < 300 || status >= 500) return repeatable ? "retry" : "doubt";
  if (waitsForOperator(status) || asksForPatience(status)) return "retry";
  // An ingress, or Tomcat while EMX2 is deployed anew: EMX2 has not been asked, or its answer is not known.
  if (form === undefined) return repeatable ? "retry" : "doubt";
  return "refused";
}

/** A redirect, a credential, a right, a proxy's login: no fault of the job's, so everything waits until it is mended. */
function waitsForOperator(status: number): boolean {
  return status < 400 || status === 401 || status === 403 || status === 407;
}

/** An answer about the server, or about us, that any other question would get as well; others are about what was asked. */
export function concernsAll({ answer: { status, form, tooLarge, isPage } }: ApiError): boolean {
  if (tooLarge || form === "posix") return false;
  if (isPage) return true;
  if (waitsForOperator(status) && status >= 300) return true;
  if (asksForPatience(status) || [502, 503, 504].includes(status)) return true;
  return status >= 400 && status < 500 && form === undefined;
}

function asksForPatience(status: number): boolean {
  return status === 408 || status === 425 || status === 429;
}

export interface BackoffLimits {
  readonly firstMs: number;
  readonly capMs: number;
}

const defaultLimits: BackoffLimits = { firstMs: 1_000, capMs: 60_000 };
/** A server may ask for more patience than our cap, but not for any. */
const maxRetryAfterMs = 3_600_000;

/**
 * The wait before the next try after `failures` (1 and more) in a row: doubling from `firstMs` to `capMs`, of which the
 * upper half is chance (`random` in [0, 1)), so that workers that failed together do not come back together. Never less
 * than the server asked for.
 */
export function backoffMs(failures: number, random: number, retryAfterMs = 0, limits = defaultLimits): number {
  const full = Math.min(limits.capMs, limits.firstMs * 2 ** Math.max(0, failures - 1));
  const jittered = full * (0.5 + random / 2);
  const asked = Math.min(retryAfterMs, maxRetryAfterMs);
  return Math.round(asked > jittered ? asked + (random * limits.firstMs) / 2 : jittered);
}

/** Retry-After beyond this is not waited for within a call: the error goes up and carries it. */
const patienceMs = 60_000;

/** What the attempts of one call have met so far. */
interface Attempts {
  readonly made: number;
  readonly allowed: number;
  /** Status of the attempt before, if it was answered. */
  readonly previousStatus: number | undefined;
}

/** A 401 or 400 on the last allowed attempt gets one more, so that it is never believed at first sight. */
const extraAttempts = 1;

/**
 * Whether the call that failed with `error` is sent once more, and how. A 401 is believed only from a new connection,
 * since Bun resends requests of a dead pooled one with their old nonce. A 400 is believed the second time: real servers
 * answer one in some hundreds of correct requests with it under load.
 */
export function nextAttempt(
  error: unknown,
  call: { readonly repeatable: boolean },
  attempts: Attempts,
): "give-up" | "wait" | "at-once" {
  if (attempts.made >= attempts.allowed + extraAttempts || error instanceof OversizedAnswer) return "give-up";
  const verdict = judge(error, call);
  if (verdict === "doubt") return "give-up";
  if (error instanceof ApiError) {
    const { status, retryAfterMs = 0 } = error.answer;
    if (status === 401) return attempts.previousStatus === 401 ? "give-up" : "at-once";
    if (status === 400) return attempts.previousStatus === 400 ? "give-up" : "wait";
    if (status >= 300 && waitsForOperator(status)) return "give-up";
    if (retryAfterMs > patienceMs) return "give-up";
  }
  return attempts.made < attempts.allowed && verdict === "retry" ? "wait" : "give-up";
}
