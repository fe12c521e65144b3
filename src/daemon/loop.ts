/**
 * A loop: one tick after another until the signal. Ticks never overlap; the pause between them is jittered by a tenth, so
 * that many daemons on one cluster do not ask in step. A tick that fails is its own business (it says so and returns); what
 * it throws is a bug and ends the daemon.
 */
import type { Clock } from "../clock.ts";

export interface Loop {
  readonly intervalMs: number;
  tick(signal: AbortSignal): Promise<void>;
}

const jitter = 0.1;

export async function runLoop(loop: Loop, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await loop.tick(signal);
    const pauseMs = loop.intervalMs * (1 - jitter + 2 * jitter * clock.random());
    if (!signal.aborted) await clock.sleep(pauseMs, signal).catch(onAbort(signal));
  }
}

function onAbort(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}
