import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fold } from "../../../src/job/fold.ts";
import { isOwnTimeout, type Job } from "../../../src/job/job.ts";
import { isTerminal, statusRank } from "../../../src/job/status.ts";
import { anything } from "./chaos.ts";
import {
  began,
  claimedOk,
  doubt,
  ended,
  exited,
  known,
  leased,
  observed,
  offered,
  ok,
  play,
  read,
  ref,
  refused,
  reportAnswer,
  reported,
  retry,
  row,
  saw,
  seen,
  staged,
  startAt,
  statuses,
  submitted,
  submitting,
  toTracked,
  tracked,
  unleased,
  written,
} from "./story.ts";

const claim = { kind: "ClaimJob" } as const;
const submit = { kind: "Submit", ref } as const;
const find = (schedulerId: string | null) =>
  ended({ kind: "FindRun", ref }, ok<"FindRun">({ schedulerId, askedAt: startAt + 5 }));

describe("a claim", () => {
  test("that is granted takes over what the job says of itself", () => {
    const granted = { ...seen({ inputs: [{ artifactId: "in-1" }], timeoutSeconds: 60 }), parametersText: "{}" };
    const job = play([offered, began(claim), ended(claim, ok<"ClaimJob">({ job: granted }))]);
    expect(job).toMatchObject({ claim: { stage: "ours" }, inputRefs: [{ artifactId: "in-1" }], timeoutSeconds: 60 });
    expect(job.server).toEqual({ status: "CLAIMED", doubt: false });
  });

  test("of a job that nobody can read is made, and the job fails with the reason", () => {
    const granted = { ...seen({ unreadable: "inputs hold what is no id of an artifact" }), parametersText: "{}" };
    const job = play([offered, began(claim), ended(claim, ok<"ClaimJob">({ job: granted }))]);
    expect(job.outbox).toMatchObject([{ status: "FAILED" }]);
    expect(job.outbox[0]?.detail).toStartWith("inputs hold what is no id of an artifact; ");
  });

  test("that did not reach the server is made again", () => {
    const job = play([offered, began(claim), ended(claim, retry)]);
    expect(job.claim.stage).toBe("wanted");
    expect(job.waits.claim?.failures).toBe(1);
  });

  test.each([
    ["claimed by us", { status: "CLAIMED", workerId: "w1" }, "ours"],
    ["claimed by another", { status: "CLAIMED", workerId: "w2" }, "refused"],
    ["still pending", { status: "PENDING", workerId: null }, "wanted"],
    ["cancelled meanwhile", { status: "CANCELLED", workerId: null }, "refused"],
    ["gone", null, "refused"],
  ] as const)("whose answer was lost is settled by reading the job: %s", (_, found, stage) => {
    const job = play([offered, began(claim), ended(claim, doubt), read(found)]);
    expect(job.claim.stage).toBe(stage);
    expect(job.closed !== undefined).toBe(stage === "refused");
    expect(job.outbox).toEqual([]);
  });

  test("that was refused is ours all the same where the job says so, since a claim may have been sent twice", () => {
    const answers = (found: Parameters<typeof read>[0]) =>
      play([offered, began(claim), ended(claim, refused("already claimed", 409)), read(found)]);
    expect(answers({}).claim.stage).toBe("ours");
    expect(answers({ workerId: "w2" })).toMatchObject({ closed: { why: "already claimed" } });
    expect(answers({ status: "PENDING", workerId: null }).claim).toEqual({ stage: "refused", why: "already claimed" });
  });

  test("that was read to be ours is let go, and nothing is said of it, where its directory is another daemon's", () => {
    const held = ended({ kind: "ListInputs" }, ok<"ListInputs">({ heldBy: "/jobs/j1 belongs to another daemon" }));
    const job = play([offered, began(claim), ended(claim, refused("already claimed", 409)), read({}), held]);
    expect(job.outbox).toEqual([]);
    expect(job.closed?.why).toBe("/jobs/j1 belongs to another daemon");
  });

  test("that fails again and again, each time looked into, goes on counting its failures", () => {
    const again = [began(claim), ended(claim, doubt), read({ status: "PENDING", workerId: null })];
    const job = play([offered, ...again, ...again, ...again]);
    expect(job.claim.stage).toBe("wanted");
    expect(job.waits.claim?.failures).toBe(3);
  });

  test("is no business of the poll's while its answer is on the way", () => {
    const before = play([offered, began(claim)]);
    expect(fold(before, saw({ status: "PENDING", workerId: null }))).toBe(before);
  });
});

describe("a submission", () => {
  const inDoubt = play([offered, ...claimedOk, ...staged, written, submitting, ended(submit, doubt)]);

  test("in doubt that is found is followed under the id that was found", () => {
    const job = play([find("9")], inDoubt);
    expect(job.run).toMatchObject({ stage: "tracked", ref: { schedulerId: "9", attempt: "a1" } });
    expect(job.outbox).toMatchObject([{ status: "SUBMITTED", slurmJobId: "9" }]);
  });

  test("in doubt that is not found stays in doubt, with the moment of the look", () => {
    const job = play([{ ...find(null), at: startAt + 5 }], inDoubt);
    expect(job.run).toMatchObject({ stage: "submitting", doubt: true, absentAt: startAt + 5 });
    expect(job.outbox).toEqual([]);
  });

  test("that is repeated keeps its attempt and forgets what was known of the first", () => {
    const job = play([find(null), { ...submitting, at: startAt + 999_999 }], inDoubt);
    expect(job.run).toMatchObject({ stage: "submitting", ref, intentAt: startAt + 999_999, doubt: false });
    expect(job.run).not.toHaveProperty("absentAt");
  });

  test("that was never sent leaves the script ready", () => {
    const job = play([ended(submit, retry)], play([offered, ...claimedOk, ...staged, written, submitting]));
    expect(job.run).toEqual({ stage: "written", ref });
    expect(job.waits.run?.failures).toBe(1);
  });

  test("that can never be made fails the job before anything was run", () => {
    const gone = refused("the job directory was removed");
    const job = play([ended(submit, gone)], play([offered, ...claimedOk, ...staged, written, submitting]));
    expect(job.run).toMatchObject({ stage: "ended", outcome: { state: "NEVER_SUBMITTED", result: "failed" } });
    expect(job.outbox.at(-1)?.detail).toBe("the job directory was removed; who can act: the operator of this worker");
  });

  test("in doubt after a restart of the daemon is looked for, not repeated", () => {
    const job = play([offered, ...claimedOk, ...staged, written, submitting, ended(submit, doubt)]);
    expect(job.run).toMatchObject({ stage: "submitting", doubt: true });
  });

  test("whose intent comes late to a run that is followed already changes nothing", () => {
    const before = play(toTracked);
    expect(fold(before, submitting)).toBe(before);
    expect(fold(before, submitted)).toBe(before);
    expect(fold(before, began(claim))).toBe(before);
  });
});

describe("what the poll sees at EMX2", () => {
  test("is no news where it is the present status", () => {
    const before = play([...toTracked, reported]);
    expect(fold(before, saw({ status: "SUBMITTED" }))).toBe(before);
  });

  test.each([
    ["an older status", {}],
    ["no worker yet", { status: "PENDING", workerId: null }],
  ] as const)("is a doubt and nothing more: %s", (_, found) => {
    const before = play([...toTracked, reported]);
    expect(fold(before, saw(found))).toEqual({ ...before, server: { status: "SUBMITTED", doubt: true } });
  });

  test("is no news about our own end, whose answer is on the way", () => {
    const before = play([...toTracked, reported, ended({ kind: "CancelRun", ref: tracked }, ok<"CancelRun">({}))]);
    const last = { ...before, announced: "FAILED" as const, outbox: [{ status: "FAILED" as const }] };
    expect(fold(last, saw({ status: "FAILED" }))).toBe(last);
  });

  test("a report that EMX2 refuses, having it already, counts as taken", () => {
    const job = play([...toTracked, reportAnswer(refused("409", 409)), read({ status: "SUBMITTED" })]);
    expect(job.outbox).toEqual([]);
    expect(job.server).toEqual({ status: "SUBMITTED", doubt: false });
  });

  test("a report that EMX2 refuses without having it is made again", () => {
    const job = play([...toTracked, reportAnswer(refused("409", 409)), read({ status: "CLAIMED" })]);
    expect(statuses(job)).toEqual(["SUBMITTED"]);
    expect(job.server.doubt).toBe(false);
    expect(job.waits.report?.failures).toBe(1);
  });

  test("nothing else is said while a refusal has not been looked into, and a failed look changes that not", () => {
    const job = play([...toTracked, reportAnswer(refused("404", 404)), ended({ kind: "ReadJob" }, retry)]);
    expect(job.server.doubt).toBe(true);
    expect(statuses(job)).toEqual(["SUBMITTED"]);
  });
});

describe("what the scheduler shows", () => {
  test("how long a run has been going is no news; the same evidence again gives the very same job", () => {
    const before = play([...toTracked, observed(row("RUNNING", { elapsed: "0:01" }), leased)]);
    expect(fold(before, { ...observed(row("RUNNING", { elapsed: "9:59" }), leased), at: startAt + 99 })).toBe(before);
  });

  test("what is news ends the wait for another try; a repeated look does not", () => {
    const cancelled = ended({ kind: "CancelRun", ref: tracked }, ok<"CancelRun">({}), startAt + 30_000);
    const before = play([...toTracked, observed(row("RUNNING"), leased), cancelled]);
    const absent = play([observed(null, leased)], before);
    expect(before.waits.run).toBeDefined();
    expect(absent.waits.run).toBeUndefined();
    const again = play([cancelled, observed(null, leased, startAt + 1), observed(null, leased, startAt + 2)], absent);
    expect(again.waits.run).toBeDefined();
    expect(again.run).toMatchObject({ lookedAt: startAt + 2 });
  });

  test("is left aside before there is a run, and after it has ended", () => {
    const before = play([offered, ...claimedOk]);
    expect(fold(before, observed(row("RUNNING"), unleased))).toBe(before);
  });

  test("the first exit receipt and the first end are remembered", () => {
    const job = play([
      ...toTracked,
      observed(row("COMPLETING"), exited(0), startAt),
      observed(row("COMPLETED"), exited(0), startAt + 9),
    ]);
    expect(job.run).toMatchObject({ exitSince: startAt, endedSince: startAt + 9, lookedAt: startAt + 9 });
  });
});

test("an event about a job that nobody offered is about nothing, and a second offer changes nothing", () => {
  expect(fold(undefined, saw({}))).toBeUndefined();
  const job = play([offered]);
  expect(fold(job, offered)).toBe(job);
});

describe("whatever happens, in whatever order", () => {
  /** Each job with the one before it. */
  function* lives(steps: readonly Parameters<typeof play>[0][number][]): Generator<[before: Job, after: Job]> {
    let job = play(steps.slice(0, 1));
    for (const [at, step] of steps.slice(1).entries()) {
      const event = typeof step === "function" ? step(job) : step;
      const next = known(fold(job, { ...event, at: startAt + at * 60_000 }));
      yield [job, next];
      job = next;
    }
  }
  const always = (holds: (steps: Parameters<typeof lives>[0]) => void) =>
    fc.assert(fc.property(anything, holds), { numRuns: 1_000 });

  test("a job's end is announced once, after all that comes before it, and nothing after it", () => {
    always((steps) => {
      const announced: string[] = [];
      for (const [before, after] of lives(steps)) {
        // An EMX2 that has forgotten what it was told is told again, from there on.
        if (statusRank[after.server.status] < statusRank[before.server.status]) announced.length = 0;
        const added = after.outbox.filter((report) => !before.outbox.includes(report));
        for (const { status } of added) announced.push(status);
        const ranks = after.outbox.map(({ status }) => statusRank[status]);
        expect(ranks).toEqual([...new Set(ranks)].sort());
      }
      const ranks = announced.map((status) => statusRank[status as keyof typeof statusRank]);
      expect(ranks).toEqual([...new Set(ranks)].sort());
    });
  });

  test("COMPLETED is said only of a run that succeeded, with its outputs committed or without any", () => {
    always((steps) => {
      for (const [, { run, outputs, outbox, stop }] of lives(steps)) {
        if (!outbox.some(({ status }) => status === "COMPLETED")) continue;
        expect(run).toMatchObject({ stage: "ended", outcome: { result: "succeeded" } });
        expect(["committed", "none"]).toContain(outputs.stage);
        expect(stop === undefined || isOwnTimeout(stop.by)).toBe(true);
      }
    });
  });

  test("a job closes with nothing left to say, and then only its directory changes", () => {
    always((steps) => {
      for (const [before, after] of lives(steps)) {
        if (after.closed) expect(after.outbox).toEqual([]);
        if (!before.closed) continue;
        const { waits: _waits, cleaned: _cleaned, ...was } = before;
        const { waits: _after, cleaned: _gone, ...is } = after;
        expect(is).toEqual(was);
      }
    });
  });

  test("an end that was delivered, or a reason to stop, precedes every close of a job that was ours", () => {
    always((steps) => {
      for (const [, { closed, claim: held, stop, announced }] of lives(steps)) {
        if (closed && held.stage === "ours")
          expect((stop !== undefined && !isOwnTimeout(stop.by)) || isTerminal(announced)).toBe(true);
      }
    });
  });

  test("what changes nothing gives back the very same object", () => {
    always((steps) => {
      for (const [before, after] of lives(steps)) if (Bun.deepEquals(before, after, true)) expect(after).toBe(before);
    });
  });

  test("a job survives being stored as JSON", () => {
    always((steps) => {
      for (const [, after] of lives(steps)) expect(JSON.parse(JSON.stringify(after))).toEqual(after);
    });
  });
});

describe("a report that EMX2 takes offence at", () => {
  const offence = reportAnswer(refused("400 Bad Request", 400));

  test("goes with its bare facts after some refusals, and is not lost", () => {
    const job = play([...toTracked, ...Array(6).fill(offence)]);
    expect(job.outbox).toEqual([{ status: "SUBMITTED", slurmJobId: "7" }]);
    expect(job.server.doubt).toBe(false);
  });

  test("keeps its detail while it is only refused now and then", () => {
    expect(play([...toTracked, offence]).outbox[0]?.detail).toBe("submitted as 7");
  });
});
