/** A job that was taken in without its journal, and what becomes of it. */
import { describe, expect, test } from "bun:test";
import { decide } from "../../../src/job/decide.ts";
import type { JobEvent } from "../../../src/job/effect.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job, Run } from "../../../src/job/job.ts";
import { ended, ok, policy, ref, seen, startAt, tracked } from "./story.ts";

const now = startAt + 1_000;

function adopted(run: Run, job: Parameters<typeof seen>[0] = {}): Extract<JobEvent, { kind: "Adopted" }> {
  return {
    kind: "Adopted",
    at: now,
    job: seen(job),
    workerId: "w1",
    profileKey: "embed/gpu",
    backend: "slurm",
    dir: "/jobs/j1",
    traceId: "t1",
    claimedAt: startAt,
    run,
  };
}

function taken(run: Run, job: Parameters<typeof seen>[0] = {}): Job {
  const result = fold(undefined, adopted(run, job));
  if (!result) throw new Error("it was not taken in");
  return result;
}

const wanted = (job: Job) => decide(job, { schedulerUp: true }, policy, now).start.map(({ kind }) => kind);

test("it is ours since its claim, and says nothing again that EMX2 knows", () => {
  const job = taken({ stage: "tracked", ref: tracked, since: now }, { status: "STARTED" });
  expect(job.claim).toEqual({ stage: "ours", at: startAt });
  expect(job.announced).toBe("STARTED");
  expect(job.outbox).toEqual([]);
});

test("a run that EMX2 has not heard of is reported", () => {
  const job = taken({ stage: "tracked", ref: tracked, since: now });
  expect(job.outbox.map(({ status, slurmJobId }) => [status, slurmJobId])).toEqual([["SUBMITTED", "7"]]);
});

test("without a run it begins with its inputs; what can not be read fails it", () => {
  expect(wanted(taken({ stage: "none" }))).toEqual(["ListInputs"]);
  const job = taken({ stage: "none" }, { unreadable: "no JSON" });
  expect(job.outbox.map(({ status }) => status)).toEqual(["FAILED"]);
});

test("in doubt it is looked for, and not submitted before its fence is over", () => {
  const job = taken({ stage: "submitting", ref, intentAt: now, doubt: true });
  expect(wanted(job)).toEqual(["FindRun"]);
});

test("a job that is known already stays as it is", () => {
  const job = taken({ stage: "tracked", ref: tracked, since: now });
  expect(fold(job, adopted({ stage: "none" }))).toBe(job);
});

describe("a run of the Python daemon's that may have been submitted", () => {
  const short = { ...ref, name: "emx2-12345678", unreceipted: true as const };
  const doubtful = taken({ stage: "submitting", ref: short, intentAt: now, doubt: true });
  const looked = (value: { schedulerId: string | null; fenceOver?: true }) =>
    fold(doubtful, ended({ kind: "FindRun", ref: short }, ok<"FindRun">({ askedAt: now, ...value })));

  test("found: followed by name and id", () => {
    expect(looked({ schedulerId: "9" })?.run).toMatchObject({ stage: "tracked", ref: { ...short, schedulerId: "9" } });
  });

  test("absent within the fence: looked for on", () => {
    expect(looked({ schedulerId: null })?.run).toMatchObject({ stage: "submitting", doubt: true });
  });

  test("absent after it: begun anew from the inputs, with a script of ours", () => {
    const job = looked({ schedulerId: null, fenceOver: true });
    expect(job?.run).toEqual({ stage: "none" });
    expect(job && wanted(job)).toEqual(["ListInputs"]);
  });

  test("a submission of our own that never arrived is not begun anew", () => {
    const own = taken({ stage: "submitting", ref, intentAt: now, doubt: true });
    const job = fold(
      own,
      ended({ kind: "FindRun", ref }, ok<"FindRun">({ schedulerId: null, askedAt: now, fenceOver: true })),
    );
    expect(job?.run.stage).toBe("submitting");
  });
});
