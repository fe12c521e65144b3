import { expect, test } from "bun:test";
import type { RunRef } from "../../../src/job/run.ts";
import { sharedQuery } from "../../../src/scheduler/shared-query.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";

const never = new AbortController().signal;
const run = (jobId: string): RunRef => ({ jobId, attempt: "a1", name: `emx2-${jobId}`, dir: "/jobs", notBefore: 0 });

/** A question that takes a second, with when each was put and about what. */
function stage() {
  const clock = createVirtualClock({ seed: 1 });
  const asked: { readonly at: number; readonly names: string[]; readonly signal: AbortSignal }[] = [];
  const ask = sharedQuery(clock, async (runs, signal) => {
    asked.push({ at: clock.mono(), names: runs.map(({ name }) => name), signal });
    await clock.sleep(1_000);
    return { is: "answered" as const, at: asked.at(-1)?.at ?? 0 };
  });
  return { clock, asked, ask };
}

test("all who ask at once share one question about all their runs, each once", async () => {
  const { clock, asked, ask } = stage();
  const answers = [run("j1"), run("j2"), run("j1")].map((ref) => ask([ref], never));
  await clock.advance(5_000);
  expect((await Promise.all(answers)).map(({ is }) => is)).toEqual(["answered", "answered", "answered"]);
  expect(asked.map(({ names }) => names)).toEqual([["emx2-j1", "emx2-j2"]]);
});

test("who asks while a question is on its way gets the answer of one that was put later, as all of them do", async () => {
  const { clock, asked, ask } = stage();
  const first = ask([], never);
  await clock.advance(500);
  const late = Array.from({ length: 500 }, () => ask([], never));
  await clock.advance(5_000);
  expect(asked).toHaveLength(2);
  expect(await first).toMatchObject({ at: asked[0]?.at });
  for (const answer of await Promise.all(late)) expect(answer).toMatchObject({ at: asked[1]?.at });
  expect(asked[1]?.at).toBeGreaterThan(500);
});

test("who gives up is told at once, and the question goes on for the others", async () => {
  const { clock, asked, ask } = stage();
  const stop = new AbortController();
  const gone = ask([], stop.signal);
  const stays = ask([], never);
  await clock.advance(100);
  stop.abort();
  expect(await gone).toEqual({ is: "unavailable", cause: "given up" });
  expect(asked[0]?.signal.aborted).toBe(false);
  await clock.advance(5_000);
  expect((await stays).is).toBe("answered");
});

test("a question that nobody waits for any more is ended, or not put at all", async () => {
  const { clock, asked, ask } = stage();
  const [early, later] = [new AbortController(), new AbortController()];
  const unasked = ask([], early.signal);
  early.abort();
  await unasked;
  await clock.advance(5_000);
  expect(asked).toHaveLength(0);
  const ended = ask([], later.signal);
  await clock.advance(100);
  later.abort();
  await ended;
  await clock.settle();
  expect(asked[0]?.signal.aborted).toBe(true);
  await clock.advance(5_000);
  const after = ask([], never);
  await clock.advance(5_000);
  expect((await after).is).toBe("answered");
});

test("what a question throws reaches its askers and no other", async () => {
  const clock = createVirtualClock({ seed: 1 });
  let times = 0;
  const ask = sharedQuery(clock, async () => {
    times += 1;
    if (times === 1) throw new TypeError("a bug");
    return { is: "answered" as const };
  });
  const first = ask([], never).catch((error: unknown) => error);
  await clock.advance(100);
  expect(await first).toBeInstanceOf(TypeError);
  const second = ask([], never);
  await clock.advance(100);
  expect((await second).is).toBe("answered");
});
