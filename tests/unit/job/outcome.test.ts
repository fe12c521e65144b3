/**
 * The evidence table, cell by cell. Down: what the scheduler shows. Across: what lies in the job directory. Each cell is
 * reached through `fold`, as a poll would reach it.
 *
 *   S F C    ends at once: succeeded, failed, cancelled     ~S ~F ~C    waits for its grace, then so
 *   .        waits, however long                            -           can not be
 */
import { describe, expect, test } from "bun:test";
import type { Stop } from "../../../src/job/job.ts";
import { judge, outputDirectory } from "../../../src/job/outcome.ts";
import type { Outcome, Receipts, SchedulerRow, SlurmState } from "../../../src/job/run.ts";
import { graces, outcomeIn, runOf, term } from "./looks.ts";
import { exited, exitOf, leased, row, startAt, unleased } from "./story.ts";

const cancelledThere: Stop = { by: "server-cancelled", at: startAt, detail: "cancelled at EMX2" };
const seal = { exit: 0, manifestSha256: "ab" };

const receiptsNamed: Record<string, Receipts> = {
  gone: { ...unleased, directory: false },
  none: unleased,
  lease: leased,
  stop: { ...leased, stop: { signal: "TERM", at: 2 } },
  exit0: exited(0),
  exit3: exited(3),
  "0+TERM": exited(0, term),
  "143+TERM": exited(143, term),
  oom137: exited(137, { oomKill: 1 }),
  oom0: exited(0, { oomKill: 1 }),
  guess0: exited(0, { how: "wrapper-killed" }),
  done0: { ...exited(0), done: seal },
  done3: { ...exited(3), done: seal },
  "d0+TERM": { ...exited(0, term), done: seal },
};

const whileWanted = `
              gone  none  lease  stop  exit0  exit3  0+TERM  143+TERM  oom137  oom0  guess0  done0  done3  d0+TERM
PENDING       .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
CONFIGURING   .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
REQUEUED      .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
REQUEUE_HOLD  .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
SPECIAL_EXIT  .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
RUNNING       .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
SIGNALING     .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
SUSPENDED     .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
STOPPED       .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
RESIZING      .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
STAGE_OUT     .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
COMPLETING    .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
REVOKED       .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
UNKNOWN       .     .     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
absent        ~F    ~F    ~F     ~F    S      F      ~F      ~F        F       F     F       S      F      ~F
twin          -     -     .      .     ~S     ~F     ~F      ~F        ~F      ~F    ~F      S      F      ~F
COMPLETED     ~F    ~F    ~S     ~S    S      F      S       F         F       F     F       S      F      S
FAILED        ~F    ~F    ~F     ~F    S      F      F       F         F       F     F       S      F      F
TIMEOUT       ~F    ~F    ~F     ~F    S      F      F       F         F       F     F       S      F      F
OUT_OF_MEMORY ~F    ~F    ~F     ~F    F      F      F       F         F       F     F       F      F      F
CANCELLED     ~C    C     ~C     ~C    S      C      C       C         C       C     C       S      C      C
NODE_FAIL     ~F    ~F    ~F     ~F    S      F      F       F         F       F     F       S      F      F
BOOT_FAIL     ~F    ~F    ~F     ~F    S      F      F       F         F       F     F       S      F      F
DEADLINE      ~F    ~F    ~F     ~F    S      F      F       F         F       F     F       S      F      F
PREEMPTED     ~F    ~F    ~F     ~F    S      F      F       F         F       F     F       S      F      F`;

const whileStopping = `
              gone  none  lease  stop  exit0  exit3  0+TERM  143+TERM  oom137  oom0  guess0  done0  done3  d0+TERM
PENDING       .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
CONFIGURING   .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
REQUEUED      .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
REQUEUE_HOLD  .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
SPECIAL_EXIT  .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
RUNNING       .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
SIGNALING     .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
SUSPENDED     .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
STOPPED       .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
RESIZING      .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
STAGE_OUT     .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
COMPLETING    .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
REVOKED       .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
UNKNOWN       .     .     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
absent        ~C    ~C    ~C     ~C    S      F      C       C         F       F     F       S      F      C
twin          -     -     .      .     ~S     ~F     ~C      ~C        ~F      ~F    ~F      S      F      ~C
COMPLETED     ~F    ~F    ~S     ~S    S      F      S       C         F       F     F       S      F      S
FAILED        ~F    ~F    ~F     ~F    S      F      C       C         F       F     F       S      F      C
TIMEOUT       ~F    ~F    ~F     ~F    S      F      C       C         F       F     F       S      F      C
OUT_OF_MEMORY ~F    ~F    ~F     ~F    F      F      C       C         F       F     F       F      F      C
CANCELLED     ~C    C     ~C     ~C    S      C      C       C         C       C     C       S      C      C
NODE_FAIL     ~F    ~F    ~F     ~F    S      F      C       C         F       F     F       S      F      C
BOOT_FAIL     ~F    ~F    ~F     ~F    S      F      C       C         F       F     F       S      F      C
DEADLINE      ~F    ~F    ~F     ~F    S      F      C       C         F       F     F       S      F      C
PREEMPTED     ~F    ~F    ~F     ~F    S      F      C       C         F       F     F       S      F      C`;

const resultOf: Record<string, Outcome["result"]> = { S: "succeeded", F: "failed", C: "cancelled" };

describe.each([
  ["wanted", false, whileWanted],
  ["stopping", true, whileStopping],
] as const)("the evidence table of a run that is %s", (_, stopping, table) => {
  test.each(cellsOf(table))("%s with %s: %s", (shown, receiptsName, expected) => {
    const receipts = receiptsNamed[receiptsName] ?? unleased;
    const graceMs = graceOf(shown, receipts, stopping);
    const verdictAfter = (ms: number) => {
      const look = rowNamed(shown);
      return judge(
        runOf([look, receipts, startAt], [look, receipts, startAt + ms]),
        graces,
        stopping ? cancelledThere : undefined,
      );
    };
    const late = 1_000 * graces.lostMs;
    if (expected === ".") return expect(verdictAfter(late).is).toBe("waiting");
    if (expected.startsWith("~")) expect(verdictAfter(graceMs - 1).is).toBe("waiting");
    const verdict = verdictAfter(expected.startsWith("~") ? graceMs : 0);
    expect(outcomeIn(verdict)).toMatchObject({
      result: resultOf[expected.replace("~", "")],
      proof: receipts.exit ? "receipt" : rowNamed(shown) ? "squeue" : "none",
    });
  });
});

describe("judge", () => {
  test("what is known of its image's start and of kills for memory goes with a run's end", () => {
    const of = (unstarted?: boolean) =>
      outcomeIn(
        judge(runOf([row("FAILED"), exited(255, unstarted === undefined ? {} : { unstarted }), startAt]), graces),
      );
    const killed = (oomKill: number | null) =>
      outcomeIn(judge(runOf([row("FAILED"), exited(137, { oomKill }), startAt]), graces)).noOomKill;
    expect([killed(0), killed(null), killed(1)]).toEqual([true, undefined, undefined]);
    expect([of(false).startable, of(true).startable, of().startable]).toEqual([true, undefined, undefined]);
  });

  test("an end that was shown stands, with its reason, although the scheduler has forgotten the run since", () => {
    const run = runOf(
      [row("TIMEOUT", { elapsed: "01:00" }), leased, startAt],
      [null, leased, startAt + graces.receiptMs],
    );
    expect(outcomeIn(judge(run, graces))).toMatchObject({
      result: "failed",
      state: "TIMEOUT",
      elapsed: "01:00",
    });
  });

  test("a receipt that comes after the scheduler has forgotten the run is still qualified by the end that it showed", () => {
    const run = runOf([row("TIMEOUT"), leased, startAt], [null, exited(143, term), startAt + 5]);
    expect(outcomeIn(judge(run, graces))).toMatchObject({ proof: "receipt", state: "TIMEOUT", exitCode: 143 });
  });

  test("a signal whose reason Slurm tells is no cause of its own", () => {
    const run = runOf([row("TIMEOUT"), exited(143, term), startAt]);
    expect(outcomeIn(judge(run, graces)).cause).toBeUndefined();
    expect(outcomeIn(judge(runOf([row("FAILED"), exited(143, term), startAt]), graces)).cause).toContain("TERM");
  });

  test("an exit receipt of a run that Slurm may requeue says nothing about the run that is in the queue again", () => {
    const day = 86_400_000;
    const run = runOf([row("PENDING"), exited(143, term), startAt], [row("PENDING"), exited(143, term), startAt + day]);
    expect(judge(run, { ...graces, mayRequeue: true })).toEqual({ is: "waiting", why: "PENDING" });
    expect(outcomeIn(judge(run, graces))).toMatchObject({ result: "failed", exitCode: 143 });
  });

  test("a run that leaves no receipts ends by the scheduler's word alone", () => {
    const { ref, ...run } = runOf(
      [row("COMPLETED"), unleased, startAt],
      [row("COMPLETED"), unleased, startAt + 60_000],
    );
    const foreign = { ...run, ref: { ...ref, unreceipted: true as const } };
    expect(outcomeIn(judge(foreign, graces))).toMatchObject({ result: "succeeded", proof: "squeue" });
  });

  test("a run that ended well waits a moment for its seal to be seen, where there is to be one", () => {
    const sealing = { ...graces, seals: true };
    for (const shown of [row("COMPLETED"), null]) {
      const look = (ms: number, receipts = exited(0)) => [shown, receipts, startAt + ms] as const;
      expect(judge(runOf(look(0), look(graces.receiptMs - 1)), sealing).is).toBe("waiting");
      const late = outcomeIn(judge(runOf(look(0), look(5, { ...exited(0), done: seal })), sealing));
      expect(late).toMatchObject({ result: "succeeded", manifestSha256: "ab" });
      const given = outcomeIn(
        judge(runOf(look(0, { ...exited(0), done: { exit: 0, manifestSha256: null } })), sealing),
      );
      expect([given.result, given.manifestSha256]).toEqual(["succeeded", undefined]);
      const never = outcomeIn(judge(runOf(look(0), look(graces.receiptMs)), sealing));
      expect([never.result, never.manifestSha256]).toEqual(["succeeded", undefined]);
    }
    expect(judge(runOf([row("FAILED"), exited(3), startAt]), sealing).is).toBe("ended");
    expect(judge(runOf([row("TIMEOUT"), exited(0, term), startAt]), sealing).is).toBe("ended");
  });

  test("a run that came back after an end (requeued) is waited for anew", () => {
    const run = runOf([row("NODE_FAIL"), leased, startAt], [row("PENDING"), leased, startAt + 5]);
    expect(judge(run, graces)).toEqual({ is: "waiting", why: "PENDING" });
    expect(run.endedSince).toBeUndefined();
  });

  test("no grace ends without a look after it, so that hours without a daemon or a scheduler end no run", () => {
    const absentOnce = runOf([null, leased, startAt]);
    expect(judge(absentOnce, graces).is).toBe("waiting");
    expect(judge(absentOnce, graces, cancelledThere).is).toBe("waiting");
  });

  test("an absence that is broken by a row begins again", () => {
    const run = runOf(
      [null, leased, startAt],
      [row("RUNNING"), leased, startAt + 1],
      [null, leased, startAt + graces.lostMs],
    );
    expect(judge(run, graces).is).toBe("waiting");
  });

  test("nothing is concluded before the first look", () => {
    expect(judge(runOf(), graces, cancelledThere)).toEqual({
      is: "waiting",
      why: "the scheduler has not shown it yet",
    });
  });

  test("the lease names the run: a twin's row says nothing, and the lease's id is the one to ask for", () => {
    const run = runOf([row("FAILED", { schedulerId: "8", exitCode: 93 }), leased, startAt]);
    expect(run.ref.schedulerId).toBe("7");
    expect(judge(run, graces).is).toBe("waiting");
  });

  test("a scancel by hand is CANCELLED, with the uid where Slurm tells it", () => {
    const by = (over: Partial<SchedulerRow>) =>
      outcomeIn(judge(runOf([row("CANCELLED", over), exited(143, term), startAt]), graces)).cause;
    expect(by({ cancelledBy: 0 })).toBe("cancelled with scancel by uid 0");
    expect(by({})).toBe("cancelled with scancel");
  });

  test("a run that was cancelled on its node may have left a receipt that is not visible yet", () => {
    const run = runOf([row("CANCELLED", { node: "n1" }), unleased, startAt]);
    expect(judge(run, graces).is).toBe("waiting");
  });

  test("without a receipt Slurm's exit code, signal, reason and time stand", () => {
    const shown = row("OUT_OF_MEMORY", {
      exitCode: 0,
      signal: 125,
      reason: "OutOfMemory",
      node: "n2",
      elapsed: "45:12",
    });
    const run = runOf([shown, leased, startAt], [shown, leased, startAt + graces.receiptMs]);
    expect(outcomeIn(judge(run, graces))).toEqual({
      ...{ result: "failed", proof: "squeue", state: "OUT_OF_MEMORY", exitCode: 0, signal: 125 },
      ...{ reason: "OutOfMemory", node: "n2", elapsed: "45:12", outputDir: "output" },
    });
  });

  test("COMPLETED without a trace of the run is a failure that names what is missing", () => {
    const causeWith = (receipts: Receipts) => {
      const looks = [startAt, startAt + graces.receiptMs].map((at) => [row("COMPLETED"), receipts, at] as const);
      return outcomeIn(judge(runOf(...looks), graces)).cause;
    };
    expect(causeWith({ ...unleased, directory: false })).toContain("the job directory is missing");
    expect(causeWith(unleased)).toContain("the run's lease is missing");
  });

  test("a run that failed without a lease has not begun, and one that Slurm ran again has not begun again", () => {
    const failure = row("FAILED", { exitCode: 1 });
    const unbegun = (receipts: Receipts, ...before: (readonly [SchedulerRow, Receipts, number])[]) => {
      const looks = [startAt + 10, startAt + 10 + graces.receiptMs].map((at) => [failure, receipts, at] as const);
      return outcomeIn(judge(runOf(...before, ...looks), { ...graces, mayRequeue: true })).unbegun;
    };
    expect(unbegun(unleased)).toBe(true);
    expect(unbegun(leased, [row("REQUEUED"), leased, startAt], [row("PENDING"), leased, startAt + 5])).toBe(true);
    expect(unbegun(leased)).toBeUndefined();
    expect(unbegun({ ...unleased, directory: false })).toBeUndefined();
  });

  test("what Slurm never named is called what the receipt shows", () => {
    const stateOf = (receipts: Receipts) => outcomeIn(judge(runOf([null, receipts, startAt]), graces)).state;
    expect([exited(0), exited(3), exited(0, { oomKill: 2 })].map(stateOf)).toEqual([
      "COMPLETED",
      "FAILED",
      "OUT_OF_MEMORY",
    ]);
  });

  test("a live row's time, age and reason are no facts about the end", () => {
    const live = row("RUNNING", { elapsed: "9:59", reason: "Priority", node: "n1" });
    const run = runOf([live, leased, startAt], [null, exited(3), startAt + 1]);
    const outcome = outcomeIn(judge(run, graces));
    expect(outcome.elapsed).toBe("00:00:01");
    expect(outcome.reason).toBeUndefined();
  });

  test("an exit code that is a guess is not told as one that is known", () => {
    const guess = { ...leased, exit: exitOf(-1, { how: "wrapper-killed" }) };
    const outcome = outcomeIn(judge(runOf([row("FAILED"), guess, startAt]), graces));
    expect(outcome.exitCode).toBeUndefined();
    expect(outcome.cause).toContain("left no exit code");
  });

  test("later runs have an output directory of their own", () => {
    const receipts = { ...exited(0), restart: 2 };
    expect(outcomeIn(judge(runOf([row("COMPLETED"), receipts, startAt]), graces)).outputDir).toBe("output.a1.2");
    expect(outputDirectory("a1", 0)).toBe("output");
    expect(outputDirectory("a2", 0)).toBe("output.a2.0");
  });
});

function rowNamed(shown: string): SchedulerRow | null {
  if (shown === "absent") return null;
  if (shown === "twin") return row("FAILED", { schedulerId: "8" });
  return row(shown as SlurmState, shown === "UNKNOWN" ? { word: "MELTING" } : {});
}

function graceOf(shown: string, receipts: Receipts, stopping: boolean): number {
  if (receipts.exit) return shown === "absent" ? graces.receiptMs : graces.sealMs;
  if (shown !== "absent") return graces.receiptMs;
  return stopping ? graces.cancelledMs : graces.lostMs;
}

function cellsOf(table: string): [shown: string, receipts: string, expected: string][] {
  const [head = [], ...lines] = table
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  return lines
    .flatMap(([shown = "", ...cells]) =>
      cells.map((cell, at): [string, string, string] => [shown, head[at] ?? "", cell]),
    )
    .filter(([, , cell]) => cell !== "-");
}
