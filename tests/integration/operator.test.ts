/** `status`, `explain` and `cancel`: what an operator sees of the jobs, and ends, with a daemon and without one. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callsOf } from "../fake-slurm/install.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 90_000;
const profiles = {
  copy: { program: 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"; echo copied' },
  long: { program: "echo begun; sleep 60" },
};
const input = { files: [{ path: "a.txt", content: "hello" }] };

async function said(stage: Stage, ...args: string[]) {
  const { exitCode, stdout, stderr } = await stage.start(...args).ended();
  return { exitCode, stdout, stderr };
}

async function stopped(run: Program): Promise<void> {
  run.kill();
  expect((await run.ended()).exitCode).toBe(0);
}

function ofJob(stdout: string, id: string) {
  const { jobs } = JSON.parse(stdout) as { jobs: { jobId: string }[] };
  return jobs.find(({ jobId }) => jobId === id);
}

test(
  "status and explain tell of a running daemon's jobs, ask nobody, and change nothing",
  async () => {
    await using stage = await openStage({ profiles });
    const done = stage.submit("copy", input);
    const run = stage.start("run");
    await stage.untilStatus(done, "COMPLETED");
    writeFileSync(join(stage.slurmDir, "hold"), "");
    const waits = stage.submit("long");
    await stage.untilStatus(waits, "SUBMITTED");
    const shown = await stage.until(
      "the snapshot shows it in the queue",
      async () => {
        const { stdout } = await said(stage, "status", "--all", "--json");
        const row = ofJob(stdout, waits);
        return row && "slurmState" in row && row.slurmState === "PENDING" ? stdout : undefined;
      },
      40_000,
    );
    expect(ofJob(shown, done)).toMatchObject({ status: "COMPLETED", stage: "done: COMPLETED", slurmJobId: "1" });
    expect(ofJob(shown, waits)).toMatchObject({ status: "SUBMITTED", stage: "PENDING (Priority)", slurmJobId: "2" });
    expect(JSON.parse(shown)).toMatchObject({
      daemon: { is: "held", holder: expect.stringContaining(`process ${run.pid} on `) },
      emx2: { url: stage.url, reachable: true },
      schedulers: [{ backend: "slurm", answers: true }],
      counts: { queued: 1, done: 1 },
    });

    run.kill("SIGSTOP");
    const before = { requests: [...stage.requests], calls: callsOf(stage.slurmDir), files: filesOf(stage) };
    const text = await said(stage, "status");
    expect([text.exitCode, text.stderr]).toEqual([0, ""]);
    expect(text.stdout).toMatch(new RegExp(`^daemon +process ${run.pid} on `, "m"));
    expect(text.stdout).toMatch(new RegExp(`^${waits.slice(0, 8)} +long/default +PENDING \\(Priority\\) .* 2 `, "m"));
    const { stdout: story } = await said(stage, "explain", done.slice(0, 6));
    expect(story).toContain(`job         ${done}\n`);
    const history = story.slice(story.indexOf("history ("));
    const told = ["claimed", "1 input file to stage", "submitted as 1", "receipt: exit code 0", "ended: COMPLETED"];
    const places = [...told, "logs COMMITTED", "outputs COMMITTED", "reported COMPLETED"].map((it) =>
      history.indexOf(it),
    );
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(places[0]).toBeGreaterThan(0);
    expect({ requests: [...stage.requests], calls: callsOf(stage.slurmDir), files: filesOf(stage) }).toEqual(before);
    run.kill("SIGCONT");
  },
  testMs,
);

/** Of the state directory, with their contents; the lease is a link. */
function filesOf({ stateDir }: Stage) {
  const files = readdirSync(stateDir, { withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map(({ name }) => [name, readFileSync(join(stateDir, name)).toString("base64")]);
}

test(
  "cancel with a daemon: it is taken at once, Slurm's job ends, and EMX2 hears who wanted it",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("long");
    const run = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    const { exitCode, stdout } = await said(stage, "cancel", id);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`job ${id} is being ended by process ${run.pid} on `);
    await stage.untilStatus(id, "CANCELLED");
    expect(statusesOf(stage.job(id))).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "CANCELLED"]);
    expect(stage.job(id).transitions.at(-1)?.detail).toMatch(/cancelled by the operator of this worker \(.*uid \d+\)/);
    expect(existsSync(join(stage.slurmDir, "jobs", "1.end"))).toBe(true);
    expect(readdirSync(join(stage.stateDir, "requests"))).toEqual([]);

    await stopped(run);
    const again = await said(stage, "cancel", id);
    expect([again.exitCode, again.stderr]).toEqual([1, `job ${id} has ended: reported CANCELLED\n`]);
    const story = await said(stage, "explain", id);
    expect(story.stdout).toContain("to be ended: cancelled by the operator of this worker");
    expect(story.stdout).toContain("none runs: this is how it was");
  },
  testMs,
);

test(
  "cancel without a daemon: it does it itself, claims nothing, and lets the state go",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("long");
    await stage.until("once has seen it running", async () => {
      expect((await said(stage, "once")).exitCode).toBe(0);
      return stage.job(id).status === "STARTED";
    });
    const other = stage.submit("copy", input);
    const { exitCode, stdout } = await said(stage, "cancel", id);
    expect([exitCode, stdout]).toEqual([0, `job ${id} is ended: EMX2 says CANCELLED\n`]);
    expect(stage.job(id).status).toBe("CANCELLED");
    expect(stage.job(other).status).toBe("PENDING");
    expect((await said(stage, "once")).exitCode).toBe(0);
  },
  testMs,
);

test(
  "cancel while EMX2 is away and no daemon runs: the run ends, and the next cycle reports it",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("long");
    await stage.until("once has seen it running", async () => {
      expect((await said(stage, "once")).exitCode).toBe(0);
      return stage.job(id).status === "STARTED";
    });
    await stage.disconnect();
    const { exitCode, stdout } = await stage.start("cancel", id).ended(40_000);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/is to be ended, and is not yet: .*; the next run or once goes on with it/);
    expect(existsSync(join(stage.slurmDir, "jobs", "1.end"))).toBe(true);
    await stage.reconnect();
    await stage.until("EMX2 has heard of it", async () => {
      await said(stage, "once");
      return stage.job(id).status === "CANCELLED";
    });
  },
  testMs,
);

test(
  "cancel beside a daemon that does not move: the request lies there, and is taken when it does",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("long");
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    await stopped(first);
    const run = stage.start("run");
    await stage.until("it holds the state", () => run.stderr().includes("started"));
    run.kill("SIGSTOP");
    const { exitCode, stdout } = await said(stage, "cancel", id);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(
      `has not taken the request yet; it lies in ${join(stage.stateDir, "requests")} until it is`,
    );
    expect(readdirSync(join(stage.stateDir, "requests"))).toHaveLength(1);
    run.kill("SIGCONT");
    await stage.untilStatus(id, "CANCELLED");
  },
  testMs,
);

test(
  "words that name no job end with 1 and say what was looked at; none was ever tracked is said too",
  async () => {
    await using stage = await openStage({ profiles });
    for (const args of [["status"], ["explain", "abcd"], ["cancel", "abcd"]]) {
      const { exitCode, stderr } = await said(stage, ...args);
      expect([exitCode, stderr]).toEqual([
        1,
        expect.stringContaining("neither run nor once has worked with this state"),
      ]);
    }
    expect(existsSync(stage.stateDir)).toBe(false);
    const ids = [stage.submit("long"), stage.submit("long")];
    await said(stage, "once");
    for (const command of ["explain", "cancel"]) {
      const unknown = await said(stage, command, "zzzz");
      const where = `no job begins with "zzzz" among the 2 jobs in ${stage.stateDir}\n`;
      expect([unknown.exitCode, unknown.stderr]).toEqual([1, where]);
      const whole = await said(stage, "cancel", crypto.randomUUID());
      expect([whole.exitCode, whole.stderr]).toEqual([1, expect.stringContaining("is not tracked here")]);
      const short = await said(stage, command, ids[0]?.slice(0, 3) ?? "");
      expect([short.exitCode, short.stderr]).toEqual([2, expect.stringContaining("at least its first 4 characters")]);
      expect((await said(stage, command)).stderr).toContain("needs JOB");
    }
    mkdirSync(join(stage.stateDir, "requests"), { recursive: true });
    expect(readdirSync(join(stage.stateDir, "requests"))).toEqual([]);
  },
  testMs,
);
