/** Slurm's side of the port where it fails, lies or forgets, over the fake programs. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { type Profile, profileDefaults } from "../../../src/job/profile.ts";
import { type RunRef, runName } from "../../../src/job/run.ts";
import type { Scheduler } from "../../../src/scheduler/scheduler.ts";
import { createSlurm, type SlurmOptions } from "../../../src/scheduler/slurm.ts";
import { callsOf, installFakeSlurm } from "../../fake-slurm/install.ts";

/** Longer than any wait in here, on a busy machine. */
setDefaultTimeout(30_000);

const user = "jo";
const never = new AbortController().signal;
const profile: Profile = {
  ...{ key: "p", processor: "p", profile: "", workload: { kind: "host", entrypoint: "true" } },
  ...{ ...profileDefaults, allowedEnvironment: [] },
};

let dir = "";
let fake = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-slurm-"));
  fake = join(dir, "slurm");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function slurm(limits: SlurmOptions["limits"] = {}, beforeCommand = () => {}): Scheduler {
  const { PATH } = process.env;
  const env = { PATH, HOME: dir, USER: user, LOGNAME: user };
  return createSlurm({ clock: systemClock, binDir: installFakeSlurm(fake), env, user, limits, beforeCommand });
}

function run(jobId: string, rest: Partial<RunRef> = {}): RunRef {
  const ref = {
    jobId,
    attempt: "a1",
    name: runName(jobId),
    dir: join(dir, jobId),
    notBefore: systemClock.wall(),
    ...rest,
  };
  mkdirSync(join(ref.dir, ".emx2"), { recursive: true });
  writeFileSync(join(ref.dir, ".emx2", "job.sh"), "#!/bin/sh\nexec sleep 0\n", { mode: 0o700 });
  return ref;
}

/** A job of Slurm's that nobody submitted here. */
function known(id: number, name: string, { owner = user, ended = "", submittedS = systemClock.wall() / 1_000 } = {}) {
  const line = [id, owner, Math.floor(submittedS), name].join("\t");
  writeFileSync(join(fake, "jobs", `${id}.job`), `${line}\n`);
  if (ended !== "")
    appendFileSync(join(fake, "jobs", `${id}.end`), `${[id, ended, 0, 0, Math.floor(submittedS)].join("\t")}\n`);
}

const fault = (name: string, text: string) => writeFileSync(join(fake, name), text);

describe("submit", () => {
  test("what Slurm refuses comes back in its own words", async () => {
    const answer = await slurm().submit(run("j1"), { ...profile, partition: "nosuch" }, never);
    expect(answer.is).toBe("refused");
    expect(answer).toMatchObject({ cause: expect.stringContaining("Invalid partition name specified") });
  });

  test("an answer that was lost is in doubt, and the run is found by its name", async () => {
    const scheduler = slurm();
    const ref = run("j1");
    fault(
      "fail-after-sbatch",
      "1\nsbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n",
    );
    expect((await scheduler.submit(ref, profile, never)).is).toBe("doubt");
    expect(await scheduler.find(ref, never)).toEqual({ is: "found", schedulerId: "1" });
  });

  test("an sbatch that hangs is ended at its limit, and in doubt", async () => {
    const scheduler = slurm({ submitMs: 1_000 });
    fault("hang-sbatch", "30\n");
    expect((await scheduler.submit(run("j1"), profile, never)).is).toBe("doubt");
  });

  test("an sbatch that is under way when the daemon stops is in doubt at once, and lives on", async () => {
    const scheduler = slurm();
    const ref = run("j1");
    const stop = new AbortController();
    fault("hang-sbatch", "0.3\n");
    const answer = scheduler.submit(ref, profile, stop.signal);
    stop.abort();
    expect((await answer).is).toBe("doubt");
    const deadline = systemClock.mono() + 10_000;
    while ((await scheduler.find(ref, never)).is !== "found") {
      if (systemClock.mono() > deadline) throw new Error("sbatch did not live on");
      await systemClock.sleep(50);
    }
  });

  test("a directory that Slurm can not name in a pattern is refused before it is asked", async () => {
    const ref = { ...run("j1"), dir: join(dir, "a\\b") };
    expect((await slurm().submit(ref, profile, never)).is).toBe("refused");
  });
});

describe("states", () => {
  test("all runs are asked for with one squeue, and sacct is asked only for those that it does not know", async () => {
    const scheduler = slurm();
    const runs = Array.from({ length: 50 }, (_, index) => run(`j${index}`, { schedulerId: String(index + 1) }));
    for (const [index, ref] of runs.entries()) known(index + 1, ref.name);
    await scheduler.states(runs, never);
    expect(callsOf(fake)).toHaveLength(1);

    known(1, "emx2-j0", { ended: "COMPLETED" });
    fault("forget", "");
    const answer = await scheduler.states(runs, never);
    expect(callsOf(fake, "squeue")).toHaveLength(2);
    expect(callsOf(fake, "sacct")).toEqual([expect.stringContaining("--jobs=1 ")]);
    expect(answer.is === "answered" && answer.rows.get("j0")).toMatchObject({ source: "sacct", state: "COMPLETED" });
  });

  test("of an end that was none of the program's own sacct tells what squeue does not, and may be behind", async () => {
    const scheduler = slurm();
    const [killed, ended] = [run("j1", { schedulerId: "1" }), run("j2", { schedulerId: "2" })];
    known(1, killed.name, { ended: "CANCELLED" });
    known(2, ended.name, { ended: "COMPLETED" });
    const uid = process.getuid?.();
    const rows = async () => {
      const answer = await scheduler.states([killed, ended], never);
      return answer.is === "answered" ? [answer.rows.get("j1"), answer.rows.get("j2")] : [];
    };
    const inQueue = { source: "squeue", schedulerId: "1", name: killed.name, state: "CANCELLED" };
    expect((await rows())[0]).toMatchObject({ ...inQueue, cancelledBy: uid, exitCode: 0, signal: 0 });
    expect(callsOf(fake, "sacct")).toEqual([expect.stringContaining("--jobs=1 ")]);
    fault("fail-sacct", "1\nsacct: error: Problem talking to the database: Connection refused\n");
    expect((await rows())[0]).toMatchObject(inQueue);
    expect((await rows())[1]).toMatchObject({ source: "squeue", state: "COMPLETED" });
  });

  test("a row of another name or user is not ours, whatever its id", async () => {
    const scheduler = slurm();
    const [first, second] = [run("j1", { schedulerId: "1" }), run("j2", { schedulerId: "2" })];
    known(1, "emx2-j9");
    known(2, "emx2-j2", { owner: "root" });
    const rows = new Map([...[first, second].map((ref) => [ref.jobId, null] as const)]);
    expect(await scheduler.states([first, second], never)).toMatchObject({ is: "answered", rows });
  });

  test("a failed or unreadable squeue says nothing", async () => {
    const scheduler = slurm({ queryMs: 300 });
    const ref = run("j1", { schedulerId: "1" });
    known(1, ref.name);
    fault("fail-squeue", "1\nslurm_load_jobs error: Unable to contact slurm controller (connect failure)\n");
    expect(await scheduler.states([ref], never)).toMatchObject({
      ...{ is: "unavailable", cause: expect.stringContaining("Unable to contact slurm controller") },
    });
    rmSync(join(fake, "fail-squeue"));
    fault("hang-squeue", "30\n");
    expect(await scheduler.states([ref], never)).toMatchObject({ is: "unavailable" });
    rmSync(join(fake, "hang-squeue"));
    writeFileSync(join(fake, "bin", "squeue"), "#!/bin/sh\necho 'The cluster moved to https://new.example.org'\n");
    expect(await scheduler.states([ref], never)).toMatchObject({ is: "unavailable" });
  });

  test("where sacct fails, runs that squeue knows are answered and the others left out", async () => {
    const scheduler = slurm();
    const [alive, gone] = [run("j1", { schedulerId: "1" }), run("j2", { schedulerId: "2" })];
    known(1, alive.name);
    fault("fail-sacct", "1\nsacct: error: Problem talking to the database: Connection refused\n");
    const answer = await scheduler.states([alive, gone], never);
    expect(answer.is === "answered" && [...answer.rows.keys()]).toEqual(["j1"]);
    const unknown = await scheduler.states([gone], never);
    expect(unknown.is === "answered" && unknown.rows.size).toBe(0);
    expect((await scheduler.find(gone, never)).is).toBe("unavailable");
  });

  test("without accounting, what squeue does not know is absent", async () => {
    const scheduler = slurm();
    const ref = run("j1");
    fault("fail-sacct", "1\nSlurm accounting storage is disabled\n");
    const rows = new Map([["j1", null]]);
    expect(await scheduler.states([ref], never)).toEqual({ is: "answered", rows, live: new Map() });
    expect(await scheduler.find(ref, never)).toEqual({ is: "absent" });
  });
});

describe("find", () => {
  test("the lease is believed before any query", async () => {
    const scheduler = slurm();
    const ref = run("j1");
    symlinkSync("77", join(ref.dir, ".emx2", "lease.a1"));
    fault("fail-squeue", "1\ndown\n");
    expect(await scheduler.find(ref, never)).toEqual({ is: "found", schedulerId: "77" });
  });

  test("jobs of the same name that belong to another attempt, lost the lease, or ended before it was written, are not the run", async () => {
    const scheduler = slurm();
    const ref = run("j1", { attempt: "a2" });
    symlinkSync("5", join(ref.dir, ".emx2", "lease.a1"));
    writeFileSync(join(ref.dir, ".emx2", "lost.a2.6.0"), "{}");
    known(5, ref.name);
    known(6, ref.name);
    known(7, ref.name, { submittedS: ref.notBefore / 1_000 - 3_600, ended: "COMPLETED" });
    expect(await scheduler.find(ref, never)).toEqual({ is: "absent" });
    known(8, ref.name, { ended: "FAILED" });
    expect(await scheduler.find(ref, never)).toEqual({ is: "found", schedulerId: "8" });
    known(9, ref.name);
    known(10, ref.name, { ended: "FAILED" });
    expect(await scheduler.find(ref, never)).toEqual({ is: "found", schedulerId: "9" });
  });

  test("one that is still there is the run whatever our clock said when its script was written", async () => {
    const scheduler = slurm();
    const ref = run("j1");
    known(8, ref.name, { submittedS: ref.notBefore / 1_000 - 5 * 3_600 });
    expect(await scheduler.find(ref, never)).toEqual({ is: "found", schedulerId: "8" });
  });

  test("what squeue has forgotten is found in accounting", async () => {
    const scheduler = slurm();
    const ref = run("j1");
    known(3, ref.name, { ended: "COMPLETED" });
    fault("forget", "");
    expect(await scheduler.find(ref, never)).toEqual({ is: "found", schedulerId: "3" });
  });
});

test("a cancel ends every submission of the job, and no other's", async () => {
  const scheduler = slurm();
  const [ref, other] = [run("j1", { schedulerId: "1" }), run("j11")];
  known(1, ref.name);
  known(2, ref.name);
  known(3, other.name);
  known(4, ref.name, { owner: "ann" });
  expect(await scheduler.cancel(ref, never)).toEqual({ is: "asked" });
  const asked = readdirSync(join(fake, "jobs")).filter((name) => name.endsWith(".cancel"));
  expect(asked.sort()).toEqual(["1.cancel", "2.cancel"]);
});

test("a cancel of some ids ends those of the run's name and user alone", async () => {
  const scheduler = slurm();
  const ref = run("j1", { schedulerId: "1" });
  known(1, ref.name);
  known(2, ref.name);
  known(3, "emx2-j11");
  known(4, ref.name, { owner: "ann" });
  await scheduler.cancel(ref, never, ["2", "3", "4"]);
  const asked = readdirSync(join(fake, "jobs")).filter((name) => name.endsWith(".cancel"));
  expect(asked).toEqual(["2.cancel"]);
});

test("a cancel that Slurm did not take is to be asked again", async () => {
  const scheduler = slurm();
  fault(
    "fail-scancel",
    "8\nscancel: error: Kill job error on job id 1: Unable to contact slurm controller (connect failure)\n",
  );
  expect((await scheduler.cancel(run("j1", { schedulerId: "1" }), never)).is).toBe("unavailable");
});

test("where no command may be given any more, none is", async () => {
  const scheduler = slurm({}, () => {
    throw new Error("the state is another daemon's");
  });
  const ref = run("j1", { schedulerId: "1" });
  for (const ask of [
    () => scheduler.submit(ref, profile, never),
    () => scheduler.states([ref], never),
    () => scheduler.cancel(ref, never),
  ])
    await expect(ask()).rejects.toThrow("another daemon's");
  expect((["sbatch", "squeue", "sacct", "scancel"] as const).flatMap((command) => callsOf(fake, command))).toEqual([]);
});

test("the fence is never shorter than all that can delay a submission, and never below 120 s", () => {
  expect(slurm({ submitMs: 1_000, messageMs: 0, accountingLagMs: 0 }).fenceMs).toBe(120_000);
  expect(slurm().fenceMs).toBeGreaterThanOrEqual(60_000 + 30_000 + 90_000);
});
