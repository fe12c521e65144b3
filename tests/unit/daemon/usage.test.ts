/** A job's end waits for what it has used, and not for long. */
import { expect, test } from "bun:test";
import type { EffectContext } from "../../../src/daemon/effect-context.ts";
import { createPerformer } from "../../../src/daemon/effects.ts";
import { closeRun } from "../../../src/daemon/run-effects.ts";
import { usageAtEnd } from "../../../src/daemon/usage.ts";
import { decide } from "../../../src/job/decide.ts";
import type { Job } from "../../../src/job/job.ts";
import type { Usage } from "../../../src/job/usage.ts";
import type { Scheduler, UsageAnswer } from "../../../src/scheduler/scheduler.ts";
import { createMemoryFiles } from "../../simulation/memory-files.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";
import { state } from "../artifacts/work-directory.ts";
import {
  ended,
  exited,
  noFiles,
  observed,
  ok,
  play,
  policy,
  ref,
  row,
  succeeded,
  toTracked,
  tracked,
} from "../job/story.ts";

const never = new AbortController().signal;
const clock = createVirtualClock({ seed: 1 });
const at = clock.wall();
const over: Job = play([...toTracked, observed(row("COMPLETED"), exited(0), at)]);
const answering = (answer: UsageAnswer) => ({ usage: async () => answer });
const later = (ms: number) => ({ ...clock, wall: () => at + ms });

test.each([
  ["at once", over, 1_000, "pending"],
  ["after a quarter of a minute", over, 15_000, "nothing"],
  ["whose clock was ahead", over, -60_000, "nothing"],
  ["that was stopped", { ...over, stop: { by: "operator", at, detail: "" } } as Job, 1_000, "nothing"],
] as const)("accounting that does not know the end yet, of a job %s", async (_, job, ms, is) => {
  expect(await usageAtEnd(job, tracked, answering({ is: "pending" }), later(ms), never)).toEqual({ is });
});

test("accounting that hangs is done without", async () => {
  const hanging = {
    usage: (_: unknown, signal: AbortSignal) =>
      new Promise<UsageAnswer>((resolve) => signal.addEventListener("abort", () => resolve({ is: "nothing" }))),
  };
  const asked = usageAtEnd(over, tracked, hanging, clock, never);
  await clock.advance(10_000);
  expect(await asked).toEqual({ is: "nothing" });
});

const noHolds = { refused: () => {}, taken: () => {}, unstarted: () => {}, begun: () => {} };

test("CloseRun comes again after a pause, and brings what was used into the job's end", async () => {
  const files = createMemoryFiles({ state });
  await files.create(ref.dir, { state, stateDir: "/state", host: "head", uid: 1 });
  files.symlink(ref.dir, ".emx2/lease.a1", "7");
  const effect = { kind: "CloseRun", ref: tracked, outcome: succeeded } as const;
  const closed = async (answer: UsageAnswer) => {
    const schedulerOf = () => answering(answer) as unknown as Scheduler;
    const context = { files, stderrLinesInReports: 0, schedulerOf, clock: later(1_000), holds: noHolds };
    return (await closeRun(over, effect, context, never)).result;
  };
  const again = await closed({ is: "pending" });
  expect(again).toEqual(ok<"CloseRun">({ later: true }));
  const waiting = play([...toTracked, observed(row("COMPLETED"), exited(0), at), ended(effect, again, at + 1_500)]);
  const kindsAt = (now: number) => decide(waiting, { schedulerUp: true }, policy, now).start.map(({ kind }) => kind);
  expect(waiting.run.stage).toBe("tracked");
  expect(kindsAt(at + 1_499)).not.toContain("CloseRun");
  expect(kindsAt(at + 1_500)).toContain("CloseRun");

  const known = await closed({ is: "known", usage: { maxRssBytes: 2 ** 30, nodes: 1 } });
  const done = play([
    ...toTracked,
    observed(row("COMPLETED"), exited(0), at),
    ended(effect, known),
    noFiles("log"),
    noFiles("output"),
  ]);
  expect(done.run).toMatchObject({ stage: "ended", outcome: { used: { maxRssBytes: 2 ** 30 } } });
  expect(done.outbox.at(-1)?.detail).toContain("used: 1 GB on 1 node");
});

test("a process that was killed for memory, which accounting alone tells of, is no success", () => {
  const effect = { kind: "CloseRun", ref: tracked, outcome: succeeded } as const;
  const closed = (used: Usage) => play([...toTracked, ended(effect, ok<"CloseRun">({ stderrTail: [], used }))]).run;
  const killed = closed({ outOfMemory: true });
  expect(killed).toMatchObject({ outcome: { result: "failed", state: "OUT_OF_MEMORY" } });
  expect(JSON.stringify(killed)).toContain("though its program exited 0");
  expect(closed({ nodes: 1 })).toMatchObject({ outcome: { result: "succeeded" } });
});

test("accounting is asked again after a pause, and not at once", () => {
  const performer = createPerformer({ delays: {}, clock } as unknown as EffectContext);
  const effect = { kind: "CloseRun", ref: tracked, outcome: succeeded } as const;
  expect(performer.delayMs(effect, ok<"CloseRun">({ later: true }), 0)).toBe(1_500);
  expect(performer.delayMs(effect, ok<"CloseRun">({ stderrTail: [] }), 0)).toBeUndefined();
});
