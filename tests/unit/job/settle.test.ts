/** Whole walks: what EMX2 is told, in which order, and how a job closes. */
import { describe, expect, test } from "bun:test";
import { fold } from "../../../src/job/fold.ts";
import type { Job } from "../../../src/job/job.ts";
import type { Outcome } from "../../../src/job/run.ts";
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
  read,
  ref,
  refused,
  reportAnswer,
  reported,
  row,
  type Step,
  saw,
  staged,
  statuses,
  submitting,
  succeeded,
  toTracked,
  uploaded,
  written,
} from "./story.ts";

const failed: Outcome = { ...succeeded, result: "failed", state: "FAILED", exitCode: 3, signal: 0 };
const cancelled: Outcome = {
  ...succeeded,
  result: "cancelled",
  state: "CANCELLED",
  cause: "cancelled with scancel by uid 0",
};
const running = observed(row("RUNNING"), leased);
const conflict = reportAnswer(refused("illegal move", 409));

describe("the happy path", () => {
  const walk: Step[] = [
    ...toTracked,
    reported,
    observed(row("PENDING")),
    running,
    reported,
    observed(row("COMPLETED"), exited(0)),
    closedRun(succeeded),
    ...uploaded("log"),
    ...uploaded("output"),
  ];

  test("is told step by step, each when it has happened", () => {
    const told = walk.map((_, at) => statuses(play(walk.slice(0, at + 1))).join());
    const changes = told.filter((statuses, at) => statuses !== (told[at - 1] ?? ""));
    expect(changes).toEqual(["SUBMITTED", "", "STARTED", "", "COMPLETED"]);
    expect(told.at(-1)).toBe("COMPLETED");
  });

  test("ends COMPLETED with both artifacts, and closes once that is delivered", () => {
    const job = play(walk);
    expect(job.outbox).toMatchObject([
      { status: "COMPLETED", outputArtifactId: "output-artifact", logArtifactId: "log-artifact" },
    ]);
    expect(job.closed).toBeUndefined();
    expect(play([reported], job).closed).toMatchObject({ status: "COMPLETED" });
  });

  test("without any outputs ends COMPLETED as well", () => {
    const job = play([...walk.slice(0, -8), noFiles("log"), noFiles("output")]);
    const [end] = job.outbox;
    expect(end).toMatchObject({ status: "COMPLETED" });
    expect(end).not.toHaveProperty("outputArtifactId");
    expect(end).not.toHaveProperty("logArtifactId");
  });

  test("says nothing of COMPLETED while a file is still to be put or committed", () => {
    for (let left = 1; left <= 4; left += 1) expect(statuses(play(walk.slice(0, -left)))).toEqual([]);
  });
});

test("every report of a simulated job says so first", () => {
  const job = play([
    { ...offered, backend: "simulate" } as Step,
    ...toTracked.slice(1),
    closedRun(succeeded),
    noFiles("log"),
    noFiles("output"),
  ]);
  expect(statuses(job)).toEqual(["SUBMITTED", "STARTED", "COMPLETED"]);
  expect(job.outbox.every(({ detail }) => detail?.startsWith("SIMULATED; "))).toBe(true);
});

describe("a run that ended before it was seen running", () => {
  const unseen = [...toTracked, observed(row("COMPLETED"), { ...exited(0), lease: "7" })];

  test("is reported STARTED first when it succeeded, since COMPLETED is legal from there only", () => {
    const steps = [...toTracked, closedRun(succeeded), noFiles("log"), noFiles("output")];
    expect(statuses(play(steps))).toEqual(["SUBMITTED", "STARTED", "COMPLETED"]);
    expect(statuses(play(unseen))).toEqual(["SUBMITTED", "STARTED"]);
  });

  test("is reported FAILED at once when it failed", () => {
    const steps = [...toTracked, closedRun(failed), noFiles("log")];
    expect(statuses(play(steps))).toEqual(["SUBMITTED", "FAILED"]);
  });
});

describe("a failure", () => {
  test("of the program uploads logs, no outputs, and carries exit code and the last lines of stderr", () => {
    const job = play([
      ...toTracked,
      reported,
      running,
      reported,
      closedRun(failed, ["Traceback", "boom"]),
      ...uploaded("log"),
    ]);
    expect(job.outputs.stage).toBe("none");
    expect(job.outbox).toMatchObject([{ status: "FAILED", logArtifactId: "log-artifact" }]);
    expect(job.outbox[0]?.detail).toBe(
      "slurm_state=FAILED; exit_code=3:0; the program ended with exit code 3; who can act: the submitter" +
        "\nlast lines of stderr:\nTraceback\nboom",
    );
  });

  test("of an input's hash ends the job before anything is submitted, in the protocol's word", () => {
    const mismatch = ended({ kind: "StageFiles", from: 0 }, refused("input_hash_mismatch: in-1/a.txt"));
    const job = play([offered, ...claimedOk, staged[0] as Step, mismatch]);
    expect(job.outbox).toMatchObject([{ status: "FAILED" }]);
    expect(job.outbox[0]?.detail).toStartWith("input_hash_mismatch: in-1/a.txt; ");
    expect(job.run).toMatchObject({ stage: "ended", outcome: { state: "NEVER_SUBMITTED" } });
    expect(play([reported], job).closed).toMatchObject({ status: "FAILED" });
  });

  test.each([
    ["inputs that can not be listed", [ended({ kind: "ListInputs" }, refused("artifact in-1 is CREATED"))]],
    ["a script that can not be written", [...staged, ended({ kind: "WriteScript", attempt: "a1" }, refused("a NUL"))]],
  ] as const)("of %s ends the job before anything is submitted", (_, steps) => {
    const job = play([offered, ...claimedOk, ...steps]);
    expect(statuses(job)).toEqual(["FAILED"]);
    expect([job.logs.stage, job.outputs.stage]).toEqual(["none", "none"]);
  });

  const refusals: [string, (Step | undefined)[]][] = [
    ["sealed", [ended({ kind: "SealFiles", role: "output" }, refused("a name that EMX2 can not take"))]],
    ["created", [uploaded("output")[0], ended({ kind: "CreateArtifact", role: "output" }, refused("too large"))]],
    ["put", [...uploaded("output").slice(0, 2), ended({ kind: "PutFiles", role: "output", from: 0 }, refused("413"))]],
    [
      "committed",
      [...uploaded("output").slice(0, 3), ended({ kind: "Commit", role: "output" }, refused("Hash Mismatch"))],
    ],
  ];
  test.each(refusals)(
    "of outputs to be %s is a FAILED job whose logs are there, although the run succeeded",
    (_, steps) => {
      const job = play([
        ...toTracked,
        reported,
        running,
        reported,
        closedRun(succeeded),
        ...uploaded("log"),
        ...steps.filter((step) => step !== undefined),
      ]);
      expect(job.outbox).toMatchObject([{ status: "FAILED", logArtifactId: "log-artifact" }]);
      expect(job.outbox[0]?.detail).toContain("outputs were not uploaded: ");
      expect(job.outbox[0]).not.toHaveProperty("outputArtifactId");
    },
  );

  test("of the logs alone leaves a job COMPLETED that says so", () => {
    const noLogs = ended({ kind: "SealFiles", role: "log" }, refused("unreadable"));
    const job = play([...toTracked, reported, running, reported, closedRun(succeeded), noLogs, ...uploaded("output")]);
    expect(job.outbox).toMatchObject([{ status: "COMPLETED", outputArtifactId: "output-artifact" }]);
    expect(job.outbox[0]?.detail).toContain("logs were not uploaded: unreadable");
  });
});

describe("a job cancelled at EMX2", () => {
  const cancel = saw({ status: "CANCELLED" });
  const stages: [string, Step[]][] = [
    ["claimed", [offered, ...claimedOk]],
    ["staging", [offered, ...claimedOk, ...staged.slice(0, 1)]],
    ["staged", [offered, ...claimedOk, ...staged]],
    ["written", [offered, ...claimedOk, ...staged, written]],
  ];

  test.each(stages)("before it was submitted (%s) closes at once and says nothing", (_, steps) => {
    const job = play([...steps, cancel]);
    expect(job).toMatchObject({ stop: { by: "server-cancelled" }, outbox: [], closed: { status: "CANCELLED" } });
  });

  test("while it is submitted waits for the run's end; what it had to say is dropped", () => {
    const during = play([offered, ...claimedOk, ...staged, written, submitting, cancel]);
    expect(during).toMatchObject({ run: { stage: "submitting" }, outbox: [] });
    expect(during.closed).toBeUndefined();
    const after = play([ended({ kind: "Submit", ref }, ok<"Submit">({ schedulerId: "7" }))], during);
    expect(after).toMatchObject({ run: { stage: "tracked" }, outbox: [] });
  });

  test("whose submission never arrived closes without a run", () => {
    const unsent = { result: "cancelled", proof: "none", state: "NEVER_SUBMITTED", outputDir: "output" } as const;
    const close = ended({ kind: "CloseRun", ref, outcome: unsent }, ok<"CloseRun">({ stderrTail: [] }));
    const lost = ended({ kind: "Submit", ref }, doubt);
    const job = play([offered, ...claimedOk, ...staged, written, submitting, lost, cancel, close]);
    expect(job).toMatchObject({ run: { stage: "ended" }, outbox: [], closed: { status: "CANCELLED" } });
  });

  test("while it runs uploads logs, no outputs, and repeats CANCELLED once, naming the log artifact", () => {
    const job = play([...toTracked, reported, running, cancel, closedRun(cancelled), ...uploaded("log")]);
    expect(job.outputs.stage).toBe("none");
    expect(job.outbox).toMatchObject([{ status: "CANCELLED", logArtifactId: "log-artifact" }]);
    expect(job.outbox[0]?.detail).toContain("log artifact log-artifact");
    expect(play([reported], job).closed).toMatchObject({ status: "CANCELLED" });
  });

  test("without any logs says nothing more", () => {
    const job = play([...toTracked, reported, running, cancel, closedRun(cancelled), noFiles("log")]);
    expect(job).toMatchObject({ outbox: [], closed: { status: "CANCELLED" } });
  });

  test("while its outputs are on the way does not end COMPLETED", () => {
    const job = play([...toTracked, reported, running, reported, closedRun(succeeded), ...uploaded("log"), cancel]);
    expect(job.outputs.stage).toBe("none");
    expect(statuses(job)).toEqual(["CANCELLED"]);
  });

  test("is learnt from a refused report as well", () => {
    const job = play([...toTracked, conflict, read({ status: "CANCELLED" })]);
    expect(job).toMatchObject({
      stop: { by: "server-cancelled" },
      outbox: [],
      server: { status: "CANCELLED", doubt: false },
    });
  });

  test("and with scancel at the same time keeps its own CANCELLED, and asks no more what EMX2 has settled", () => {
    const both = play([...toTracked, closedRun(cancelled), noFiles("log")]);
    expect(statuses(both)).toEqual(["SUBMITTED", "CANCELLED"]);
    const job = play([conflict, read({ status: "CANCELLED" })], both);
    expect(job.server.doubt).toBe(false);
    expect(statuses(job)).toEqual(["CANCELLED"]);
    expect(play([conflict, read({ status: "CANCELLED" })], job).closed).toMatchObject({ status: "CANCELLED" });
  });

  test("whose last word EMX2 refuses closes all the same", () => {
    const job = play([...toTracked, reported, running, cancel, closedRun(cancelled), ...uploaded("log"), conflict]);
    expect(job.closed).toBeUndefined();
    expect(play([read({ status: "CANCELLED" })], job).closed).toMatchObject({ status: "CANCELLED" });
    expect(play([read(null)], job).closed).toMatchObject({ status: "CANCELLED" });
  });
});

describe("a job that is ours no more", () => {
  const ends: [string, Step, string][] = [
    ["deleted at EMX2", saw(null), "server-deleted"],
    ["given to another worker", saw({ workerId: "w2", status: "STARTED" }), "other-worker"],
    ["ended at EMX2 by somebody else", saw({ status: "FAILED" }), "server-ended"],
  ];

  test.each(ends)("(%s) is ended here, uploads nothing and says nothing", (_, event, by) => {
    const stopped = play([...toTracked, reported, running, event]);
    expect(stopped).toMatchObject({ stop: { by }, outbox: [] });
    expect(stopped.closed).toBeUndefined();
    const job = play([closedRun(cancelled)], stopped);
    expect([job.logs.stage, job.outputs.stage]).toEqual(["none", "none"]);
    expect(job).toMatchObject({ outbox: [], closed: { why: job.stop?.detail ?? "" } });
  });

  test("keeps the first reason", () => {
    const job = play([...toTracked, saw({ status: "CANCELLED" }), saw(null), saw({ workerId: "w2" })]);
    expect(job.stop?.by).toBe("server-cancelled");
  });

  test("(404 to a report) is looked into before it is believed", () => {
    const gone = reportAnswer(refused("unknown job", 404));
    const doubted = play([...toTracked, gone]);
    expect(doubted.stop).toBeUndefined();
    expect(play([read({ status: "CLAIMED" })], doubted).stop).toBeUndefined();
    expect(play([read(null)], doubted).stop?.by).toBe("server-deleted");
  });
});

describe("a terminal report", () => {
  const last = play([...toTracked, reported, running, reported, closedRun(failed), noFiles("log")]);

  test("whose answer was lost is said again, the same", () => {
    const job = play([reportAnswer({ is: "retry", cause: "no answer" })], last);
    expect(job.outbox).toEqual(last.outbox);
  });

  test("that EMX2 refuses because it has it already closes the job", () => {
    expect(play([conflict, read({ status: "FAILED" })], last).closed).toMatchObject({ status: "FAILED" });
  });

  test("that EMX2 refuses for another reason stays", () => {
    const job = play([reportAnswer(refused("the request is wrong", 400))], last);
    expect(job.outbox).toEqual(last.outbox);
    expect(job.closed).toBeUndefined();
  });

  test("is never followed by another, whatever comes late", () => {
    const closed = play([reported], last);
    const late: Step[] = [
      saw(null),
      saw({ status: "CANCELLED" }),
      running,
      closedRun(succeeded),
      ...uploaded("output"),
    ];
    const after = late.reduce<Job>((job, step) => play([step], job), closed);
    expect(after.outbox).toEqual([]);
    expect(after.announced).toBe("FAILED");
    expect(fold(closed, saw(null) as Parameters<typeof fold>[1])).toBe(closed);
  });
});
