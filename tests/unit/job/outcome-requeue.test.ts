/** What is concluded of a run that Slurm starts again, and of accounting that lags behind the queue. */
import { describe, expect, test } from "bun:test";
import { diagnose } from "../../../src/job/diagnosis.ts";
import { judge } from "../../../src/job/outcome.ts";
import type { SchedulerRow, SlurmState } from "../../../src/job/run.ts";
import { graces, outcomeIn, runOf, term } from "./looks.ts";
import { exited, leased, play, row, startAt, toTracked, unleased } from "./story.ts";

describe("a run that Slurm has requeued", () => {
  const later = (shown: SlurmState, over: Partial<SchedulerRow> = {}) => row(shown, { submittedAt: 200, ...over });
  const before = row("RUNNING", { submittedAt: 100 });
  const oldRun = exited(143, term);
  const isWaiting = { is: "waiting" };

  test.each<[string, SchedulerRow]>([
    ["seen in the queue", later("PENDING")],
    ["seen by its submit time alone", later("RUNNING")],
  ])("(%s) is not closed by the receipt of the run before", (_, requeued) => {
    const looks = [[before, leased, startAt] as const, [requeued, oldRun, startAt + 5] as const];
    const dayAfter = startAt + 86_400_000;
    expect(judge(runOf(...looks, [later("RUNNING"), oldRun, dayAfter]), graces)).toMatchObject(isWaiting);
    const nodeFailed = later("FAILED", { exitCode: 0, signal: 53 });
    looks.push([nodeFailed, oldRun, dayAfter]);
    expect(judge(runOf(...looks), graces)).toMatchObject(isWaiting);
    looks.push([nodeFailed, oldRun, dayAfter + graces.receiptMs]);
    expect(outcomeIn(judge(runOf(...looks), graces))).toMatchObject({ proof: "squeue", exitCode: 0, signal: 53 });
  });

  test("that Slurm calls COMPLETED, without a lease of its own, has not succeeded", () => {
    const end = (at: number) => [later("COMPLETED"), exited(0), startAt + at] as const;
    const verdict = judge(runOf([before, leased, startAt], end(10), end(10 + graces.receiptMs)), graces);
    expect(outcomeIn(verdict)).toMatchObject({ result: "failed", cause: expect.stringContaining("lease") });
  });

  test("is closed by its own receipt, however the looks fell", () => {
    const own = { ...exited(0), restart: 1 };
    const started = { ...leased, restart: 1 };
    const end = [later("COMPLETED"), own, startAt + 10] as const;
    for (const between of [
      [],
      [[before, started, startAt + 5]],
      [[later("RUNNING"), leased, startAt + 5]],
      [[later("PENDING"), started, startAt + 5]],
      [
        [later("PENDING"), oldRun, startAt + 4],
        [later("RUNNING"), started, startAt + 5],
      ],
    ] as const) {
      const verdict = judge(runOf([before, leased, startAt], ...between, end), graces);
      expect(outcomeIn(verdict)).toMatchObject({ result: "succeeded", outputDir: "output.a1.1" });
    }
  });
});

describe("accounting, which lags behind the queue,", () => {
  const sacct = (shown: SlurmState, over: Partial<SchedulerRow> = {}) =>
    row(shown, { source: "sacct", submittedAt: 100, ...over });
  const running = row("RUNNING", { submittedAt: 100 });

  test("takes nothing back that the queue has shown: a late PENDING is no requeue", () => {
    const looks = [
      [running, leased, startAt],
      [sacct("PENDING"), exited(0), startAt + 5],
    ] as const;
    const end = [sacct("COMPLETED"), exited(0), startAt + 10] as const;
    expect(runOf(...looks).startsAfter).toBeUndefined();
    expect(outcomeIn(judge(runOf(...looks, end), graces)).result).toBe("succeeded");
    const requeued = runOf(
      [row("RUNNING", { submittedAt: 200 }), leased, startAt],
      [sacct("PENDING"), leased, startAt + 5],
    );
    expect(requeued.row).toMatchObject({ state: "RUNNING", submittedAt: 200 });
  });

  test("may call a run alive for ever that the controller has forgotten: that is absence, and ends as lost", () => {
    const look = (at: number) => [sacct("RUNNING"), leased, startAt + at] as const;
    expect(judge(runOf(look(0), look(graces.lostMs - 1)), graces).is).toBe("waiting");
    expect(outcomeIn(judge(runOf(look(0), look(graces.lostMs)), graces))).toMatchObject({ state: "LOST" });
  });
});

test("a receipt seen late is not taken for the newest run's, where Slurm has requeued more often than runs were seen", () => {
  const at = (submittedAt: number, shown: SlurmState) => row(shown, { submittedAt });
  const second = { ...exited(143, term), restart: 1 };
  const run = runOf(
    [at(100, "RUNNING"), leased, startAt],
    [at(200, "RUNNING"), leased, startAt + 5],
    [at(300, "RUNNING"), leased, startAt + 10],
    [at(300, "FAILED"), second, startAt + 15],
  );
  expect(judge(run, graces)).toMatchObject({ is: "waiting" });
});

test("where Slurm may requeue it, a receipt waits a moment for one of a later run", () => {
  const requeuing = { ...graces, mayRequeue: true };
  const look = (at: number) => [row("COMPLETED"), exited(0), startAt + at] as const;
  expect(judge(runOf(look(0)), requeuing).is).toBe("waiting");
  expect(outcomeIn(judge(runOf(look(0), look(graces.receiptMs)), requeuing)).result).toBe("succeeded");
});

test("a seal of the run before closes no run that is in the queue again, or runs", () => {
  const sealed = { ...exited(0), done: { exit: 0, manifestSha256: "ab" } };
  const requeuing = { ...graces, mayRequeue: true };
  for (const shown of ["PENDING", "RUNNING"] as const) {
    expect(judge(runOf([row(shown), sealed, startAt]), requeuing).is).toBe("waiting");
    expect(outcomeIn(judge(runOf([row(shown), sealed, startAt]), graces))).toMatchObject({ manifestSha256: "ab" });
  }
});

test("a run that a killed controller shows as PENDING again, with its old submit time, is no requeue", () => {
  const at = (shown: SlurmState, over: Partial<SchedulerRow> = {}) => row(shown, { submittedAt: 100, ...over });
  const refused = { ...leased, lost: ["7"] };
  const before = [at("RUNNING"), leased, startAt] as const;
  const again = [at("PENDING"), leased, startAt + 5] as const;
  expect(runOf(before, again).startsAfter).toBeUndefined();
  const well = runOf(before, [at("PENDING"), exited(0), startAt + 5], [at("FAILED"), exited(0), startAt + 10]);
  expect(outcomeIn(judge(well, graces)).result).toBe("succeeded");
  const end = (ms: number) => [at("FAILED", { exitCode: 93, signal: 0 }), refused, startAt + ms] as const;
  expect(outcomeIn(judge(runOf(before, again, end(10), end(10 + graces.receiptMs)), graces)).cause).toContain(
    "a second time",
  );
});

test("the warning of a time limit is no end: a program that ends well after it has succeeded", () => {
  const warned = exited(0, { signal: "USR1" });
  expect(outcomeIn(judge(runOf([null, warned, startAt]), graces)).result).toBe("succeeded");
});

test("a twin that was submitted later and took the lease has not been requeued", () => {
  const late = { ...leased, lease: "12" };
  const run = runOf(
    [row("PENDING", { submittedAt: 100 }), unleased, startAt],
    [row("PENDING", { submittedAt: 100 }), late, startAt + 5],
    [row("RUNNING", { schedulerId: "12", submittedAt: 200 }), late, startAt + 10],
    [row("COMPLETED", { schedulerId: "12", submittedAt: 200 }), { ...exited(0), lease: "12" }, startAt + 15],
  );
  expect(run.ref.schedulerId).toBe("12");
  expect(outcomeIn(judge(run, graces)).result).toBe("succeeded");
});

test("a run that a controller has ended and started again fails for that, and not for the lease's exit code", () => {
  const refused = { ...leased, lost: ["7"] };
  const end = (at: number) => [row("FAILED", { exitCode: 93, signal: 0 }), refused, startAt + at] as const;
  const outcome = outcomeIn(judge(runOf(end(0), end(graces.receiptMs)), graces));
  expect([outcome.result, outcome.exitCode]).toEqual(["failed", 93]);
  expect(outcome.cause).toContain("a second time");
  expect(diagnose(play(toTracked), outcome).who).toContain("operator");
});
