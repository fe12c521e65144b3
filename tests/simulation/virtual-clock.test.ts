import { expect, test } from "bun:test";
import { createVirtualClock } from "./virtual-clock.ts";

test("timers fire in the order of their instants, those of one instant in the order in which they were set", async () => {
  const clock = createVirtualClock({ seed: 1 });
  const fired: string[] = [];
  const set = (name: string, ms: number) => clock.timer(ms, () => fired.push(`${name}@${clock.mono()}`));
  set("late", 20);
  set("a", 10);
  const callOff = set("never", 10);
  set("b", 10);
  set("past", -5);
  callOff();
  await clock.advance(15);
  expect(fired).toEqual(["past@0", "a@10", "b@10"]);
  expect(clock.mono()).toBe(15);
  expect(await clock.runUntilIdle(100)).toBe(true);
  expect(fired.at(-1)).toBe("late@20");
});

test("what a timer sets off comes to rest before time moves on", async () => {
  const clock = createVirtualClock({ seed: 1 });
  const seen: number[] = [];
  const walk = async () => {
    for (let step = 0; step < 3; step += 1) {
      await clock.sleep(10);
      await new Response("a body").text();
      await crypto.subtle.digest("SHA-256", new Uint8Array(8));
      seen.push(clock.mono());
    }
  };
  const over = walk();
  await clock.advance(100);
  expect(seen).toEqual([10, 20, 30]);
  await over;
});

test("the same seed gives the same chance, another seed another", () => {
  const draw = (seed: number) => {
    const clock = createVirtualClock({ seed });
    return [clock.random(), clock.uuid(), ...clock.randomBytes(3)];
  };
  expect(draw(5)).toEqual(draw(5));
  expect(draw(5)).not.toEqual(draw(6));
  expect(createVirtualClock({ seed: 5 }).uuid()).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
});

test("a limit ends the run, and an aborted sleep leaves no timer", async () => {
  const clock = createVirtualClock({ seed: 1 });
  const stop = new AbortController();
  const sleep = clock.sleep(1_000, stop.signal);
  expect(await clock.runUntil(() => false, 500)).toBe(false);
  stop.abort(new Error("enough"));
  await expect(sleep).rejects.toThrow("enough");
  expect(clock.pending).toBe(0);
});

test("timers that set each other without time passing are named, not waited for", async () => {
  const clock = createVirtualClock({ seed: 1 });
  const again = () => void clock.timer(0, again);
  again();
  await expect(clock.advance(1)).rejects.toThrow("time stands still at 0 ms");
});
