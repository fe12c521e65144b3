/** An EMX2 that was restored from a backup: it is behind what it was told, and is told again, in order. */
import { describe, expect, test } from "bun:test";
import { decide } from "../../../src/job/decide.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job } from "../../../src/job/job.ts";
import * as story from "./story.ts";

const { ended, ok, policy, read, refused, reportAnswer, saw, startAt, toTracked } = story;
const claim = { kind: "ClaimJob" } as const;
const granted = ended(claim, ok<"ClaimJob">({ job: { ...story.seen(), parametersText: "{}" } }));
const taken = reportAnswer(ok<"Report">({}));
const conflict = reportAnswer(refused("409 Conflict", 409));
const started = [...toTracked, story.observed(story.row("RUNNING"), story.leased), taken, taken];
const uploaded = [...story.uploaded("log"), ...story.uploaded("output")];
const finished = [...started, story.closedRun(story.succeeded), ...uploaded];

const statuses = (job: Job) => job.outbox.map(({ status }) => status);
const kinds = (job: Job) => decide(job, { schedulerUp: true }, policy, startAt).start.map(({ kind }) => kind);

describe("a status behind the one that EMX2 has confirmed", () => {
  test("is no evidence in a list: the job itself is read first, and where it says otherwise nothing is said again", () => {
    const doubted = story.play([...started, saw({ status: "CLAIMED" })]);
    expect(doubted.outbox).toEqual([]);
    expect(kinds(doubted)).toEqual(["ReadJob"]);
    const settled = story.play([read({ status: "STARTED" })], doubted);
    expect(settled.server).toEqual({ status: "STARTED", doubt: false });
    expect(settled.outbox).toEqual([]);
  });

  test("is said again in order where the job itself bears it out", () => {
    const job = story.play([...started, saw({ status: "CLAIMED" }), read({ status: "CLAIMED" })]);
    expect(statuses(job)).toEqual(["SUBMITTED", "STARTED"]);
    expect(job.outbox[0]?.slurmJobId).toBe("7");
    expect(statuses(story.play([...started, saw({ status: "SUBMITTED" }), read({ status: "SUBMITTED" })]))).toEqual([
      "STARTED",
    ]);
  });

  test("comes out at the end of the job too: all of it is said again, and its end once", () => {
    const job = story.play([...finished, conflict, read({ status: "CLAIMED" })]);
    expect(statuses(job)).toEqual(["SUBMITTED", "STARTED", "COMPLETED"]);
    const done = story.play([taken, taken, taken], job);
    expect(done.closed?.status).toBe("COMPLETED");
    expect(done.outbox).toEqual([]);
  });

  test("of a run that failed leads to its end over what is legal", () => {
    const failed = [...started, story.closedRun({ ...story.succeeded, result: "failed" }), ...story.uploaded("log")];
    expect(statuses(story.play([...failed, conflict, read({ status: "CLAIMED" })]))).toEqual(["SUBMITTED", "FAILED"]);
  });
});

describe("a claim that EMX2 has forgotten", () => {
  const forgotten = story.play([
    ...started,
    saw({ status: "PENDING", workerId: null }),
    read({ status: "PENDING", workerId: null }),
  ]);

  test("is made again before anything else is said, while the run goes on", () => {
    expect(kinds(forgotten)).toEqual(["ClaimJob"]);
    const job = story.play([granted], forgotten);
    expect(job.run).toBe(forgotten.run);
    expect(kinds(job)).toEqual(["Report"]);
    expect(statuses(job)).toEqual(["SUBMITTED", "STARTED"]);
  });

  test("that is refused is looked into: ours, another's, or to be tried again later", () => {
    const after = story.play([ended(claim, refused("409", 409), startAt + 60_000)], forgotten);
    expect(after.server.doubt).toBe(true);
    expect(statuses(story.play([read({ status: "CLAIMED" })], after))).toEqual(["SUBMITTED", "STARTED"]);
    expect(story.play([read({ status: "CLAIMED", workerId: "w2" })], after).stop?.by).toBe("other-worker");
    const later = story.play([read({ status: "PENDING", workerId: null })], after);
    expect(later.waits.claim?.failures).toBe(1);
    expect(kinds(later)).toEqual([]);
  });

  test("whose answer was lost is looked for at the job itself", () => {
    const doubted = story.play([ended(claim, story.doubt)], forgotten);
    expect(doubted.claim.stage).toBe("ours");
    expect(kinds({ ...doubted, waits: {} })).toEqual(["ReadJob"]);
  });

  test("of a job that is to end here is made all the same: its end is still to be said", () => {
    const expired = fold(forgotten, { kind: "Expired", at: startAt, by: "timeout", detail: "over" });
    expect(expired && kinds(expired)).toContain("ClaimJob");
  });
});

test("artifacts that EMX2 has forgotten once they were committed are uploaded again before the end is said", () => {
  const job = story.play([...finished, reportAnswer(ok<"Report">({ lost: true }))]);
  expect(job).toMatchObject({ logs: { stage: "waiting" }, outputs: { stage: "waiting" }, outbox: [] });
  expect(kinds(job)).toEqual(["SealFiles"]);
  expect(statuses(story.play(uploaded, job))).toEqual(["COMPLETED"]);
});

test.each(["PutFiles", "Commit"] as const)("an artifact that EMX2 has forgotten at %s is made again, once", (kind) => {
  const [seal, create, put] = story.uploaded("output");
  const effect = kind === "Commit" ? { kind, role: "output" as const } : { kind, role: "output" as const, from: 0 };
  const steps = [create, ...(kind === "Commit" ? [put] : []), ended(effect, refused("404 Not Found", 404))];
  const begun = [...started, story.closedRun(story.succeeded), ...story.uploaded("log"), seal];
  const play = (all: readonly (story.Step | undefined)[]) => story.play(all.filter((step) => step !== undefined));
  expect(play([...begun, ...steps]).outputs).toMatchObject({ stage: "sealed", total: 1, sha256: "cd" });
  expect(play([...begun, ...steps, create]).outputs).toMatchObject({ stage: "putting", next: 0 });
  expect(play([...begun, ...steps, ...steps]).outputs).toEqual({ stage: "failed", detail: "404 Not Found" });
});
