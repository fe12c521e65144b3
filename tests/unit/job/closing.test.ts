import { expect, test } from "bun:test";
import { decide } from "../../../src/job/decide.ts";
import type { SlurmState } from "../../../src/job/run.ts";
import { leased, observed, play, policy, row, saw, startAt, toTracked, unleased } from "./story.ts";

const cancel = saw({ status: "CANCELLED" });
const up = { schedulerUp: true };
const later = startAt + 3_600_000;

function asks(state: SlurmState, receipts = leased, id = "7"): boolean {
  const job = play([
    ...toTracked,
    observed(row("RUNNING"), receipts),
    cancel,
    observed(row(state, { schedulerId: id }), receipts),
  ]);
  const patient = { ...policy, graces: { ...policy.graces, receiptMs: later, sealMs: later } };
  return decide(job, up, patient, startAt + 60_000).start.some(({ kind }) => kind === "CancelRun");
}

test.each(["PENDING", "RUNNING", "SUSPENDED", "REQUEUED", "UNKNOWN"] as const)(
  "a run that is to end and is %s is asked to end",
  (state) => expect(asks(state)).toBe(true),
);

test.each(["COMPLETING", "CANCELLED", "FAILED", "TIMEOUT"] as const)(
  "a run that is to end and is %s is on its way out, and not asked again",
  (state) => expect(asks(state)).toBe(false),
);

test("the end of a twin is not the end of the run that has the lease", () => {
  expect(asks("FAILED", { ...leased, lease: "8" })).toBe(true);
  expect(asks("FAILED", unleased)).toBe(false);
});
