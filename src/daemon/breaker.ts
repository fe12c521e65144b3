/**
 * When the scheduler is asked next. A scheduler that fails or hangs is asked by one probe alone, after pauses that double
 * and are jittered, so that many daemons do not come back in step; one that is well is asked each interval, or so rarely
 * that its answers take a small share of the time.
 */
import type { Clock } from "../clock.ts";
import { loopJitter } from "./loop.ts";

export interface Breaker {
  /** From the last answer to the next question. */
  readonly pauseMs: number;
  /** Failures in a row; 0: it is well. */
  readonly failures: number;
  isDue(): boolean;
  /** `slowDown`: it said that it is asked too often. True: it had failed before. */
  answered(costMs: number, slowDown: boolean): boolean;
  failed(): void;
}

/** With the usual interval of 30 s these are ten minutes. */
const longestPauseIntervals = 20;
/** A query may take a twentieth of the time; one that is over so soon is no burden to anybody. */
const pausePerCost = 20;
const cheapMs = 1_000;

export function createBreaker(clock: Clock, intervalMs: number): Breaker {
  const longestMs = longestPauseIntervals * intervalMs;
  let failures = 0;
  let slowDowns = 0;
  let pauseMs = intervalMs;
  let dueAt = clock.mono();

  function pause(ms: number): void {
    pauseMs = Math.min(longestMs, Math.max(intervalMs, ms));
    // The loop's own jitter may bring it here a little early.
    dueAt = clock.mono() + pauseMs * (1 - loopJitter);
  }

  /** Between half of it and all of it. */
  const backoffMs = (times: number) => Math.min(longestMs, intervalMs * 2 ** times) * (0.5 + clock.random() / 2);

  return {
    get pauseMs() {
      return pauseMs;
    },
    get failures() {
      return failures;
    },
    isDue: () => clock.mono() >= dueAt,
    answered(costMs, slowDown) {
      const again = failures > 0;
      failures = 0;
      slowDowns = slowDown ? slowDowns + 1 : 0;
      const costly = costMs > cheapMs ? costMs * pausePerCost : 0;
      pause(Math.max(costly, slowDown ? backoffMs(slowDowns) : 0));
      return again;
    },
    failed() {
      failures += 1;
      pause(backoffMs(failures - 1));
    },
  };
}
