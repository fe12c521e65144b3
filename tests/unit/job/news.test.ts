/** What EMX2 is told while a status goes on: progress, states it has no word for, and why a run still waits. */
import { describe, expect, test } from "bun:test";
import { decide } from "../../../src/job/decide.ts";
import type { Job, Report } from "../../../src/job/job.ts";
import {
  closedRun,
  doubt,
  ended,
  exited,
  leased,
  noFiles,
  observed,
  ok,
  play,
  policy,
  progressed,
  refused,
  reported,
  retry,
  row,
  type Step,
  startAt,
  succeeded,
  toTracked,
} from "./story.ts";

const minute = 60_000;
const queued = observed(row("PENDING", { reason: "Priority" }));
const running = observed(row("RUNNING", { node: "n1" }), leased);
const toQueue: Step[] = [...toTracked, reported, queued];
const toRun: Step[] = [...toTracked, reported, running, reported];

function nextReport(job: Job, now: number): Report | undefined {
  const effects = decide(job, { schedulerUp: true }, policy, now).start;
  const found = effects.find((effect) => effect.kind === "Report");
  return found?.kind === "Report" ? found.report : undefined;
}

/** Says whatever is due at `now`, and has EMX2 take it. */
function said(job: Job, now: number): Job {
  const report = nextReport(job, now);
  if (!report) throw new Error("there is nothing to say");
  return play([{ ...ended({ kind: "Report", report }, ok<"Report">({})), at: now }], job);
}

describe("a run that waits in the queue", () => {
  test("is reported once an interval, with its reason and the time waited since it was submitted", () => {
    const job = play(toQueue);
    const submittedAt = job.run.stage === "tracked" ? job.run.since : 0;
    const due = (job.said?.at ?? 0) + policy.queueReportIntervalMs;
    expect(nextReport(job, due - 1)).toBeUndefined();
    expect(decide(job, { schedulerUp: true }, policy, due - 1).wakeAt).toBe(due);
    const waited = `00:05:0${Math.floor((due - submittedAt) / 1000) % 60}`;
    expect(nextReport(job, due)).toEqual({
      status: "SUBMITTED",
      detail: `slurm_state=PENDING; reason=Priority; waited=${waited}`,
      state: "PENDING",
    });
    const after = said(job, due);
    expect(nextReport(after, due + policy.queueReportIntervalMs - 1)).toBeUndefined();
    expect(nextReport(after, due + policy.queueReportIntervalMs)?.detail).toContain("waited=00:10:0");
  });

  test("is not reported while the scheduler does not answer: nobody knows whether it waits still", () => {
    const decision = decide(play(toQueue), { schedulerUp: false }, policy, startAt + 60 * minute);
    expect(decision.start).toEqual([]);
    expect(nextReport(play(toQueue), startAt + 60 * minute)?.detail).toContain("waited=");
  });

  test("is reported at once, and once, when it waits for what can never clear", () => {
    const stuck = observed(row("PENDING", { reason: "PartitionTimeLimit" }));
    const job = play([stuck], play(toQueue));
    const now = (job.said?.at ?? 0) + 30_000;
    const seenStuck = play([{ ...stuck, at: now }], play(toQueue));
    const report = nextReport(seenStuck, now);
    expect(report?.detail).toMatch(
      /^slurm_state=PENDING; reason=PartitionTimeLimit; it can never start so: .*operator.*waited=/,
    );
    const after = said(seenStuck, now);
    expect(nextReport(after, now + policy.queueReportIntervalMs - 1)).toBeUndefined();
    expect(nextReport(play([{ ...queued, at: now + 1 }], after), now + 2)).toBeUndefined();
  });

  test("is not reported before EMX2 has heard that it was submitted, nor while that is in doubt", () => {
    const late = startAt + 3_600_000;
    const waiting = play([...toTracked, queued]);
    expect(nextReport(waiting, late)).toBe(waiting.outbox[0] as Report);
    const doubted = { ...play(toQueue), server: { status: "SUBMITTED", doubt: true } as const };
    expect(nextReport(doubted, late)).toBeUndefined();
  });

  test("marks what is made up", () => {
    const job: Job = { ...play(toQueue), backend: "simulate" };
    expect(nextReport(job, startAt + 3_600_000)?.detail).toStartWith("SIMULATED; slurm_state=PENDING");
  });
});

describe("a state that EMX2 has no word for", () => {
  const at = startAt + minute;
  test("is told when it comes and when it goes, once each", () => {
    const suspended = play([...toRun, observed(row("SUSPENDED", { node: "n1" }), leased)]);
    expect(nextReport(suspended, at)).toMatchObject({ status: "STARTED", state: "SUSPENDED" });
    expect(nextReport(suspended, at)?.detail).toStartWith("slurm_state=SUSPENDED; node=n1");
    const told = said(suspended, at);
    expect(nextReport(told, at + minute)).toBeUndefined();
    const resumed = play([running], told);
    expect(nextReport(resumed, at)?.detail).toBe("slurm_state=RUNNING; node=n1");
    expect(nextReport(said(resumed, at), at)).toBeUndefined();
  });

  test("PENDING in a look that is older than the sight of the start is no requeue", () => {
    const stale = { ...observed(row("PENDING", { reason: "Priority" }), leased), at: startAt + 30_000 };
    const job = play([...toTracked, reported, stale, reported]);
    expect(job.server.status).toBe("STARTED");
    expect(nextReport(job, at)).toBeUndefined();
  });

  test("REQUEUED and the wait after it are told under STARTED, which EMX2 can not take back", () => {
    const again = play([...toRun, observed(row("PENDING", { reason: "BeginTime" }), leased)]);
    expect(nextReport(again, at)).toMatchObject({ status: "STARTED", state: "PENDING" });
    expect(nextReport(again, at)?.detail).toMatch(
      /^slurm_state=PENDING; reason=BeginTime; waited=00:0.*; requeued: Slurm runs it again$/,
    );
  });

  test.each(["CONFIGURING", "COMPLETING", "UNKNOWN"] as const)("%s is on its way to one, and is not told", (state) => {
    expect(nextReport(play([...toRun, observed(row(state), leased)]), at)).toBeUndefined();
  });
});

describe("progress", () => {
  const at = startAt + minute;
  const half = { phase: "align", message: "step 2", fraction: 0.5 };
  const full = { fraction: 1 };

  test("is reported when it is new, and only the newest", () => {
    const job = play([...toRun, progressed({ fraction: 0.1 }), progressed(half)]);
    expect(nextReport(job, at)).toEqual({
      status: "STARTED",
      detail: "slurm_state=RUNNING; node=n1; phase=align; progress=0.5; message=step 2",
      state: "RUNNING",
      progress: half,
    });
    const told = said(job, at);
    expect(nextReport(told, at)).toBeUndefined();
    expect(play([progressed(half)], told)).toBe(told);
    expect(nextReport(play([progressed(full)], told), at)?.progress).toEqual(full);
  });

  test("waits until EMX2 knows that the job has started", () => {
    const job = play([...toTracked, reported, running, progressed(half)]);
    expect(nextReport(job, at)).toMatchObject({ status: "STARTED", state: "RUNNING" });
    expect(nextReport(job, at)?.progress).toBeUndefined();
  });

  test("that came with the end is still told while outputs are on their way, and not after the end was told", () => {
    const over = play([...toRun, progressed(full), observed(row("COMPLETED"), exited(0)), closedRun(succeeded)]);
    expect(nextReport(over, at)).toMatchObject({ status: "STARTED", progress: full });
    const ended = play([noFiles("log"), noFiles("output")], over);
    expect(nextReport(ended, at)?.status).toBe("COMPLETED");
  });

  test("that EMX2 will not have is dropped, a conflict is looked into, an outage is waited out", () => {
    const job = play([...toRun, progressed(half)]);
    const report = nextReport(job, at) as Report;
    const answered = (result: Parameters<typeof ended<"Report">>[1]) =>
      play([ended({ kind: "Report", report }, result)], job);
    expect(nextReport(answered(refused("no", 400)), at + minute)).toBeUndefined();
    expect(answered(refused("no", 400)).server.doubt).toBe(false);
    expect(answered(refused("conflict", 409)).server.doubt).toBe(true);
    expect(nextReport(answered(retry), at + minute)).toEqual(report);
    expect(nextReport(answered(doubt), at + minute)).toEqual(report);
  });
});
