import { expect, test } from "bun:test";
import type { JobEvent } from "../../../src/job/effect.ts";
import { historyOf } from "../../../src/view/history.ts";
import { localSecond } from "../../../src/view/when.ts";
import {
  began,
  claimedOk,
  closedRun,
  doubt,
  ended,
  exited,
  expired,
  leased,
  observed,
  offered,
  ok,
  progressed,
  ref,
  refused,
  retry,
  row,
  saw,
  staged,
  submitted,
  submitting,
  succeeded,
  uploaded,
  written,
} from "../job/story.ts";

function happened(events: readonly JobEvent[]) {
  return events.map((event, index) => ({ at: index * 1_000, event }));
}

function texts(events: readonly JobEvent[]): string[] {
  return historyOf(happened(events)).map(({ text }) => text);
}

test("a whole life reads from top to bottom as what happened, each thing once", () => {
  const submit = { kind: "Report", report: { status: "SUBMITTED", detail: "submitted as 7" } } as const;
  expect(
    texts([
      offered,
      ...claimedOk,
      ...staged,
      written,
      submitting,
      submitted,
      ended(submit, ok<"Report">({})),
      observed(row("PENDING", { reason: "Priority" })),
      observed(row("RUNNING", { node: "n1" }), leased),
      observed(row("RUNNING", { node: "n1" }), leased),
      progressed({ phase: "train", message: "epoch 3", fraction: 0.4 }),
      observed(row("COMPLETED", { source: "sacct", node: "n1" }), exited(0)),
      closedRun(succeeded),
      ...uploaded("log"),
      ...uploaded("output"),
      ended({ kind: "RemoveDir" }, ok<"RemoveDir">({})),
    ]),
  ).toEqual([
    "offered by EMX2: embed, for profile embed/gpu, by ann",
    "claimed",
    "1 input file to stage, 9 B",
    "inputs are here, batch script written",
    "being submitted",
    "submitted as 7",
    "reported SUBMITTED: submitted as 7",
    "PENDING (Priority)",
    "RUNNING on n1",
    "receipt: begun on n1",
    "says of itself: 40% train epoch 3",
    "receipt: exit code 0",
    "COMPLETED on n1",
    "ended: COMPLETED; by its receipt; exit code 0",
    "1 log file hashed, 5 B",
    "logs go to artifact log-artifact",
    "logs COMMITTED",
    "1 output file hashed, 5 B",
    "outputs go to artifact output-artifact",
    "outputs COMMITTED",
    "its directory was removed",
  ]);
});

test.each([
  ["ab".repeat(32), "receipt: outputs are sealed"],
  [null, "receipt: outputs are not sealed: they are hashed on this host"],
])("what the script says of its seal: %p", (manifestSha256, said) => {
  const receipts = { ...exited(0), done: { exit: 0, manifestSha256 } };
  expect(texts([observed(row("RUNNING"), exited(0)), observed(row("RUNNING"), receipts)])).toContain(said);
});

test("retries carry their cause, doubts how they were resolved; what is said again and again is said once", () => {
  const find = { kind: "FindRun", ref } as const;
  const lines = historyOf(
    happened([
      ended({ kind: "Submit", ref }, doubt),
      ended(find, ok<"FindRun">({ schedulerId: null, askedAt: 0 })),
      ended(find, ok<"FindRun">({ schedulerId: null, askedAt: 0 })),
      ended(find, ok<"FindRun">({ schedulerId: null, askedAt: 0 })),
      ended(find, ok<"FindRun">({ schedulerId: "9", askedAt: 0 })),
      ended({ kind: "StageFiles", from: 0 }, retry),
      ended({ kind: "Commit", role: "output" }, refused("hash differs", 422)),
    ]),
  ).map(({ text }) => text);
  expect(lines).toEqual([
    "submitting was left without an answer: no answer",
    `the lost submission is not there (yet) (3 times, last ${localSecond(3_000)})`,
    "the lost submission was found: 9",
    "staging inputs did not go through and is tried again: not now",
    "committing an artifact was refused: hash differs",
  ]);
});

test("who ended it, and what Slurm says of that", () => {
  expect(
    texts([
      saw({ status: "CANCELLED" }),
      saw(null),
      { kind: "CancelAsked", at: 0, by: "the operator of this worker (alice, uid 1000)" },
      expired("timeout"),
      ended({ kind: "CancelRun", ref }, ok<"CancelRun">({})),
      observed(row("CANCELLED", { cancelledBy: 1_000 }), { ...leased, stop: { signal: "TERM", at: 1 } }),
    ]),
  ).toEqual([
    "EMX2 says CANCELLED, worker w1",
    "EMX2 does not know it",
    "to be ended: cancelled by the operator of this worker (alice, uid 1000)",
    "to be ended: timeout is over",
    "the scheduler was told to end it",
    "receipt: begun on n1",
    "receipt: signal TERM reached it",
    "CANCELLED by uid 1000",
  ]);
});

test("a requeue, a twin, a missing directory and a row that is gone are told when they are seen, and not again", () => {
  const again = { ...leased, restart: 1, lost: ["8"] };
  const gone = { ...again, directory: false };
  expect(
    texts([observed(row("RUNNING"), leased), observed(null, again), observed(null, again), observed(null, gone)]),
  ).toEqual([
    "RUNNING",
    "receipt: begun on n1",
    "Slurm runs it again (restart 1)",
    "the scheduler does not know it",
    "twins that did nothing: 8",
    "its directory can not be seen",
  ]);
});

test("it says where and how much was left out, and cuts what others have written", () => {
  const long = { kind: "Report", report: { status: "FAILED", detail: `${"x".repeat(500)}\nstderr` } } as const;
  const events = happened([began({ kind: "ClaimJob" }), offered, ended(long, ok<"Report">({}))]);
  const told = historyOf(events, { count: 40, after: 2 });
  expect(told.map(({ text }) => text)).toEqual([
    "offered by EMX2: embed, for profile embed/gpu, by ann",
    "(40 events before this left out)",
    `reported FAILED: ${"x".repeat(200)}…`,
  ]);
});
