/** A run as some looks have shown it, and what is concluded of it. */
import type { Graces, Tracked, Verdict } from "../../../src/job/outcome.ts";
import type { Outcome, Receipts, SchedulerRow } from "../../../src/job/run.ts";
import { observed, play, toTracked } from "./story.ts";

export const graces: Graces = {
  mayRequeue: false,
  seals: false,
  receiptMs: 60_000,
  sealMs: 600_000,
  lostMs: 9_000_000,
  cancelledMs: 90_000,
};
export const term = { signal: "TERM" };

/** Each look: the row, what lies in the job directory, and when, in ms. */
export function runOf(...looks: (readonly [SchedulerRow | null, Receipts, number])[]): Tracked {
  const first = toTracked.length * 1_000;
  const { run } = play([...toTracked, ...looks.map(([shown, receipts, at]) => observed(shown, receipts, first + at))]);
  if (run.stage !== "tracked") throw new Error(`the run is ${run.stage}`);
  return run;
}

export function outcomeIn(verdict: Verdict): Outcome {
  if (verdict.is !== "ended") throw new Error(`it waits: ${verdict.why}`);
  return verdict.outcome;
}
