import { describe, expect, test } from "bun:test";
import { createBreaker } from "../../../src/daemon/breaker.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";

const intervalMs = 30_000;
const longestMs = 600_000;

function breaker(seed = 1) {
  const clock = createVirtualClock({ seed });
  return { clock, breaker: createBreaker(clock, intervalMs) };
}

describe("a breaker", () => {
  test("lets the first question through at once, and the next after the interval, less the loop's jitter", async () => {
    const { clock, breaker: it } = breaker();
    expect(it.isDue()).toBe(true);
    it.answered(20, false);
    expect(it.pauseMs).toBe(intervalMs);
    await clock.advance(26_000);
    expect(it.isDue()).toBe(false);
    await clock.advance(1_000);
    expect(it.isDue()).toBe(true);
  });

  test("doubles its pauses from failure to failure, jittered, up to ten minutes", () => {
    const pauses = Array.from({ length: 40 }, (_, seed) => {
      const { breaker: it } = breaker(seed);
      return Array.from({ length: 9 }, () => {
        it.failed();
        return it.pauseMs;
      });
    });
    for (const [times, wholeMs] of [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000].entries()) {
      const seen = pauses.map((of) => of[times] ?? 0);
      expect(Math.max(...seen)).toBeLessThanOrEqual(wholeMs);
      expect(Math.min(...seen)).toBeGreaterThanOrEqual(Math.max(intervalMs, wholeMs / 2));
      if (times > 1) expect(new Set(seen).size).toBeGreaterThan(30);
    }
    expect(Math.max(...pauses.flat())).toBeLessThanOrEqual(longestMs);
  });

  test("is as before after one answer, and says that it had failed", () => {
    const { breaker: it } = breaker();
    it.failed();
    it.failed();
    expect(it.failures).toBe(2);
    expect(it.answered(20, false)).toBe(true);
    expect(it.failures).toBe(0);
    expect(it.pauseMs).toBe(intervalMs);
    expect(it.answered(20, false)).toBe(false);
  });

  test.each([
    [500, intervalMs],
    [1_000, intervalMs],
    [1_500, intervalMs],
    [2_000, 40_000],
    [10_000, 200_000],
    [59_000, longestMs],
  ])(
    "an answer that took %d ms is followed by a pause of %d ms: a twentieth of the time at most",
    (costMs, pauseMs) => {
      const { breaker: it } = breaker();
      it.answered(costMs, false);
      expect(it.pauseMs).toBe(pauseMs);
    },
  );

  test("backs off from a scheduler that answers and says that it is asked too often", () => {
    const { breaker: it } = breaker();
    const pauses = Array.from({ length: 6 }, () => {
      it.answered(20, true);
      return it.pauseMs;
    });
    expect(pauses[2]).toBeGreaterThanOrEqual(120_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(longestMs);
    it.answered(20, false);
    expect(it.pauseMs).toBe(intervalMs);
  });
});
