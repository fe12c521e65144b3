import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createJobDirectory } from "../../../src/artifacts/job-directory.ts";
import { systemClock } from "../../../src/clock.ts";
import { createBusy } from "../../../src/daemon/busy.ts";
import { effectTable } from "../../../src/daemon/effects.ts";
import { cancelRun, closeRun, submit, writeScript } from "../../../src/daemon/run-effects.ts";
import { createSchedulers } from "../../../src/daemon/schedulers.ts";
import { createClient } from "../../../src/emx2/client.ts";
import type { Job } from "../../../src/job/job.ts";
import { outcomeNeverSubmitted, type Receipts } from "../../../src/job/run.ts";
import type { Log } from "../../../src/log.ts";
import { createSimulate } from "../../../src/scheduler/simulate.ts";
import { createSlurm } from "../../../src/scheduler/slurm.ts";
import { installFakeSlurm } from "../../fake-slurm/install.ts";
import { createMemoryFiles } from "../../simulation/memory-files.ts";
import { recordingLog, state } from "../artifacts/work-directory.ts";
import { hostProfile } from "../job/job-directory.ts";
import {
  doubt,
  ended,
  exited,
  observed,
  play,
  ref,
  row,
  submitting,
  succeeded,
  toTracked,
  tracked,
} from "../job/story.ts";

const never = new AbortController().signal;

test("only submissions count for max_submissions_per_minute", () => {
  const limited = Object.entries(effectTable).filter(([, { pool }]) => pool === "submissions");
  expect(limited.map(([kind]) => kind)).toEqual(["Submit"]);
});

test("each command of Slurm's is a line of the debug log, without its environment", async () => {
  const base = mkdtempSync(join(tmpdir(), "emx2-effects-"));
  const said: unknown[] = [];
  const log: Log = { ...recordingLog([]), debug: (message, fields) => said.push([message, fields]) };
  const limits = { submitMs: 5_000, queryMs: 5_000, messageMs: 0, accountingLagMs: 0 };
  const binDir = installFakeSlurm(join(base, "slurm"));
  const config = { slurm: { binDir, maxSubmissionsPerMinute: 60, killWaitMs: 0, limits } };
  const schedulerOf = createSchedulers({ config, clock: systemClock, log, user: "jo", beforeCommand: () => {} });
  await schedulerOf("slurm").cancel(ref, never);
  const command = `${config.slurm.binDir}/scancel --user=jo --name=${ref.name}`;
  expect(said).toEqual([["command", { command, exit: 0, ms: expect.any(Number) }]]);
  rmSync(base, { recursive: true, force: true });
});

describe("Submit", () => {
  /** What comes of a submission that Slurm answers with these words. */
  async function submitted(words: string, removed = false) {
    const base = mkdtempSync(join(tmpdir(), "emx2-effects-"));
    try {
      const binDir = installFakeSlurm(join(base, "slurm"));
      writeFileSync(join(base, "slurm", "fail-sbatch"), `1\nsbatch: error: ${words}\n`);
      const dir = join(base, "j1");
      mkdirSync(join(dir, ".emx2"), { recursive: true });
      if (removed) rmSync(dir, { recursive: true });
      let isDown = false;
      const told: string[] = [];
      const scheduler = createSlurm({ clock: systemClock, binDir, env: process.env, user: "jo" });
      const context = {
        files: createJobDirectory({ clock: systemClock, state, log: recordingLog([]) }),
        profileOf: () => hostProfile,
        holds: {
          refused: (_job: Job, cause: string) => void told.push(`refused ${cause}`),
          taken: () => void told.push("taken"),
          ...ofStarts(told),
        },
        busy: createBusy(systemClock),
        schedulerOf: () => scheduler,
        schedulerDown: () => {
          isDown = true;
        },
      };
      const effect = { kind: "Submit", ref: { ...ref, dir } } as const;
      const { result } = await submit(play(toTracked.slice(0, -1)), effect, context, never);
      return { result, isDown, told };
    } finally {
      rmSync(base, { recursive: true, force: true });
    }
  }

  test.each([
    "QOSMaxSubmitJobPerUserLimit",
    "Batch job submission failed: Required partition not available (inactive or drain)",
  ])("held up by %s waits a minute and holds up no other", async (words) => {
    const { result, isDown, told } = await submitted(words);
    const waits = { is: "retry", cause: expect.stringContaining(words), afterMs: 60_000, answered: true };
    expect(result).toMatchObject(waits);
    expect(isDown).toBe(false);
    expect(told).toEqual([]);
  });

  test("refused for its options counts for its profile, and is tried again", async () => {
    const words = "Batch job submission failed: Invalid account or account/partition combination specified";
    const { result, isDown, told } = await submitted(words);
    expect(result).toEqual({ is: "retry", cause: expect.stringContaining(words), answered: true });
    expect(told).toEqual([expect.stringContaining(words)]);
    expect(isDown).toBe(false);
  });

  test("is given up for a job whose directory was removed, and nothing is asked of Slurm", async () => {
    const { result, isDown } = await submitted("Unable to contact slurm controller", true);
    expect(result).toMatchObject({ is: "refused", cause: expect.stringContaining("was removed") });
    expect(isDown).toBe(false);
  });

  test("without a controller stops what would ask it for more", async () => {
    const { result, isDown } = await submitted("Unable to contact slurm controller (connect failure)");
    expect(result.is).toBe("retry");
    expect(isDown).toBe(true);
  });
});

describe("WriteScript", () => {
  test("of a job that can not be read writes none", async () => {
    const id = systemClock.uuid();
    const files = createMemoryFiles({ state });
    const client = createClient({
      baseUrl: "http://127.0.0.1",
      workerId: "w1",
      credential: { mode: "hmac", secret: () => "s" },
      clock: systemClock,
      fetch: async () => Response.json({ id, processor: "p", status: "CLAIMED", parameters: [1] }),
    });
    const context = {
      client,
      files,
      profileOf: () => hostProfile,
      apptainer: { command: "apptainer", binds: [] },
      sealMs: 0,
      isTrial: false,
    };
    const effect = { kind: "WriteScript", attempt: "a1" } as const;
    const { result } = await writeScript({ ...play(toTracked), id }, effect, { ...context, clock: systemClock }, never);
    expect(result).toEqual({ is: "refused", cause: "the job's parameters are not a JSON object" });
    expect(files.contentOf(ref.dir, ".emx2/parameters.json")).toBeUndefined();
  });
});

describe("CloseRun", () => {
  const cancelled = { ...succeeded, result: "cancelled", state: "CANCELLED", proof: "squeue" } as const;
  const lostSubmit = [...toTracked.slice(0, -2), submitting, ended({ kind: "Submit", ref }, doubt)];
  const inQueue = [...toTracked, observed(row("CANCELLED"))];

  async function directory() {
    const files = createMemoryFiles({ state });
    await files.create(ref.dir, { state, stateDir: "/state", host: "head", uid: 1 });
    const schedulerOf = () => createSimulate({ clock: systemClock });
    const told: string[] = [];
    const holds = { refused: () => {}, taken: () => {}, ...ofStarts(told) };
    return { files, stderrLinesInReports: 5, schedulerOf, clock: systemClock, holds, told };
  }

  test.each([
    ["that nobody saw start", inQueue, { kind: "CloseRun", ref: tracked, outcome: cancelled }],
    [
      "whose submission never arrived",
      lostSubmit,
      { kind: "CloseRun", ref, outcome: outcomeNeverSubmitted("cancelled", "") },
    ],
  ] as const)("of a run %s takes the attempt from it first", async (_, steps, effect) => {
    const context = await directory();
    expect((await closeRun(play(steps), effect, context, never)).result.is).toBe("ok");
    expect(context.files.linkAt(ref.dir, ".emx2/lease.a1")).toBe("closed");

    const late = await directory();
    late.files.symlink(ref.dir, ".emx2/lease.a1", "8");
    expect((await closeRun(play(steps), effect, late, never)).result).toEqual({
      ...{ is: "doubt", cause: "the run has just taken its lease" },
    });
  });

  test("of a run that has its lease closes it to another start of that run; that its workload has begun is told where it is known", async () => {
    const context = await directory();
    context.files.symlink(ref.dir, ".emx2/lease.a1", "7");
    const effect = { kind: "CloseRun", ref: tracked, outcome: succeeded } as const;
    const ends = async (receipts: Receipts) => {
      const steps = [...toTracked, observed(row("COMPLETED"), receipts)];
      expect((await closeRun(play(steps), effect, context, never)).result.is).toBe("ok");
      expect(context.files.linkAt(ref.dir, ".emx2/lease.a1")).toBe("closed.7");
    };
    await ends(exited(255));
    expect(context.told).toEqual([]);
    await ends(exited(0, { unstarted: false }));
    expect(context.told).toEqual(["begun 1000"]);
  });

  test("of a run whose image could not be started, whatever the job, counts towards holding its profile; stderr is not quoted", async () => {
    const context = { ...(await directory()), stderrLinesInReports: 0 };
    context.files.symlink(ref.dir, ".emx2/lease.a1", "7");
    await context.files.writeControl(ref.dir, [
      { name: "container-stderr.log", content: "FATAL:   mount source /data doesn't exist\n" },
    ]);
    const steps = [...toTracked, observed(row("COMPLETED"), exited(255, { unstarted: true }))];
    const outcome = { ...succeeded, result: "failed", state: "FAILED", exitCode: 255 } as const;
    const { result } = await closeRun(play(steps), { kind: "CloseRun", ref: tracked, outcome }, context, never);
    expect(context.told).toEqual(["unstarted 1000 /data, which is to be bound, is not there on the node"]);
    expect(result).toMatchObject({
      is: "ok",
      value: {
        stderrTail: [],
        said: { apptainer: { cause: "/data, which is to be bound, is not there on the node" } },
      },
    });
  });
});

function ofStarts(told: string[]) {
  return {
    unstarted: (_job: Job, cause: string, startedAt: number) => void told.push(`unstarted ${startedAt} ${cause}`),
    begun: (_job: Job, startedAt: number) => void told.push(`begun ${startedAt}`),
  };
}

test("CancelRun of a run that another program has named ends the one that its row shows, where EMX2 was never told its id", async () => {
  const base = mkdtempSync(join(tmpdir(), "emx2-effects-"));
  const asked: (readonly string[])[] = [];
  const binDir = installFakeSlurm(join(base, "slurm"));
  const onCommand = ({ argv }: { readonly argv: readonly string[] }) => void asked.push(argv.slice(1));
  const scheduler = createSlurm({ clock: systemClock, binDir, env: process.env, user: "jo", onCommand });
  const context = { schedulerOf: () => scheduler, schedulerDown: () => {} };
  const python = { ...ref, name: "emx2-j1", unreceipted: true } as const;
  const seen = play([...toTracked, observed(row("RUNNING", { schedulerId: "12" }))]);
  if (seen.run.stage !== "tracked") throw new Error(`the run is ${seen.run.stage}`);
  const job = { ...seen, run: { ...seen.run, ref: python } };
  expect((await cancelRun(job, { kind: "CancelRun", ref: python }, context, never)).result.is).toBe("ok");
  expect(asked).toEqual([["--user=jo", "--name=emx2-j1", "12"]]);
  rmSync(base, { recursive: true, force: true });
});
