import { describe, expect, test } from "bun:test";
import { type Part, partOf, stageOf } from "../../../src/view/stage.ts";
import {
  claimedOk,
  closedRun,
  doubt,
  ended,
  exited,
  leased,
  noFiles,
  observed,
  offered,
  ok,
  play,
  ref,
  reported,
  row,
  type Step,
  saw,
  staged,
  submitting,
  succeeded,
  toTracked,
  unleased,
  uploaded,
  written,
} from "../job/story.ts";

const listed = ended({ kind: "ListInputs" }, ok<"ListInputs">({ total: 12, bytes: 90 }));
const oneStaged = ended({ kind: "StageFiles", from: 0 }, ok<"StageFiles">({ files: 1, bytes: 9 }));
const cancelAsked: Step = { kind: "CancelAsked", at: 0, by: "the operator" };
const toUploads = [...toTracked, observed(row("COMPLETED"), exited(0)), closedRun(succeeded)];
const toOutputs = [...toUploads, ...uploaded("log"), ...uploaded("output").slice(0, 2)];
const toReports = [...toUploads, noFiles("log"), noFiles("output")];

const cases: readonly (readonly [stage: string, part: Part, steps: readonly Step[]])[] = [
  ["claiming", "preparing", [offered]],
  ["listing inputs", "preparing", [offered, ...claimedOk]],
  ["staging inputs 1/12", "preparing", [offered, ...claimedOk, listed, oneStaged]],
  ["writing its script", "preparing", [offered, ...claimedOk, ...staged]],
  ["waiting to be submitted", "preparing", [offered, ...claimedOk, ...staged, written]],
  ["being submitted", "preparing", [offered, ...claimedOk, ...staged, written, submitting]],
  [
    "looking for its submission",
    "preparing",
    [offered, ...claimedOk, ...staged, written, submitting, ended({ kind: "Submit", ref }, doubt)],
  ],
  ["submitted", "queued", toTracked],
  ["PENDING (Resources)", "queued", [...toTracked, observed(row("PENDING", { reason: "Resources" }))]],
  ["PENDING", "queued", [...toTracked, observed(row("PENDING", { reason: "None" }))]],
  ["RUNNING on n1", "running", [...toTracked, observed(row("RUNNING", { node: "n1" }), leased)]],
  ["MELTED", "queued", [...toTracked, observed(row("UNKNOWN", { word: "MELTED" }))]],
  ["not known to the scheduler", "queued", [...toTracked, observed(null, unleased)]],
  ["ended, not closed yet", "running", [...toTracked, observed(row("COMPLETING"), exited(0))]],
  ["ending: PENDING", "queued", [...toTracked, observed(row("PENDING")), cancelAsked]],
  ["hashing logs", "returning", toUploads],
  ["uploading logs", "returning", [...toUploads, ...uploaded("log").slice(0, 1)]],
  ["uploading outputs 0/1", "returning", toOutputs],
  ["reporting COMPLETED", "returning", toReports],
  ["done: COMPLETED", "done", [...toReports, reported, reported, reported]],
  ["done: CANCELLED", "done", [offered, ...claimedOk, saw({ status: "CANCELLED" })]],
];

test("files on their way are told of as they arrive, as long as the job is still about it", () => {
  const moving = { lane: "outputs", files: 4_812, ofFiles: 10_000, bytes: 2_100_000, ofBytes: 4_000_000 } as const;
  expect(stageOf(play(toOutputs), moving)).toBe("uploading outputs 4812/10000, 2.1 MB of 4.0 MB");
  expect(stageOf(play(toOutputs), { ...moving, bytes: 0, ofBytes: 0 })).toBe("uploading outputs 4812/10000");
  expect(stageOf(play(toReports), moving)).toBe("reporting COMPLETED");
});

describe("a job's stage", () => {
  for (const [stage, part, steps] of cases)
    test(`${stage}`, () => {
      const job = play(steps);
      expect([stageOf(job), partOf(job)]).toEqual([stage, part]);
    });
});
