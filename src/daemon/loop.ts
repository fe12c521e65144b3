/**
 * A loop: one tick after another until the signal. Ticks never overlap; the pause between them is jittered by a tenth, so
 * that many daemons on one cluster do not ask in step. A tick that fails is its own business (it says so and returns); what
 * it throws is a bug and ends the daemon.
 */
import type { Clock } from "../clock.ts";

export interface Loop {
  /** Read after each tick: it may change. */
  readonly intervalMs: number;
  tick(signal: AbortSignal): Promise<void>;
}

/** A pause is shorter or longer by at most this part of it. */
export const loopJitter = 0.1;

export async function runLoop(loop: Loop, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await loop.tick(signal);
    const pauseMs = loop.intervalMs * (1 - loopJitter + 2 * loopJitter * clock.random());
    if (!signal.aborted) await clock.sleep(pauseMs, signal).catch(onAbort(signal));
  }
}

function onAbort(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}
