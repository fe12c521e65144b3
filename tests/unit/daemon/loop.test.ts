import { describe, expect, test } from "bun:test";
import { runLoop } from "../../../src/daemon/loop.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";

describe("runLoop", () => {
  test("ticks at once, then again and again, a tenth more or less than the interval apart", async () => {
    const clock = createVirtualClock({ seed: 7 });
    const stop = new AbortController();
    const ticks: number[] = [];
    const loop = { intervalMs: 1_000, tick: async () => void ticks.push(clock.mono()) };
    const over = runLoop(loop, clock, stop.signal);
    await clock.advance(100_000);
    const pauses = ticks.slice(1).map((tick, index) => tick - (ticks[index] ?? 0));
    expect(ticks[0]).toBe(0);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(900);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(1_100);
    expect(new Set(pauses).size).toBeGreaterThan(50);
    stop.abort();
    await over;
  });

  test("ticks never overlap: the pause begins when the tick is over", async () => {
    const clock = createVirtualClock({ seed: 7 });
    const stop = new AbortController();
    let running = 0;
    let most = 0;
    let ticks = 0;
    const tick = async () => {
      running += 1;
      most = Math.max(most, running);
      await clock.sleep(5_000);
      running -= 1;
      ticks += 1;
    };
    const over = runLoop({ intervalMs: 1_000, tick }, clock, stop.signal);
    await clock.advance(59_000);
    expect(most).toBe(1);
    expect(ticks).toBeGreaterThanOrEqual(9);
    stop.abort();
    await clock.advance(5_000);
    await over;
  });

  test("the signal ends its pause at once and leaves no timer behind", async () => {
    const clock = createVirtualClock({ seed: 7 });
    const stop = new AbortController();
    const over = runLoop({ intervalMs: 1_000, tick: async () => {} }, clock, stop.signal);
    await clock.settle();
    stop.abort();
    await over;
    expect(clock.pending).toBe(0);
    expect(clock.mono()).toBe(0);
  });

  test("a signal during a tick lets it end and starts no other; one that was given before starts none", async () => {
    const clock = createVirtualClock({ seed: 7 });
    const stop = new AbortController();
    let ticks = 0;
    const tick = async () => {
      ticks += 1;
      stop.abort();
    };
    await runLoop({ intervalMs: 1_000, tick }, clock, stop.signal);
    await runLoop({ intervalMs: 1_000, tick }, clock, stop.signal);
    expect(ticks).toBe(1);
  });

  test("what a tick throws goes through", async () => {
    const clock = createVirtualClock({ seed: 7 });
    const tick = () => Promise.reject(new TypeError("a bug"));
    await expect(runLoop({ intervalMs: 1_000, tick }, clock, new AbortController().signal)).rejects.toThrow("a bug");
  });
});
