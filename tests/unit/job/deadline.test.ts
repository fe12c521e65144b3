/** Time-outs of our own: when each counts, what it stops, and that EMX2 is told FAILED. */
import { describe, expect, test } from "bun:test";
import type { Timeouts } from "../../../src/job/deadline.ts";
import { type Decision, decide, type Health } from "../../../src/job/decide.ts";
import type { Job } from "../../../src/job/job.ts";
import {
  began,
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
  policy,
  ref,
  reported,
  retry,
  row,
  type Step,
  saw,
  seen,
  staged,
  startAt,
  submitting,
  succeeded,
  toTracked,
  uploaded,
  written,
} from "./story.ts";

const hour = 3_600_000;
const never: Timeouts = { submissionMs: null, executionMs: null, heldMs: null, neverRunnableMs: null };
const refusedAt = (at: number) => ({ ...ended({ kind: "Submit", ref }, { ...retry, answered: true }), at });
const unanswered = ended({ kind: "Submit", ref }, retry);
const toWritten: Step[] = [offered, ...claimedOk, ...staged, written];
const up: Health = { schedulerUp: true };

function decided(job: Job, now: number, timeouts: Partial<Timeouts> = {}, health: Health = up): Decision {
  return decide(job, { lookedAt: now, ...health }, { ...policy, timeouts: { ...never, ...timeouts } }, now);
}

function expired(job: Job, now: number, timeouts: Partial<Timeouts> = {}): Job {
  const { expired: expiry } = decided(job, now, timeouts);
  if (!expiry) throw new Error("nothing has expired");
  return play([{ kind: "Expired", at: now, by: expiry.by, detail: expiry.detail }], job);
}

describe("worker.never_runnable_patience", () => {
  const stuck = (reason: string, at: number) => ({ ...observed(row("PENDING", { reason })), at });
  const since = startAt + hour;

  test("counts from the first sight of a reason that can never clear, and fails the job", () => {
    const job = play([
      ...toTracked,
      reported,
      stuck("PartitionTimeLimit", since),
      stuck("PartitionTimeLimit", since + 5),
    ]);
    expect(decided(job, since + hour - 1, { neverRunnableMs: hour }).expired).toBeUndefined();
    expect(decided(job, since + hour, { neverRunnableMs: hour }, { ...up, lookedAt: since }).expired).toBeUndefined();
    expect(decided(job, since + 99 * hour).expired).toBeUndefined();
    const over = expired(job, since + hour, { neverRunnableMs: hour });
    expect(over.stop).toMatchObject({ by: "never-runnable", detail: expect.stringContaining("PartitionTimeLimit") });
    expect(decided(over, since + hour).start).toEqual([{ kind: "CancelRun", ref: expect.anything() }]);
  });

  test("starts again when the reason has cleared in between, and says nothing of reasons that pass", () => {
    const cleared = [stuck("BadConstraints", since), stuck("Priority", since + 5), stuck("BadConstraints", since + 10)];
    const job = play([...toTracked, reported, ...cleared]);
    expect(decided(job, since + hour + 9, { neverRunnableMs: hour }).expired).toBeUndefined();
    expect(decided(job, since + hour + 10, { neverRunnableMs: hour }).expired?.by).toBe("never-runnable");
    const waits = play([...toTracked, reported, stuck("Resources", since)]);
    expect(decided(waits, since + 99 * hour, { neverRunnableMs: hour }).expired).toBeUndefined();
  });
});

describe("timeout_seconds", () => {
  const timed = { ...seen({ timeoutSeconds: 600 }), parametersText: "{}" };
  const claim = { kind: "ClaimJob" } as const;
  const claimed: Step[] = [offered, began(claim), ended(claim, ok<"ClaimJob">({ job: timed }))];
  const claimedAt = startAt + 2_000;
  const started: Step[] = [...claimed, ...toTracked.slice(3), reported, observed(row("RUNNING"), leased), reported];

  test("count from the claim, whatever the job is doing", () => {
    for (const steps of [claimed, [...claimed, ...staged, written], started]) {
      const job = play(steps);
      expect(decided(job, claimedAt + 599_999).expired).toBeUndefined();
      expect(decided(job, claimedAt + 599_999).wakeAt).toBeLessThanOrEqual(claimedAt + 600_000);
      expect(decided(job, claimedAt + 600_000)).toMatchObject({ start: [], expired: { by: "timeout" } });
    }
  });

  test("end the run, bring its logs back, and EMX2 hears FAILED with the reason", () => {
    const job = expired(play(started), claimedAt + 600_000);
    expect(decided(job, claimedAt + 600_001).start.map(({ kind }) => kind)).toEqual(["CancelRun"]);
    const cancelled = play([observed(row("CANCELLED"), exited(143, { signal: "TERM" }))], job);
    const [close] = decided(cancelled, startAt + hour).start;
    expect(close).toMatchObject({ kind: "CloseRun", outcome: { result: "failed", state: "CANCELLED" } });
    if (close?.kind !== "CloseRun") throw new Error("the run is not closed");
    const over = play([closedRun(close.outcome), ...uploaded("log")], cancelled);
    expect(over.outputs).toMatchObject({ stage: "none" });
    expect(over.outbox.at(-1)).toMatchObject({ status: "FAILED", logArtifactId: "log-artifact" });
    expect(over.outbox.at(-1)?.detail).toContain("the job's timeout_seconds are over: 600 s since it was claimed");
  });

  test("end a job that was not submitted at once", () => {
    const job = expired(play(claimed), claimedAt + 600_000);
    expect(job.outbox).toMatchObject([{ status: "FAILED" }]);
  });

  test("do not apply once the workload has ended, however long the uploads take", () => {
    const ending = play([...started, observed(row("COMPLETING"), exited(0))]);
    expect(decided(ending, claimedAt + hour).expired).toBeUndefined();
    const uploading = play([closedRun(succeeded)], ending);
    expect(decided(uploading, claimedAt + hour).expired).toBeUndefined();
  });

  test("take nothing from a workload that ended well before the cancel reached it", () => {
    const job = expired(play(started), claimedAt + 600_000);
    const ended = play([observed(row("COMPLETED"), exited(0)), closedRun(succeeded)], job);
    const over = play([noFiles("log"), ...uploaded("output")], ended);
    expect(over.outbox.at(-1)).toMatchObject({ status: "COMPLETED", outputArtifactId: "output-artifact" });
  });

  test("are not over for a run that nobody has looked at since: it may have ended long ago", () => {
    const job = play(started);
    const late = claimedAt + 600_000;
    const before = { schedulerUp: true, lookedAt: late - 1 };
    expect(decide(job, up, policy, late).expired).toBeUndefined();
    expect(decide(job, before, policy, late).expired).toBeUndefined();
    expect(decide(job, before, policy, late).wakeAt ?? late + 1).toBeGreaterThan(late);
    expect(decide(job, { ...before, lookedAt: late }, policy, late).expired?.by).toBe("timeout");
  });

  test("in mid-submission end it once it can not turn up any more, and EMX2 hears FAILED", () => {
    const lost = play([...claimed, ...staged, written, submitting, ended({ kind: "Submit", ref }, doubt)]);
    const job = expired(lost, claimedAt + 600_000);
    const absent = {
      ...ended({ kind: "FindRun", ref }, ok<"FindRun">({ schedulerId: null, askedAt: startAt + hour })),
      at: startAt + hour,
    };
    const [close] = decided(play([absent], job), startAt + hour).start;
    expect(close).toMatchObject({ kind: "CloseRun", outcome: { result: "failed", state: "NEVER_SUBMITTED" } });
  });

  test("abort what is staged, and neither the logs nor the report that tell of it", () => {
    expect(decided(expired(play(started), claimedAt + 600_000), startAt + hour).abort).toEqual(["inputs"]);
  });

  test("give way to a cancel at EMX2", () => {
    const job = play([saw({ status: "CANCELLED" })], expired(play(started), claimedAt + 600_000));
    expect(job.stop?.by).toBe("server-cancelled");
    const over = play([closedRun({ ...succeeded, result: "cancelled" }), noFiles("log")], job);
    expect(over.outbox).toEqual([]);
    expect(over.closed?.status).toBe("CANCELLED");
  });
});

describe("the execution time-out", () => {
  test("counts from the first sight of the workload, not from the queue", () => {
    const waiting = play([...toTracked, reported, observed(row("PENDING"))]);
    expect(decided(waiting, startAt + 9 * hour, { executionMs: hour }).expired).toBeUndefined();
    const running = { ...observed(row("RUNNING"), leased), at: startAt + 2 * hour };
    const job = play([...toTracked, reported, running, reported]);
    expect(decided(job, startAt + 3 * hour - 1, { executionMs: hour }).expired).toBeUndefined();
    expect(decided(job, startAt + 3 * hour, { executionMs: hour }).expired?.by).toBe("execution-timeout");
  });

  test("does not count while Slurm has the run in its queue again, before any receipt of the next run", () => {
    const queued = { ...observed(row("PENDING", { reason: "BeginTime" }), leased), at: startAt + 60_000 };
    const later = { ...queued, at: startAt + 2 * hour };
    const job = play([...toTracked, reported, observed(row("RUNNING"), leased), reported, queued, later]);
    expect(decided(job, startAt + 9 * hour, { executionMs: hour }).expired).toBeUndefined();
  });

  test("counts anew for a run that Slurm has requeued", () => {
    const again = { ...observed(row("RUNNING"), { ...leased, restart: 1 }), at: startAt + 2 * hour };
    const job = play([...toTracked, reported, observed(row("RUNNING"), leased), reported, again]);
    expect(decided(job, startAt + 2 * hour, { executionMs: hour }).expired).toBeUndefined();
  });
});

describe("the submission time-out", () => {
  const submissionMs = 600_000;
  const at = (minutes: number) => startAt + minutes * 60_000;

  test("counts from the first refusal, over refusals that follow one another", () => {
    const job = play([...toWritten, submitting, refusedAt(at(1)), submitting, refusedAt(at(6))]);
    expect(decided(job, at(11) - 1, { submissionMs }).expired).toBeUndefined();
    expect(decided(job, at(11), { submissionMs }).expired?.by).toBe("submission-timeout");
    expect(expired(job, at(11), { submissionMs }).outbox).toMatchObject([{ status: "FAILED" }]);
  });

  test("does not count while the scheduler does not answer, nor while nobody asked", () => {
    const once = play([...toWritten, submitting, refusedAt(at(1))]);
    expect(decided(once, at(12), { submissionMs }, { schedulerUp: false }).expired).toBeUndefined();
    expect(decided(once, at(600), { submissionMs }).expired).toBeUndefined();
    const outage = play([submitting, unanswered, submitting, refusedAt(at(30))], once);
    expect(decided(outage, at(39), { submissionMs }).expired).toBeUndefined();
    expect(decided(outage, at(40), { submissionMs }).expired?.by).toBe("submission-timeout");
  });

  test("is over once the scheduler has taken the job", () => {
    const job = play([...toWritten, submitting, refusedAt(at(1)), ...toTracked.slice(-2)]);
    expect(decided(job, at(11), { submissionMs }).expired).toBeUndefined();
  });
});

describe("a held profile", () => {
  const held = { since: startAt + hour, cause: "invalid partition", probe: false, nextProbeAt: startAt + 2 * hour };
  const health = { schedulerUp: true, held };
  const job = play(toWritten);

  test("keeps its jobs from being submitted, but for the one that tries", () => {
    expect(decided(job, startAt + hour, {}, health)).toMatchObject({ start: [], wakeAt: held.nextProbeAt });
    expect(decided(job, startAt + hour, {}, health).why).toContain("invalid partition");
    const probe = decided(job, startAt + hour, {}, { schedulerUp: true, held: { ...held, probe: true } });
    expect(probe.start.map(({ kind }) => kind)).toEqual(["Submit"]);
  });

  test("fails them after held_jobs_wait, counted from when they could have been submitted, but for the one that tries", () => {
    expect(decided(job, held.since + 24 * hour - 1, { heldMs: 24 * hour }, health).expired).toBeUndefined();
    const over = decided(job, held.since + 24 * hour, { heldMs: 24 * hour }, health).expired;
    expect(over).toMatchObject({ by: "held" });
    expect(over?.detail).toContain("worker.held_jobs_wait");
    expect(over?.detail).toContain("invalid partition");
    const probe = { schedulerUp: true, held: { ...held, probe: true } };
    expect(decided(job, startAt + 999 * hour, { heldMs: hour }, probe).start.map(({ kind }) => kind)).toEqual([
      "Submit",
    ]);
    expect(decided(job, startAt + 999 * hour, { heldMs: null, neverRunnableMs: null }, health).expired).toBeUndefined();
  });

  test("keeps a submission that was lost beyond its fence from being repeated, too", () => {
    const lost = [...toWritten, submitting, ended({ kind: "Submit", ref }, doubt)];
    const absent = {
      ...ended({ kind: "FindRun", ref }, ok<"FindRun">({ schedulerId: null, askedAt: startAt + hour })),
      at: startAt + hour,
    };
    const waiting = play([...lost, absent]);
    expect(decided(waiting, startAt + hour, {}, health).start).toEqual([]);
    expect(decided(waiting, startAt + hour).start.map(({ kind }) => kind)).toEqual(["Submit"]);
  });

  test("lets what is submitted already run on", () => {
    const running = play([...toTracked, reported, observed(row("RUNNING"), leased), reported]);
    expect(decided(running, startAt + 99 * hour, { heldMs: hour }, health).expired).toBeUndefined();
  });
});
