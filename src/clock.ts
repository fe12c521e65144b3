/**
 * Time and chance, behind one seam: the only file that may ask the machine for either (a lint rule holds it). In the
 * simulation a virtual clock stands here, so that thousands of days pass in a minute and the same seed gives the same run.
 */
import { randomBytes, randomUUID } from "node:crypto";

export interface Clock {
  /** Wall clock, milliseconds since 1970. For instants that are stored or shown; it may jump. */
  wall(): number;
  /** Monotonic clock in milliseconds from an arbitrary start. For durations within this process. */
  mono(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `wake` once after `ms`; the returned function calls it off. */
  timer(ms: number, wake: () => void): () => void;
  /** Uniform in [0, 1). For jitter, never for secrets. */
  random(): number;
  randomBytes(count: number): Uint8Array;
  uuid(): string;
}

/** setTimeout counts in 32 bits; anything longer fires at once. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  wall: () => Date.now(),
  mono: () => performance.now(),
  sleep: (ms, signal) => sleepOn(systemClock, ms, signal),
  timer(ms, wake) {
    const handle = setTimeout(wake, Math.min(Math.max(0, ms), longestTimerMs));
    return () => clearTimeout(handle);
  },
  random: () => Math.random(),
  randomBytes: (count) => randomBytes(count),
  uuid: () => randomUUID(),
};

/** The same clock, whose wall time goes on evenly from now whatever becomes of the host's: for instants that are compared. */
export function steady(clock: Clock): Clock {
  const wall = clock.wall();
  const mono = clock.mono();
  return {
    wall: () => Math.floor(wall + clock.mono() - mono),
    mono: () => clock.mono(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    timer: (ms, wake) => clock.timer(ms, wake),
    random: () => clock.random(),
    randomBytes: (count) => clock.randomBytes(count),
    uuid: () => clock.uuid(),
  };
}

/** `sleep` in terms of `timer`, for every clock. */
export function sleepOn(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const callOff = clock.timer(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    const onAbort = () => {
      callOff();
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
