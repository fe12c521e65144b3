/**
 * Time and chance of a simulated world. Nothing passes by itself: a timer fires when somebody moves the clock to it, and
 * before the clock moves on, everything that the last timer set off has come to rest. The same seed gives the same run.
 */
import { setImmediate } from "node:timers/promises";
import { type Clock, sleepOn } from "../../src/clock.ts";

export interface VirtualClock extends Clock {
  /** Timers that have neither fired nor been called off. */
  readonly pending: number;
  /** Lets everything go on that can go on without time passing. */
  settle(): Promise<void>;
  /** Moves time on by `ms`, firing what falls due on the way, in order. */
  advance(ms: number): Promise<void>;
  /** Moves time on from timer to timer until `done`, at most by `limitMs`. False: the limit came first. */
  runUntil(done: () => boolean, limitMs: number): Promise<boolean>;
  /** Moves time on until no timer is left, at most by `limitMs`. False: the limit came first. */
  runUntilIdle(limitMs: number): Promise<boolean>;
}

interface Timer {
  readonly at: number;
  readonly wake: () => void;
}

/** A chain of promises that crosses a stream or a digest comes to rest within so many turns of the event loop. */
const turnsToRest = 4;
/** Beyond this two timers are setting each other without time passing. */
const maxTimersWithoutTime = 10_000;

export function createVirtualClock(start: { readonly seed: number; readonly wallMs?: number }): VirtualClock {
  const { seed, wallMs = Date.UTC(2026, 0, 1) } = start;
  const random = mulberry32(seed);
  /** Soonest first; those of one instant in the order in which they were set. */
  let timers: Timer[] = [];
  let elapsedMs = 0;

  async function run(done: () => boolean, end: number): Promise<void> {
    let firedNow = 0;
    await clock.settle();
    while (!done()) {
      const [next] = timers;
      if (!next || next.at > end) return;
      timers.shift();
      firedNow = next.at > elapsedMs ? 0 : firedNow + 1;
      if (firedNow > maxTimersWithoutTime) throw new Error(`time stands still at ${elapsedMs} ms`);
      elapsedMs = Math.max(elapsedMs, next.at);
      next.wake();
      await clock.settle();
    }
  }

  const clock: VirtualClock = {
    wall: () => wallMs + elapsedMs,
    mono: () => elapsedMs,
    sleep: (ms, signal) => sleepOn(clock, ms, signal),
    timer(ms, wake) {
      const timer = { at: elapsedMs + Math.max(0, ms), wake };
      timers.splice(timers.findLastIndex(({ at }) => at <= timer.at) + 1, 0, timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    random,
    randomBytes: (count) => bytesOf(random, count),
    uuid: () => uuidOf(bytesOf(random, 16)),

    get pending() {
      return timers.length;
    },
    async settle() {
      for (let turn = 0; turn < turnsToRest; turn += 1) await setImmediate();
    },
    async advance(ms) {
      const end = elapsedMs + ms;
      await run(() => false, end);
      elapsedMs = end;
    },
    async runUntil(done, limitMs) {
      await run(done, elapsedMs + limitMs);
      return done();
    },
    runUntilIdle: (limitMs) => clock.runUntil(() => timers.length === 0, limitMs),
  };
  return clock;
}

/** 32 bits of state: enough to spread a walk, and the same on every machine. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function bytesOf(random: () => number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => Math.floor(random() * 256));
}

/** Version 4, as `randomUUID` makes them. */
function uuidOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  const variant = "89ab"[Number.parseInt(hex.charAt(16), 16) % 4];
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, variant + hex.slice(17, 20), hex.slice(20)].join(
    "-",
  );
}
