import { expect, test } from "bun:test";
import { type Clock, steady, systemClock } from "../../src/clock.ts";
import { createVirtualClock } from "../simulation/virtual-clock.ts";

test("a steady clock goes on evenly though the host's is set back", async () => {
  const host = createVirtualClock({ seed: 1 });
  let offsetMs = 0;
  const moved: Clock = { ...host, wall: () => host.wall() + offsetMs };
  const clock = steady(moved);
  const before = clock.wall();
  offsetMs = -86_400_000;
  await host.advance(1_500);
  expect(clock.wall() - before).toBe(1_500);
});

test("sleep ends at once when its signal is aborted, with the signal's reason", async () => {
  const stop = new AbortController();
  const sleeping = systemClock.sleep(60_000, stop.signal);
  stop.abort(new Error("enough"));
  expect(sleeping).rejects.toThrow("enough");
  expect(systemClock.sleep(60_000, stop.signal)).rejects.toThrow("enough");
});

test("a timer longer than 24 days does not fire at once", async () => {
  let fired = false;
  const callOff = systemClock.timer(40 * 86_400_000, () => {
    fired = true;
  });
  await systemClock.sleep(5);
  callOff();
  expect(fired).toBe(false);
});
