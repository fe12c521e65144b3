/** When an upload that keeps failing is given up, and the job with it. */
import { expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { givenUp } from "../../../src/daemon/upload-retry.ts";
import { ApiError } from "../../../src/errors.ts";
import type { Effect } from "../../../src/job/effect.ts";
import type { Wait } from "../../../src/job/job.ts";
import { play, ref, toTracked } from "../job/story.ts";

const hourMs = 3_600_000;
const fault = { is: "retry", cause: "EMX2 answered 500" } as const;

const failing = (hours: number, failures: number): Wait => ({
  ...{ failures, since: systemClock.wall() - hours * hourMs, until: 0, cause: fault.cause },
});

function after(wait: Wait | undefined, uploadRetryMs: number | null, effect: Effect) {
  const waits = wait ? { outputs: wait, logs: wait, run: wait } : {};
  return givenUp({ clock: systemClock, uploadRetryMs }, { ...play(toTracked), waits }, effect, fault);
}

test.each([
  ["for the first time", undefined, "retry"],
  ["for long, with few tries: EMX2 may have been away", failing(100, 5), "retry"],
  ["often, in a short time", failing(1, 50), "retry"],
  ["often, for as long as the operator has said", failing(73, 50), "refused"],
] as const)("a file that EMX2 fails to take %s", (_, wait, is) => {
  const put = { kind: "PutFiles", role: "output", from: 0 } as const;
  expect(after(wait, 72 * hourMs, put).is).toBe(is);
  expect(after(wait, null, put)).toEqual(fault);
  expect(after(wait, 72 * hourMs, { kind: "FindRun", ref })).toEqual(fault);
});

test.each([
  ["an hour", failing(1, 10), "refused"],
  ["less than an hour", failing(0.9, 50), "retry"],
  ["an hour in which EMX2 was away", failing(100, 5), "retry"],
] as const)("a log that EMX2 fails to take for %s", (_, wait, is) => {
  const put = { kind: "PutFiles", role: "log", from: 0 } as const;
  expect(after(wait, 72 * hourMs, put).is).toBe(is);
  expect(after(wait, null, put).is).toBe(is);
});

test("an input that EMX2 fails to give is given up as an output is, and not one that waits for storage here", () => {
  const waits = { inputs: failing(73, 50) };
  const stage = (error?: Error) =>
    givenUp(
      { clock: systemClock, uploadRetryMs: 72 * hourMs },
      { ...play(toTracked), waits },
      { kind: "StageFiles", from: 0 },
      fault,
      error,
    ).is;
  const answer = new ApiError("EMX2's list ended early", { status: 200, method: "GET", path: "/files" });
  expect([stage(answer), stage(), stage(new Error("disk full"))]).toEqual(["refused", "retry", "retry"]);
});

test("it is said how often and for how long it was tried", () => {
  expect(after(failing(73, 50), 72 * hourMs, { kind: "Commit", role: "output" }).cause).toMatch(
    /^EMX2 answered 500 \(tried 51 times in 73:00:00\)$/,
  );
});
