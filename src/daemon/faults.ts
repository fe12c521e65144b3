/**
 * What a fault means for the lane it happened in: retry, refused, or in doubt. EMX2's answers are judged where they are
 * known best (`emx2/retry.ts`); storage that does not answer is nobody's fault and waits. Whatever else is thrown is a bug
 * of ours and goes through.
 */
import { judge } from "../emx2/retry.ts";
import {
  ApiError,
  IntegrityError,
  isSystemError,
  NetworkError,
  SchedulerOutputError,
  StorageError,
} from "../errors.ts";
import type { EffectKind, Result } from "../job/effect.ts";

export type Fault = Exclude<Result<EffectKind>, { is: "ok" }>;

/** `onceOnly`: the effect must not simply be repeated when it may have happened. */
export function resultOf(error: unknown, onceOnly: boolean): Fault {
  if (error instanceof ApiError || error instanceof NetworkError) return remote(error, onceOnly);
  if (error instanceof IntegrityError) return { is: "refused", cause: error.message };
  if (error instanceof SchedulerOutputError) return { is: onceOnly ? "doubt" : "retry", cause: error.message };
  if (error instanceof DOMException && error.name === "AbortError")
    return { is: onceOnly ? "doubt" : "retry", cause: error.message };
  if (error instanceof StorageError) return { is: error.permanent ? "refused" : "retry", cause: error.message };
  if (isSystemError(error)) return { is: "retry", cause: error.message };
  throw error;
}

function remote(error: ApiError | NetworkError, onceOnly: boolean): Fault {
  const verdict = judge(error, { repeatable: !onceOnly });
  const cause = error.message;
  if (verdict === "doubt") return { is: "doubt", cause };
  if (verdict === "refused")
    return { is: "refused", cause, ...(error instanceof ApiError ? { status: error.answer.status } : {}) };
  const afterMs = error instanceof ApiError ? error.answer.retryAfterMs : undefined;
  return { is: "retry", cause, ...(afterMs === undefined ? {} : { afterMs }) };
}
