import { describe, expect, test } from "bun:test";
import type { Job } from "../../../src/job/job.ts";
import type { Overview } from "../../../src/journal/overview.ts";
import { explainJson, explainText } from "../../../src/view/explain.ts";
import type { Facts } from "../../../src/view/facts.ts";
import { colorsOf } from "../../../src/view/lines.ts";
import { statusJson, statusText } from "../../../src/view/status.ts";
import { whoCanAct } from "../../../src/view/who.ts";
import {
  claimedOk,
  closedRun,
  ended,
  leased,
  noFiles,
  observed,
  offered,
  play,
  reported,
  retry,
  row,
  staged,
  startAt,
  toTracked,
  unleased,
  written,
} from "../job/story.ts";

const now = startAt + 600_000;
const wide = { columns: Number.POSITIVE_INFINITY, colors: colorsOf({}) };
const named = (job: Job, id: string): Job => ({ ...job, id });

const pending = named(play([...toTracked, observed(row("PENDING", { reason: "Priority" }))]), "aaaa1111-2222");
const running = named(play([...toTracked, observed(row("RUNNING", { node: "n1" }), leased)]), "bbbb1111-2222");
const heldBack = named(play([offered, ...claimedOk, ...staged, written]), "cccc1111-2222");
const failure = { result: "failed", proof: "sacct", state: "OUT_OF_MEMORY", outputDir: "output" } as const;
const failed = named(
  play([
    ...toTracked,
    observed(row("OUT_OF_MEMORY"), unleased),
    closedRun(failure),
    noFiles("log"),
    reported,
    reported,
  ]),
  "dddd1111-2222",
);

const overview: Overview = {
  at: now - 12_000,
  workerId: "headnode",
  emx2: { url: "https://emx2.example.org", reachable: true },
  schedulers: [{ backend: "slurm", answers: true }],
  held: [{ profile: "embed/gpu", since: now - 7_200_000, cause: "Invalid account", nextProbeAt: now + 300_000 }],
  jobs: {
    [pending.id]: { why: "PENDING (Priority)", wakeAt: now + 90_000, lookedAt: now - 20_000, doing: [] },
    [running.id]: { why: "RUNNING", lookedAt: now - 20_000, doing: [] },
    [heldBack.id]: { why: "its profile is held: Invalid account", wakeAt: now + 300_000, doing: [] },
  },
};
const facts: Facts = {
  jobs: [pending, running, heldBack, failed],
  overview,
  writtenAt: overview.at,
  holding: { is: "held", holder: "process 7 on head" },
  stateDir: "/state",
  now,
};

const cells = (line: string) => line.split(/ {2,}/);

describe("status", () => {
  test("says how old it is, who runs, who answers, what is held, and of each open job why it waits", () => {
    const lines = statusText(facts, false, wide).split("\n");
    expect(lines.slice(0, 7).map(cells)).toEqual([
      ["worker", "headnode"],
      ["daemon", "process 7 on head"],
      ["as of", expect.stringMatching(/ [+-]\d\d:\d\d, 12 s ago$/)],
      ["EMX2", "https://emx2.example.org answers"],
      ["Slurm", "answers"],
      ["held", "embed/gpu, since 2 h: Invalid account; one job tries again in 5 min"],
      ["jobs", "1 being prepared, 1 in the queue, 1 running, 1 done, whose directories are kept"],
    ]);
    const [age, waits] = ["9 min 58 s", "waits for the scheduler to start it; next step in 1 min 30 s"];
    expect(lines.slice(7).map(cells)).toEqual([
      [""],
      ["JOB", "PROFILE", "STAGE", "AGE", "RUN", "SEEN", "NEXT"],
      ["aaaa1111", "embed/gpu", "PENDING (Priority)", age, "7", "20 s", waits],
      ["bbbb1111", "embed/gpu", "RUNNING on n1", age, "7", "20 s", "waits for its end"],
      [
        ...["cccc1111", "embed/gpu", "waiting to be submitted", age, "-", "-"],
        "its profile is held: Invalid account; next step in 5 min",
      ],
    ]);
  });

  test("says what nothing new is claimed for, and why", () => {
    const cause = "/scratch has 1.0 GiB free, worker.min_free_disk asks for 10.0 GiB";
    const short = (profile?: string): Facts => {
      return {
        ...facts,
        overview: { ...overview, notClaiming: [{ cause, ...(profile === undefined ? {} : { profile }) }] },
      };
    };
    expect(statusText(short(), false, wide).split("\n").map(cells)).toContainEqual([
      ...["claims", `nothing new is claimed: ${cause}`],
    ]);
    expect(statusText(short("embed/gpu"), false, wide)).toContain(`claims      none for embed/gpu: ${cause}\n`);
    expect(statusJson(short(), false)).toMatchObject({ notClaiming: [{ profile: null, cause }] });
  });

  test("with --all lists what is done, and how it ended", () => {
    const last = statusText(facts, true, wide).split("\n").at(-1) ?? "";
    expect(cells(last)).toEqual(["dddd1111", "embed/gpu", "done: FAILED", "9 min 48 s", "7", "-", "reported FAILED"]);
  });

  test("says plainly that no daemon runs, and tells what the last one saw as past", () => {
    const text = statusText({ ...facts, writtenAt: now - 10_800_000, holding: { is: "nobody" } }, false, wide);
    expect(text).toContain("none runs: this is how it was 3 h ago, and the next run or once goes on from there");
    expect(text).toContain("https://emx2.example.org answered");
    expect(text).toContain("Slurm       answered");
  });

  test("doubts a daemon that has been silent for long", () => {
    const holding = { is: "unsure", holder: "process 7 on other, since 2026-03-01T00:00:00.000Z" } as const;
    const text = statusText({ ...facts, writtenAt: now - 3_600_000, holding }, false, wide);
    expect(text).toMatch(/process 7 on other, since .* [+-]\d\d:\d\d, but it has told nothing for 1 h: is it still/);
  });

  test("says who does not answer, and what that means", () => {
    const silent: Overview = {
      ...overview,
      emx2: { ...overview.emx2, reachable: false },
      schedulers: [{ backend: "slurm", answers: false }],
    };
    const text = statusText({ ...facts, overview: silent }, false, wide);
    expect(text).toContain("https://emx2.example.org does not answer; results wait");
    const refused = { ...silent, emx2: { ...silent.emx2, cause: "wrong secret" } };
    expect(statusText({ ...facts, overview: refused }, false, wide)).toContain(
      "can not be asked: wrong secret; results",
    );
    expect(text).toContain("Slurm       does not answer; what runs there goes on");
  });

  test("fits a terminal, line by line, and escapes what others have written", () => {
    const evil = { ...running, profileKey: "embed/\u001b[2Jgpu\n" };
    const text = statusText({ ...facts, jobs: [...facts.jobs, evil] }, true, { ...wide, columns: 72 });
    expect(text).toContain("\\x1b[2J");
    for (const line of text.split("\n")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(72);
  });

  test("shows more of an id where its beginning would mean two jobs", () => {
    const twin = { ...running, id: "bbbb1111-2223" };
    const text = statusText({ ...facts, jobs: [running, twin] }, false, wide);
    expect(text).toContain("bbbb1111-2222  ");
    expect(text).toContain("bbbb1111-2223  ");
  });

  test("a thousand jobs are told in no time", () => {
    const jobs = Array.from({ length: 1_000 }, (_, index) => ({ ...pending, id: crypto.randomUUID() + index }));
    const begun = Bun.nanoseconds();
    expect(statusText({ ...facts, jobs }, false, wide).split("\n")).toHaveLength(1_009);
    expect((Bun.nanoseconds() - begun) / 1e6).toBeLessThan(1_000);
  });

  test("as JSON has the same, with instants", () => {
    expect(statusJson(facts, false)).toMatchObject({
      stateDir: "/state",
      writtenAt: new Date(overview.at).toISOString(),
      daemon: { is: "held", holder: "process 7 on head" },
      workerId: "headnode",
      emx2: { url: "https://emx2.example.org", reachable: true },
      schedulers: [{ backend: "slurm", answers: true }],
      held: [{ profile: "embed/gpu", cause: "Invalid account", nextProbeAt: new Date(now + 300_000).toISOString() }],
      counts: { preparing: 1, queued: 1, running: 1, returning: 0, done: 1 },
      jobs: [
        {
          jobId: "aaaa1111-2222",
          profile: "embed/gpu",
          status: "CLAIMED",
          stage: "PENDING (Priority)",
          slurmJobId: "7",
          slurmState: "PENDING",
          seenAt: new Date(now - 20_000).toISOString(),
          nextAt: new Date(now + 90_000).toISOString(),
          closedAt: null,
        },
        { jobId: "bbbb1111-2222", nextAt: null },
        { jobId: "cccc1111-2222", slurmJobId: null, slurmState: null, seenAt: null },
      ],
    });
    expect(JSON.parse(JSON.stringify(statusJson({ ...facts, overview: undefined }, true)))).toMatchObject({
      emx2: null,
      jobs: [{ why: "" }, {}, {}, { closedAt: expect.any(String) }],
    });
  });
});

describe("explain", () => {
  const history = [{ at: now - 600_000, text: "claimed\u001b[2J" }];

  test("says where the job stands, why it waits and who can act, and then everything that happened", () => {
    const text = explainText({ jobId: heldBack.id, job: heldBack, history }, facts, wide);
    expect(text).toContain("job         cccc1111-2222\n");
    expect(text).toContain("next        its profile is held: Invalid account; next step in 5 min\n");
    expect(text).toContain("who acts    the operator of this worker: mend what the cause names");
    expect(text).toMatch(/\nhistory \(times in [+-]\d\d:\d\d\)\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}claimed\\x1b\[2J$/);
  });

  test("of a job that has ended says why, with the numbers, and what it used", () => {
    const used = { memoryBytes: 2 ** 32, maxRssBytes: 2 ** 32 };
    const outcome = { result: "failed", proof: "sacct", state: "OUT_OF_MEMORY", outputDir: "output", used } as const;
    const job: Job = { ...pending, run: { stage: "ended", outcome, stderrTail: [] } };
    const text = explainText({ jobId: job.id, job, history }, facts, wide);
    expect(text).toContain("cause       the job needed more memory than it had\n");
    expect(text).toContain("hint        asked 4 GB, peaked at 4 GB: raise memory\n");
    expect(text).toContain("used        4 GB of 4 GB\n");
    expect(explainJson({ jobId: job.id, job, history }, facts)).toMatchObject({
      hint: expect.stringMatching(/raise memory/),
      used,
    });
  });

  test("of a job that is no longer kept tells the history", () => {
    const explained = { jobId: "gone", job: undefined, history };
    expect(explainText(explained, facts, wide)).toContain("no longer kept");
    expect(explainJson(explained, facts)).toMatchObject({ jobId: "gone", history: [{ text: history[0]?.text }] });
  });

  test("as JSON has the row of status, and more", () => {
    const job = { ...pending, waits: { report: { failures: 3, until: now, cause: "reset" } } };
    expect(explainJson({ jobId: job.id, job, history }, facts)).toMatchObject({
      jobId: "aaaa1111-2222",
      stage: "PENDING (Priority)",
      directory: "/jobs/j1",
      trouble: [{ lane: "report", cause: "reset", failures: 3 }],
      history: [{ at: new Date(now - 600_000).toISOString(), text: history[0]?.text }],
    });
  });
});

describe("who can act", () => {
  const stuck = play([...toTracked, observed(row("PENDING", { reason: "PartitionTimeLimit" }))]);
  const held = play([...toTracked, observed(row("PENDING", { reason: "JobHeldUser" }))]);
  const suspended = play([...toTracked, observed(row("SUSPENDED"), leased)]);
  const tired = play([...toTracked.slice(0, 4), ended({ kind: "StageFiles", from: 0 }, retry, 1)]);
  const free = { ...overview, held: [] };
  const cases: readonly (readonly [string, Job, Overview, RegExp])[] = [
    ["nobody need on one that runs", running, free, /^nobody need: it goes on by itself$/],
    ["the operator on a held profile", heldBack, overview, /^the operator .* mend what the cause names/],
    ["the operator on what can never start", stuck, free, /^the operator .* it can never start so/],
    ["whoever held it", held, free, /scontrol release$/],
    ["whoever suspended it", suspended, free, /scontrol resume$/],
    [
      "the scheduler's people while it does not answer",
      running,
      { ...free, schedulers: [{ backend: "slurm", answers: false }] },
      /^whoever looks after the scheduler/,
    ],
    ["EMX2's people while it does not", running, { ...free, emx2: { url: "", reachable: false } }, /after EMX2/],
    [
      "the operator on what fails again and again",
      { ...tired, waits: { inputs: { failures: 3, until: 0, cause: "" } } },
      free,
      /^the operator/,
    ],
    ["what the diagnosis says of one that failed", failed, free, /by more memory in the profile/],
  ];
  for (const [what, job, from, who] of cases) test(what, () => expect(whoCanAct(job, from)).toMatch(who));
});
