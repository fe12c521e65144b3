/** The scheduler poll in virtual time: how often it asks, what goes on while there is no answer, strays, unknown words. */
import { describe, expect, test } from "bun:test";
import { runLoop } from "../../../src/daemon/loop.ts";
import { createSchedulerPoll } from "../../../src/daemon/scheduler-poll.ts";
import type { JobEvent } from "../../../src/job/effect.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job } from "../../../src/job/job.ts";
import type { RunRef, SchedulerRow, StatesAnswer } from "../../../src/job/run.ts";
import { createLog } from "../../../src/log.ts";
import type { Scheduler } from "../../../src/scheduler/scheduler.ts";
import { createMemoryFiles } from "../../simulation/memory-files.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";
import { state } from "../artifacts/work-directory.ts";
import { play, ref, row, submitting, toTracked, tracked } from "../job/story.ts";

const intervalMs = 30_000;
const down = { is: "unavailable", cause: "squeue: no answer within 60 s" } as const;

async function stage(steps: readonly JobEvent[] = toTracked) {
  const clock = createVirtualClock({ seed: 3 });
  const lines: string[] = [];
  const log = createLog({ clock, level: "info", json: false, color: false, write: (line) => void lines.push(line) });
  const files = createMemoryFiles({ state });
  await files.create(ref.dir, { state, stateDir: "/state", host: "head", uid: 1 });
  const jobs = new Map<string, Job>([["j1", play(steps)]]);
  const on = {
    clock,
    files,
    jobs,
    lines,
    askedAt: [] as number[],
    cancels: [] as { readonly name: string; readonly ids: readonly string[] | undefined }[],
    isUp: true,
    costMs: 20,
    begun: [] as (readonly [jobId: string, startedAt: number])[],
    answer: (runs: readonly RunRef[]): StatesAnswer => ({
      is: "answered",
      rows: new Map(runs.map((run) => [run.jobId, row("RUNNING")])),
    }),
    said: (words: string) => lines.filter((line) => line.includes(words)).length,
  };
  const scheduler: Pick<Scheduler, "states" | "cancel"> = {
    async states(runs) {
      on.askedAt.push(clock.mono());
      await clock.sleep(on.costMs);
      return on.answer(runs);
    },
    async cancel({ name }, _signal, ids) {
      on.cancels.push({ name, ids });
      return { is: "asked" };
    },
  };
  const poll = createSchedulerPoll({
    ...{ clock, files, log, intervalMs },
    begun: ({ id }, at) => void on.begun.push([id, at]),
    schedulerOf: () => scheduler as Scheduler,
    engine: {
      jobs,
      isSchedulerUp: () => on.isUp,
      setSchedulerUp: (_, up) => {
        on.isUp = up;
      },
      observe(id, event) {
        const job = fold(jobs.get(id), event);
        if (job) jobs.set(id, job);
      },
    },
  });
  const stop = new AbortController();
  return Object.assign(on, { poll, stop, tick: () => poll.tick(stop.signal) });
}

type Stage = Awaited<ReturnType<typeof stage>>;

/** Ticks until the time is over, as the daemon does. */
async function runFor(on: Stage, ms: number, loop = on.poll): Promise<void> {
  const over = runLoop(loop, on.clock, on.stop.signal);
  await on.clock.advance(ms);
  on.stop.abort();
  await on.clock.advance(120_000);
  await over;
}

const pauses = (times: readonly number[]) => times.slice(1).map((at, index) => at - (times[index] ?? 0));

async function ticked(on: Stage, cycles = 1): Promise<void> {
  for (let cycle = 0; cycle < cycles; cycle += 1) {
    const done = on.tick();
    await on.clock.advance(60_000);
    await done;
  }
}

describe("a scheduler that is well", () => {
  test("is asked once an interval", async () => {
    const on = await stage();
    await runFor(on, 3_600_000);
    expect(on.askedAt.length).toBeGreaterThan(100);
    expect(Math.min(...pauses(on.askedAt))).toBeGreaterThanOrEqual(intervalMs * 0.9);
    expect(on.lines).toEqual([]);
  });

  test("whose answers take long is asked for a twentieth of the time alone", async () => {
    const on = await stage();
    on.costMs = 10_000;
    await runFor(on, 3_600_000);
    expect(on.askedAt.length).toBeLessThanOrEqual(21);
    expect(Math.min(...pauses(on.askedAt))).toBeGreaterThanOrEqual(180_000);
  });

  test("whose answers take two seconds is asked every forty, no matter what its interval divides into", async () => {
    const on = await stage();
    on.costMs = 2_000;
    await runFor(on, 3_600_000);
    expect(Math.max(...pauses(on.askedAt))).toBeLessThanOrEqual(40_000 * 1.1 + on.costMs);
    expect(Math.min(...pauses(on.askedAt))).toBeGreaterThanOrEqual(40_000 * 0.9 + on.costMs);
  });

  test("is asked no sooner by whoever ticks more often", async () => {
    const on = await stage();
    for (let tick = 0; tick < 10; tick += 1) {
      const done = on.tick();
      await on.clock.advance(1_000);
      await done;
    }
    expect(on.askedAt).toHaveLength(1);
  });

  test("is not asked while nothing is tracked, however long", async () => {
    const on = await stage();
    on.jobs.clear();
    await runFor(on, 3_600_000);
    expect(on.askedAt).toEqual([]);
  });
});

describe("a scheduler that does not answer", () => {
  test("is asked ever more rarely, one question at a time, and nothing else is asked of it meanwhile", async () => {
    const on = await stage();
    on.answer = () => down;
    on.costMs = 60_000;
    await runFor(on, 6 * 3_600_000);
    expect(on.askedAt.length).toBeLessThan(60);
    expect(Math.max(...pauses(on.askedAt))).toBeLessThanOrEqual(600_000 * 1.1 + 60_000);
    expect(Math.min(...pauses(on.askedAt))).toBeGreaterThanOrEqual(60_000 + intervalMs * 0.9);
    expect(on.isUp).toBe(false);
    expect(on.said("does not answer")).toBe(2);
    expect(on.jobs.get("j1")?.run).toMatchObject({ stage: "tracked" });
  });

  test("is known to be back with the next question, and asked each interval again", async () => {
    const on = await stage();
    on.answer = () => down;
    const well = { is: "answered", rows: new Map([["j1", row("RUNNING")]]) } as const;
    const over = runLoop(on.poll, on.clock, on.stop.signal);
    await on.clock.advance(1_800_000);
    on.answer = () => well;
    const backAt = on.clock.mono();
    await on.clock.advance(1_800_000);
    on.stop.abort();
    await on.clock.advance(1_000);
    await over;
    const after = on.askedAt.filter((at) => at > backAt);
    expect((after[0] ?? 0) - backAt).toBeLessThanOrEqual(600_000 * 1.1);
    expect(Math.max(...pauses(after))).toBeLessThanOrEqual(intervalMs * 1.1 + on.costMs);
    expect(on.isUp).toBe(true);
    expect(on.said("answers again")).toBe(1);
  });

  test("is asked for the sake of jobs that wait to be submitted", async () => {
    const on = await stage(toTracked.slice(0, -2));
    await ticked(on);
    expect(on.askedAt).toEqual([]);
    on.isUp = false;
    await ticked(on);
    expect(on.askedAt).toHaveLength(1);
    expect(on.isUp).toBe(true);
  });

  test("and says that it is asked too often is believed in what it says of the runs, and asked more rarely", async () => {
    const on = await stage();
    const rows = new Map([["j1", row("RUNNING")]]);
    on.answer = () => ({ is: "answered", rows, slowDown: "RPC rate limited 3 time(s)" });
    await runFor(on, 3_600_000);
    expect(on.askedAt.length).toBeLessThan(20);
    expect(on.isUp).toBe(true);
    expect(on.jobs.get("j1")?.run).toMatchObject({ row: { state: "RUNNING" } });
  });
});

describe("strays", () => {
  const shown = (id: string, over: Partial<SchedulerRow> = {}) => ({ ...row("PENDING"), schedulerId: id, ...over });
  const answering = (on: Stage, ...live: SchedulerRow[]) => {
    const rows = new Map([["j1", row("RUNNING")]]);
    on.answer = () => ({ is: "answered", rows, live: Map.groupBy(live, ({ name }) => name) });
  };
  const submittedAt = ref.notBefore / 1_000 + 5;

  test("beside the run that has the lease are cancelled by name and id, and said once", async () => {
    const on = await stage();
    on.files.symlink(ref.dir, ".emx2/lease.a1", "7");
    answering(on, row("RUNNING", { submittedAt }), shown("8", { submittedAt }), shown("9", { submittedAt }));
    await ticked(on, 3);
    expect(on.cancels).toEqual(Array.from({ length: 3 }, () => ({ name: "emx2-j1", ids: ["8", "9"] })));
    expect(on.said("the stray is cancelled")).toBe(1);
  });

  test("are left while nobody has the lease: any of them could be the run", async () => {
    const on = await stage();
    answering(on, shown("7", { submittedAt }), shown("8", { submittedAt }));
    await ticked(on);
    expect(on.cancels).toEqual([]);
  });

  test("of jobs that this journal does not know, and what was submitted before the job was, are nobody's business", async () => {
    const on = await stage();
    on.files.symlink(ref.dir, ".emx2/lease.a1", "7");
    answering(on, shown("8", { name: "emx2-j2", submittedAt }), shown("9", { submittedAt: submittedAt - 600 }));
    await ticked(on);
    expect(on.cancels).toEqual([]);
  });

  test("of a closed job are cancelled, but for a run that is in its last lines", async () => {
    const on = await stage();
    const job = play(toTracked);
    const outcome = { result: "failed", proof: "none", state: "LOST", outputDir: "output" } as const;
    const closed = { at: ref.notBefore + 60_000, status: "FAILED", why: "reported" } as const;
    const gone: Job = { ...job, id: "j2", run: { stage: "ended", ref: tracked, outcome, stderrTail: [] }, closed };
    const name = "emx2-j2";
    const run = { ...gone.run, ref: { ...tracked, jobId: "j2", name } } as Job["run"];
    on.jobs.set("j2", { ...gone, run });
    answering(on, shown("7", { name, submittedAt }), shown("8", { name, submittedAt }));
    await ticked(on);
    expect(on.cancels).toEqual([{ name, ids: ["7", "8"] }]);

    on.cancels.length = 0;
    const ended = { ...outcome, proof: "squeue", state: "CANCELLED", result: "cancelled" } as const;
    on.jobs.set("j2", { ...gone, run: { ...run, outcome: ended } as Job["run"] });
    await ticked(on);
    expect(on.cancels).toEqual([{ name, ids: ["8"] }]);

    on.cancels.length = 0;
    const later = closed.at / 1_000 + 3_600;
    answering(on, shown("7", { name, submittedAt: later }), shown("8", { name, submittedAt: later }));
    on.jobs.set("j2", { ...gone, run });
    await ticked(on);
    // Its own, in the queue again; and a run of the worker that a restored EMX2 has given the job to.
    expect(on.cancels).toEqual([{ name, ids: ["7"] }]);

    on.cancels.length = 0;
    answering(on, shown("7", { name, submittedAt }), shown("8", { name, submittedAt }));
    on.jobs.set("j2", { ...gone, run, stop: { by: "other-worker", at: 1, detail: "" } });
    await ticked(on);
    expect(on.cancels).toEqual([]);
  });
});

describe("a state that no table knows", () => {
  test("is said once a word, and again each day that a run stays in it", async () => {
    const on = await stage();
    on.answer = (runs) => ({
      is: "answered",
      rows: new Map(runs.map((run) => [run.jobId, row("UNKNOWN", { word: "DREAMING" })])),
    });
    await runFor(on, 2.5 * 86_400_000);
    expect(on.said("is not known here: the job waits")).toBe(1);
    expect(on.said("for a day")).toBe(2);
    expect(on.jobs.get("j1")?.run.stage).toBe("tracked");
  });
});

test("a submission that is under way is nothing to ask about", async () => {
  const on = await stage([...toTracked.slice(0, -2), submitting]);
  await ticked(on);
  expect(on.askedAt).toEqual([]);
});

test("a run that has been going for ten minutes has begun, and not before", async () => {
  const on = await stage(toTracked);
  const tick = async () => {
    await on.clock.advance(60_000);
    const done = on.tick();
    await on.clock.advance(1_000);
    await done;
  };
  const startedS = Math.floor(on.clock.wall() / 1_000);
  on.files.symlink(ref.dir, ".emx2/lease.a1", "7");
  on.files.symlink(ref.dir, ".emx2/lease.a1.0", "7.0.n1.1");
  const start = { v: 1, attempt: "a1", job: "7", restart: 0, node: "n1", pid: 1, start: startedS };
  await on.files.writeControl(ref.dir, [{ name: "start.a1.0", content: JSON.stringify(start) }]);
  await tick();
  expect(on.begun).toEqual([]);
  await on.clock.advance(600_000);
  on.answer = (runs) => ({ is: "answered", rows: new Map(runs.map((run) => [run.jobId, row("COMPLETING")])) });
  await tick();
  expect(on.begun).toEqual([]);
  on.answer = (runs) => ({ is: "answered", rows: new Map(runs.map((run) => [run.jobId, row("RUNNING")])) });
  await tick();
  expect(on.begun).toEqual([["j1", startedS * 1_000]]);
});
