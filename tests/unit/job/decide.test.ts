import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Decision, decide } from "../../../src/job/decide.ts";
import { laneOf } from "../../../src/job/effect.ts";
import { fold } from "../../../src/job/fold.ts";
import { type Job, lanes } from "../../../src/job/job.ts";
import { outcomeNeverSubmitted } from "../../../src/job/run.ts";
import { anything } from "./chaos.ts";
import {
  began,
  claimedOk,
  closedRun,
  doubt,
  ended,
  exited,
  known,
  leased,
  noFiles,
  observed,
  offered,
  ok,
  play,
  policy,
  ref,
  refused,
  reportAnswer,
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
  tracked,
  unlisted,
  uploaded,
  written,
} from "./story.ts";

const up = { schedulerUp: true };
const later = startAt + 1_000_000;
const cancel = saw({ status: "CANCELLED" });
const running = observed(row("RUNNING"), leased);
const toEnd: Step[] = [...toTracked, reported, running, reported, closedRun(succeeded)];
const putting = uploaded("log").slice(0, 2);
const lostSubmit: Step[] = [
  ...[offered, ...claimedOk, ...staged, written, submitting],
  ended({ kind: "Submit", ref }, doubt),
];

function decided(steps: readonly Step[], now = later, health = up): Decision {
  return decide(play(steps), health, policy, now);
}

function kinds({ start }: Decision): string {
  return start.map((effect) => ("role" in effect ? `${effect.kind} ${effect.role}` : effect.kind)).join(", ");
}

describe("decide", () => {
  test.each<[string, Step[], string]>([
    ["offered", [offered], "ClaimJob"],
    ["being claimed", [offered, began({ kind: "ClaimJob" })], ""],
    ["claimed in doubt", [offered, began({ kind: "ClaimJob" }), ended({ kind: "ClaimJob" }, doubt)], "ReadJob"],
    ["ours", [offered, ...claimedOk], "ListInputs"],
    ["with inputs to fetch", [offered, ...claimedOk, ...staged.slice(0, 1)], "StageFiles"],
    ["with all inputs there", [offered, ...claimedOk, ...staged], "WriteScript"],
    ["written", [offered, ...claimedOk, ...staged, written], "Submit"],
    ["being submitted", [offered, ...claimedOk, ...staged, written, submitting], ""],
    ["submitted in doubt", lostSubmit, "FindRun"],
    ["submitted", toTracked, "Report"],
    ["submitted, which is known", [...toTracked, reported], ""],
    ["doubted by EMX2", [...toTracked, reportAnswer(refused("no", 409))], "ReadJob"],
    ["running", [...toTracked, reported, running, reported], ""],
    [
      "ended, by receipt",
      [...toTracked, reported, running, reported, observed(row("COMPLETED"), exited(0))],
      "CloseRun",
    ],
    ["closed as a run", toEnd, "SealFiles log"],
    ["with logs sealed", [...toEnd, ...uploaded("log").slice(0, 1)], "CreateArtifact log"],
    ["with a log artifact", [...toEnd, ...putting], "PutFiles log"],
    ["with logs put", [...toEnd, ...uploaded("log").slice(0, 3)], "Commit log"],
    ["with logs committed", [...toEnd, ...uploaded("log")], "SealFiles output"],
    ["without logs", [...toEnd, noFiles("log")], "SealFiles output"],
    ["with logs refused", [...toEnd, ended({ kind: "SealFiles", role: "log" }, refused("x"))], "SealFiles output"],
    ["with everything committed", [...toEnd, ...uploaded("log"), ...uploaded("output")], "Report"],
    ["closed", [...toEnd, noFiles("log"), noFiles("output"), reported], ""],
    ["cancelled while running", [...toTracked, reported, running, reported, cancel], "CancelRun"],
    [
      "cancelled, its workload having ended",
      [...toTracked, reported, observed(row("RUNNING"), exited(0), later), reported, cancel],
      "",
    ],
    [
      "cancelled, its workload having said long ago that it ended",
      [...toTracked, reported, observed(row("RUNNING"), exited(0), later - 60_000), reported, cancel],
      "CancelRun",
    ],
    ["cancelled before it was submitted", [offered, ...claimedOk, ...staged, written, cancel], ""],
    ["deleted while running", [...toTracked, running, saw(null)], "CancelRun"],
  ])("of a job %s: %s", (_, steps, expected) => {
    const decision = decided(steps);
    expect(kinds(decision)).toBe(expected);
  });

  test("reports while it uploads, and stages while it reports nothing", () => {
    expect(kinds(decided([...toTracked, closedRun(succeeded)]))).toBe("SealFiles log, Report");
  });

  test("a wait that was written by a clock far ahead is over", () => {
    const steps = [offered, ...claimedOk, ended({ kind: "ListInputs" }, retry, later + 86_400_000)];
    expect(kinds(decided(steps))).toBe("ListInputs");
  });

  test("outputs wait for the logs, each of their steps", () => {
    for (const done of [0, 1, 2, 3])
      expect(kinds(decided([...toEnd, ...uploaded("log").slice(0, done)]))).not.toContain("output");
  });

  test("outputs do not wait for logs that fail over and over", () => {
    const failing = ended({ kind: "SealFiles", role: "log" }, retry, later + 5_000);
    const after = (failures: number) => kinds(decided([...toEnd, ...Array.from({ length: failures }, () => failing)]));
    expect([after(2), after(3)]).toEqual(["", "SealFiles output"]);
  });

  test("a lane that waits starts nothing until its time, and says why and when", () => {
    const steps = [offered, ...claimedOk, ended({ kind: "ListInputs" }, retry, later + 5_000)];
    const waiting = decided(steps);
    expect(waiting).toEqual({ start: [], abort: [], wakeAt: later + 5_000, why: "listing inputs; not now" });
    expect(kinds(decided(steps, later + 5_000))).toBe("ListInputs");
  });

  test("nothing is asked of a scheduler that does not answer", () => {
    const down = { schedulerUp: false };
    const asking = [[...toTracked, reported, running, reported, cancel], lostSubmit, lostSubmit.slice(0, -2)];
    for (const steps of asking)
      expect(decided(steps, later, down)).toMatchObject({ start: [], why: "the scheduler does not answer" });
    expect(kinds(decided(toTracked, later, down))).toBe("Report");
  });

  test("a stop aborts what has lost its purpose: of a cancelled job not its logs and reports", () => {
    expect(decided([...toTracked, cancel]).abort).toEqual(["inputs", "outputs"]);
    expect(decided([...toTracked, saw(null)]).abort).toEqual(["inputs", "logs", "outputs", "report"]);
    expect(decided(toTracked).abort).toEqual([]);
  });

  test("the end of a run that goes on is asked for again and again", () => {
    const asked = (until: number) => ended({ kind: "CancelRun", ref: tracked }, ok<"CancelRun">({}), until);
    const steps = [...toTracked, reported, running, reported, cancel, asked(later + 30_000)];
    expect(decided(steps)).toMatchObject({ start: [], wakeAt: later + 30_000 });
    expect(kinds(decided(steps, later + 30_000))).toBe("CancelRun");
  });

  test("a run's end, once seen, does not wait for the next scancel", () => {
    const asked = ended({ kind: "CancelRun", ref: tracked }, ok<"CancelRun">({}), later + 30_000);
    const steps = [
      ...toTracked,
      reported,
      running,
      reported,
      cancel,
      asked,
      observed(row("CANCELLED"), exited(143, { signal: "TERM" })),
    ];
    expect(kinds(decided(steps))).toBe("CloseRun");
  });
});

describe("while accounting does not answer, a run that has left the queue", () => {
  const seenRunning = [...toTracked, reported, running, reported];

  test("has ended by its exit receipt", () => {
    const { start } = decided([...seenRunning, unlisted(exited(3))]);
    expect(start).toMatchObject([{ kind: "CloseRun", outcome: { result: "failed", exitCode: 3, proof: "receipt" } }]);
  });

  test.each([
    ["without a receipt", leased],
    ["whose receipt tells of a signal", exited(143, { signal: "TERM" })],
  ])("waits %s", (_, receipts) => {
    const steps = [...seenRunning, unlisted(receipts)];
    expect(decided(steps).start).toEqual([]);
    expect(play(steps).run).not.toHaveProperty("absentSince");
  });

  test("is no more lost and no less than before", () => {
    const absent = play([...seenRunning, observed(null, leased)]);
    expect(play([unlisted(leased)], absent).run).toMatchObject({ absentSince: expect.any(Number) });
  });
});

describe("a submission in doubt", () => {
  const intentAt = (play(lostSubmit).run as { intentAt: number }).intentAt;
  const fence = intentAt + policy.fenceMs;
  const absentAt = (at: number): Step => ({
    ...ended({ kind: "FindRun", ref }, ok<"FindRun">({ schedulerId: null, askedAt: at })),
    at,
  });

  test("is repeated only once an absence was seen after the fence", () => {
    expect(kinds(decided([...lostSubmit, absentAt(fence - 1)], fence - 1))).toBe("FindRun");
    expect(kinds(decided([...lostSubmit, absentAt(fence - 1)], fence + 1_000_000))).toBe("FindRun");
    expect(kinds(decided([...lostSubmit, absentAt(fence)], fence))).toBe("Submit");
  });

  test("counts its fence from when the doubt arose, whatever the clock was set to since the intent", () => {
    const nextLife = intentAt + 86_400_000;
    const recovered: Step = { ...ended({ kind: "Submit", ref }, doubt), at: nextLife };
    const steps = [...toTracked.slice(0, -1), recovered];
    const absent = (at: number) => decided([...steps, absentAt(at)], at);
    expect(kinds(absent(nextLife + policy.fenceMs - 1))).toBe("FindRun");
    expect(kinds(absent(nextLife + policy.fenceMs))).toBe("Submit");
  });

  test("is repeated with the same attempt", () => {
    expect(decided([...lostSubmit, absentAt(fence)], fence).start).toEqual([{ kind: "Submit", ref }]);
  });

  test("of a job cancelled meanwhile is looked for until the fence, and then never repeated", () => {
    expect(kinds(decided([...lostSubmit, cancel], fence))).toBe("FindRun");
    const { start } = decided([...lostSubmit, cancel, absentAt(fence)], fence);
    expect(start).toMatchObject([{ kind: "CloseRun", outcome: { state: "NEVER_SUBMITTED", result: "cancelled" } }]);
  });

  test("still is when the second one could not be sent, so that a stop takes its lease away", () => {
    const again = { ...began({ kind: "Submit", ref }), at: fence + 2_000 };
    const no = { ...retry, answered: true } as const;
    const busy = { ...ended({ kind: "Submit", ref }, no, fence + 3_000), at: fence + 2_000 };
    const steps = [...lostSubmit, absentAt(fence + 1_000), again, busy];
    expect(kinds(decided(steps, fence + 4_000))).toBe("Submit");
    expect(kinds(decided([...steps, cancel], fence + 4_000))).toBe("CloseRun");
  });

  test("is looked for once more where the scheduler was silent to the second: the first may have come back with it", () => {
    const again = { ...began({ kind: "Submit", ref }), at: fence + 2_000 };
    const silent = { ...ended({ kind: "Submit", ref }, retry, fence + 3_000), at: fence + 2_000 };
    const steps = [...lostSubmit, absentAt(fence + 1_000), again, silent];
    expect(kinds(decided(steps, fence + 4_000))).toBe("FindRun");
    expect(kinds(decided([...steps, absentAt(fence + 4_000)], fence + 4_000))).toBe("Submit");
  });

  test("that turns up when its job is to be closed is looked for again", () => {
    const outcome = outcomeNeverSubmitted("cancelled", "asked for");
    const held = { ...ended({ kind: "CloseRun", ref, outcome }, doubt), at: fence };
    expect(kinds(decided([...lostSubmit, cancel, absentAt(fence), held], fence + 60_000))).toBe("FindRun");
  });
});

describe("the job directory", () => {
  const closed = play([...toEnd, noFiles("log"), noFiles("output"), reported]);
  const due = (closed.closed?.at ?? 0) + (policy.keepJobDirsMs ?? 0);

  test("is removed when its time is over, and not before", () => {
    expect(decide(closed, up, policy, due - 1)).toMatchObject({ start: [], wakeAt: due });
    expect(decide(closed, up, policy, due).start).toEqual([{ kind: "RemoveDir" }]);
  });

  test("stays where its outputs are not at EMX2", () => {
    const notTaken = ended({ kind: "SealFiles", role: "output" }, refused("EMX2 does not take it"));
    const failed = play([...toEnd, noFiles("log"), notTaken, reported]);
    expect(failed.closed).toBeDefined();
    expect(decide(failed, up, policy, due + 1_000_000)).toMatchObject({ start: [], abort: [] });
  });

  test("is removed at once where the operator asks for it, but not what EMX2 has not got, nor before the end", () => {
    const asked = { kind: "CleanAsked", at: due - 5, by: "the operator" } as const;
    const never = { ...policy, keepJobDirsMs: null };
    expect(decide(play([asked], closed), up, never, due - 4).start).toEqual([{ kind: "RemoveDir" }]);
    const notTaken = ended({ kind: "SealFiles", role: "output" }, refused("EMX2 does not take it"));
    for (const steps of [[noFiles("log"), notTaken, reported], [noFiles("log")]]) {
      const job = play([...toEnd, ...steps]);
      expect(play([asked], job)).toBe(job);
    }
  });

  test("is never removed where the operator keeps it, nor twice, nor of a job that was never ours", () => {
    expect(decide(closed, up, { ...policy, keepJobDirsMs: null }, due)).toMatchObject({ start: [], abort: [] });
    const cleaned = play([ended({ kind: "RemoveDir" }, ok<"RemoveDir">({}))], closed);
    expect(decide(cleaned, up, policy, due).start).toEqual([]);
    const notOurs = play([offered, began({ kind: "ClaimJob" }), ended({ kind: "ClaimJob" }, refused("taken", 409))]);
    const refusedJob = play([ended({ kind: "ReadJob" }, ok<"ReadJob">({ job: null }))], notOurs);
    expect(decide(refusedJob, up, policy, due).start).toEqual([]);
  });
});

describe("whatever has happened to a job", () => {
  test("each lane gets one effect at most, none while it waits, none of the scheduler while it is down", () => {
    fc.assert(
      fc.property(anything, fc.boolean(), fc.nat({ max: 100 }), (steps, schedulerUp, minutes) => {
        const job = play(steps);
        const now = startAt + minutes * 600_000;
        const { start, wakeAt } = decide(job, { schedulerUp }, policy, now);
        const used = start.map(laneOf);
        expect(new Set(used).size).toBe(used.length);
        for (const lane of used) expect(job.waits[lane]?.until ?? 0).toBeLessThanOrEqual(now);
        if (wakeAt !== undefined) expect(wakeAt).toBeGreaterThan(now);
        expect(lanes).toEqual(expect.arrayContaining(used));
        const ofScheduler = ["Submit", "FindRun", "CancelRun", "CloseRun"];
        if (!schedulerUp) expect(start.filter(({ kind }) => ofScheduler.includes(kind))).toEqual([]);
        if (job.closed) expect(start.every(({ kind }) => kind === "RemoveDir")).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test("a submission is repeated only after its fence, and never for a job that is to stop", () => {
    fc.assert(
      fc.property(anything, fc.nat({ max: 300_000 }), (steps, afterMs) => {
        const job = play(steps);
        const now = startAt + afterMs;
        const submits = decide(job, up, policy, now).start.some(({ kind }) => kind === "Submit");
        if (!submits) return;
        expect(job.stop).toBeUndefined();
        if (job.run.stage === "submitting")
          expect(job.run.absentAt).toBeGreaterThanOrEqual(job.run.intentAt + policy.fenceMs);
        else expect(job.run.stage).toBe("written");
      }),
      { numRuns: 1_000 },
    );
  });

  test("once the world behaves, the job comes to its close", () => {
    fc.assert(
      fc.property(anything, (steps) => {
        expect(behave(play(steps)).closed).toBeDefined();
      }),
      { numRuns: 1_000 },
    );
  });
});

/** Lets everything go well from here on, a minute a round, as the engine would: one effect a lane, polls between. */
function behave(from: Job): Job {
  let job = from;
  const happens = (event: Parameters<typeof fold>[1]) => {
    job = known(fold(job, event));
  };
  for (let minute = 0; minute < 600 && !job.closed; minute += 1) {
    const now = startAt + 100_000_000 + minute * 60_000;
    for (let turn = 0; turn < 8; turn += 1) {
      for (const effect of decide(job, up, policy, now).start) {
        if (effect.kind === "ClaimJob" || effect.kind === "Submit") happens({ ...began(effect), at: now });
        happens(wellDone(job, effect, now));
      }
    }
    happens({ ...observed(row("CANCELLED", { source: "sacct" }), leased), at: now });
    // What was on the way when the walk broke off comes back in doubt, as after a restart.
    if (job.claim.stage === "claiming" && !job.claim.doubt) happens({ ...ended({ kind: "ClaimJob" }, doubt), at: now });
    if (job.run.stage === "submitting" && !job.run.doubt)
      happens({ ...ended({ kind: "Submit", ref }, doubt), at: now });
  }
  return job;
}

function wellDone(job: Job, effect: Decision["start"][number], at: number): Parameters<typeof fold>[1] {
  const status = job.claim.stage === "ours" ? job.server.status : "CLAIMED";
  const serverJob = { ...seen({ status }), parametersText: "{}" };
  const values: Record<string, object> = {
    ClaimJob: { job: serverJob },
    ReadJob: { job: serverJob },
    ListInputs: { total: 1, bytes: 1 },
    WriteScript: { parametersHash: "ab", ref },
    Submit: { schedulerId: "7" },
    FindRun: { schedulerId: null, askedAt: at },
    CloseRun: { stderrTail: [] },
    SealFiles: { total: 1, bytes: 1, sha256: "cd" },
    StageFiles: { files: 1, bytes: 1 },
    CreateArtifact: { artifactId: "new" },
    PutFiles: { files: 1, bytes: 1 },
  };
  const value = values[effect.kind] ?? {};
  return { kind: "Ended", at, effect, result: { is: "ok", value } } as Parameters<typeof fold>[1];
}
