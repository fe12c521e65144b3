/**
 * The watchdog over one request: it ends when for `limitMs` no byte has moved, in either direction. There is a limit on the
 * whole where that is asked for alone, since a file may take hours; and fetch has no idle time-out of its own.
 */
import type { Clock } from "../clock.ts";

export class IdleError extends Error {
  override name = "IdleError";
  readonly code = "EIDLE";
}

export interface IdleWatch {
  /** Aborted by silence or by the caller; what is given to fetch. */
  readonly signal: AbortSignal;
  /** A byte has moved. */
  moved(): void;
  /** Waits for one step of the request, and rejects with the signal's reason once that is aborted. */
  within<T>(step: Promise<T>): Promise<T>;
  /** The request has this long for all of what is left, however often a byte moves. */
  endsWithin(wholeMs: number): void;
  /** Ends the request, if anything of it is left. */
  end(): void;
}

export function watchIdle(clock: Clock, limitMs: number, caller?: AbortSignal): IdleWatch {
  const controller = new AbortController();
  const { signal } = controller;
  const onCaller = () => controller.abort(caller?.reason);
  if (caller?.aborted) onCaller();
  caller?.addEventListener("abort", onCaller, { once: true });
  let movedAt = clock.mono();
  let callOffWhole = () => {};
  return {
    signal,
    moved() {
      movedAt = clock.mono();
    },
    async within(step) {
      movedAt = clock.mono();
      const check = () => {
        const leftMs = movedAt + limitMs - clock.mono();
        if (leftMs > 0) callOff = clock.timer(leftMs, check);
        else controller.abort(new IdleError(`no byte moved for ${limitMs / 1_000} s`));
      };
      let callOff = clock.timer(limitMs, check);
      try {
        return await untilAborted(step, signal);
      } finally {
        callOff();
      }
    },
    endsWithin(wholeMs) {
      callOffWhole();
      const tooLong = () => controller.abort(new IdleError(`the answer was not whole after ${wholeMs / 1_000} s`));
      callOffWhole = clock.timer(wholeMs, tooLong);
    },
    end() {
      callOffWhole();
      caller?.removeEventListener("abort", onCaller);
      controller.abort();
    },
  };
}

/** What fetch and its bodies reject with, or when, is not relied upon: the signal alone ends the wait. */
export function untilAborted<T>(step: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    step.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
