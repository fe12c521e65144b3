/** Jobs that EMX2 calls ours and no state of ours knows: left alone, and carried on when the operator says so. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { cancelJob } from "../../src/emulator/submitter.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { committed, committedInPlace } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const input = { files: [{ path: "a.txt", content: "hello" }] };
const worker = { receipt_wait_seconds: 0.2 };
const warning = "EMX2 calls the job ours";

/** A job that is this worker's at EMX2. */
function ours(stage: Stage, status: "CLAIMED" | "SUBMITTED" | "STARTED", slurmJobId: string | null = null): string {
  const id = stage.submit("copy", input);
  const workerId = stage.workerId;
  Object.assign(stage.job(id), { status, workerId, slurmJobId, claimedAt: systemClock.wall() });
  return id;
}

const warnings = (daemon: Program) =>
  daemon
    .stderr()
    .split("\n")
    .filter((line) => line.includes(warning));

/** Some cycles with the daemon, and what it has said. */
async function someCycles(stage: Stage, daemon: Program): Promise<void> {
  const lists = () => stage.requests.filter((request) => request.includes("status=PENDING")).length;
  const before = lists();
  await stage.until("some cycles have passed", () => lists() > before + 4);
  expect(daemon.exitCode()).toBeUndefined();
}

async function expectUntouched(stage: Stage, id: string, next: string): Promise<void> {
  const { status, transitions } = stage.job(id);
  const told = transitions.length;
  const daemon = stage.start("run");
  await someCycles(stage, daemon);
  expect(warnings(daemon)).toHaveLength(1);
  expect(warnings(daemon)[0]).toContain(id);
  expect(warnings(daemon)[0]).toContain(next);
  expect(stage.job(id).status).toBe(status);
  expect(stage.job(id).transitions).toHaveLength(told);
  expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(0);
  expect(callsOf(stage.slurmDir, "scancel")).toHaveLength(0);
  daemon.kill();
  expect((await daemon.ended()).exitCode).toBe(0);
}

async function expectCompleted(stage: Stage, id: string): Promise<void> {
  await stage.untilStatus(id, "COMPLETED", 40_000);
  expect(stage.ledger()).toEqual([id]);
  expect(new TextDecoder().decode(committed(stage, stage.job(id).outputArtifactId).get("copy.bin"))).toBe("hello");
}

test(
  "neither directory nor Slurm knows it: left alone and said once; with --take-over run as if just claimed",
  async () => {
    await using stage = await openStage();
    const id = ours(stage, "CLAIMED");
    await expectUntouched(stage, id, "--take-over");
    expect(readdirSync(stage.jobsDir)).toEqual([]);
    stage.start("run", "--take-over");
    await expectCompleted(stage, id);
    expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(1);
  },
  testMs,
);

test(
  "another worker's job is never looked at, with --take-over neither",
  async () => {
    await using stage = await openStage();
    const id = ours(stage, "STARTED", "7");
    stage.job(id).workerId = "another";
    const daemon = stage.start("run", "--take-over");
    await someCycles(stage, daemon);
    expect(warnings(daemon)).toEqual([]);
    expect(stage.requests.filter((request) => request.includes(id))).toEqual([]);
    expect(stage.job(id).status).toBe("STARTED");
  },
  testMs,
);

test(
  "no profile is configured for it: left alone, with --take-over too",
  async () => {
    await using stage = await openStage();
    const id = ours(stage, "STARTED", "7");
    Object.assign(stage.job(id), { profile: "gone" });
    const daemon = stage.start("run", "--take-over");
    await stage.until("it is said", () => warnings(daemon).length > 0);
    expect(warnings(daemon)[0]).toContain("copy/gone");
    await someCycles(stage, daemon);
    expect(stage.job(id).status).toBe("STARTED");
  },
  testMs,
);

test(
  "its directory has an owner of which nothing here can tell: left alone; with --take-over carried on",
  async () => {
    await using stage = await openStage();
    const id = ours(stage, "CLAIMED");
    const control = join(stage.jobsDir, id, ".emx2");
    mkdirSync(control, { recursive: true });
    const owner = { state: "another", stateDir: join(stage.dir, "elsewhere"), host: "login9", uid: 0 };
    writeFileSync(join(control, "owner"), JSON.stringify(owner));
    await expectUntouched(stage, id, "--take-over");
    stage.start("run", "--take-over");
    await expectCompleted(stage, id);
  },
  testMs,
);

test(
  "posix outputs are where the script put them, or the job is left alone",
  async () => {
    const program =
      'until [ -e "$(dirname "$0")/../go" ]; do sleep 0.05; done; printf hello >"$HPC_OUTPUT_DIR/copy.bin"';
    const keys = { output_residence: "posix", posix_output_dir: "results" };
    await using stage = await openStage({ directories: ["results"], profiles: { copy: { program, ...keys } } });
    const id = stage.submit("copy", input);
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    first.kill("SIGKILL");
    await first.ended();
    rmSync(stage.stateDir, { recursive: true });
    const base = join(stage.jobsDir, id, ".emx2", "output-base");
    const said = readFileSync(base, "utf8");
    writeFileSync(base, `${join(stage.dir, "home")}\n`);
    const second = stage.start("run", "--take-over");
    await stage.until("it is left alone", () => warnings(second)[0]?.includes("posix_output_dir"));
    second.kill();
    await second.ended();
    writeFileSync(base, said);
    stage.start("run");
    letGo(stage);
    await stage.untilStatus(id, "COMPLETED");
    expect([...committedInPlace(stage, stage.job(id).outputArtifactId).keys()]).toEqual(["copy.bin"]);
  },
  testMs,
);

/** As the Python daemon leaves a job that it has submitted: its name, its directory, and no `.emx2/`. */
function python(stage: Stage, id: string, program: string): string {
  const dir = pythonDirectory(stage, id);
  const script = join(stage.dir, "programs", `${id}.sh`);
  const lines = ["#!/bin/sh", `echo ${id} >>'${join(stage.dir, "ledger")}'`, program, ""];
  writeFileSync(script, lines.join("\n"), { mode: 0o755 });
  const name = `--job-name=emx2-${id.slice(0, 8)}`;
  const log = `--output=${join(dir, "output")}/slurm-%j.out`;
  const argv = [join(stage.slurmDir, "bin", "sbatch"), name, `--chdir=${join(dir, "work")}`, log, script];
  const user = Bun.spawnSync(["id", "-un"]).stdout.toString().trim();
  const made = Bun.spawnSync(argv, { env: { PATH: process.env["PATH"] ?? "", USER: user } });
  rmSync(join(stage.slurmDir, "calls.log"));
  return made.stdout.toString().trim();
}

function pythonDirectory(stage: Stage, id: string): string {
  const dir = join(stage.jobsDir, id);
  for (const part of ["input", "output", "work"]) mkdirSync(join(dir, part), { recursive: true });
  return dir;
}

const pythonProgram = (stage: Stage) => `
  until [ -e '${join(stage.dir, "go")}' ]; do sleep 0.05; done
  printf hello >../output/copy.bin`;
const letGo = (stage: Stage) => writeFileSync(join(stage.dir, "go"), "");

test(
  "the Python daemon's running job: left alone, and with --take-over followed to its end",
  async () => {
    await using stage = await openStage({ worker });
    const id = ours(stage, "CLAIMED");
    const slurmJobId = python(stage, id, pythonProgram(stage));
    Object.assign(stage.job(id), { status: "STARTED", slurmJobId });
    await expectUntouched(stage, id, "--take-over");
    stage.start("run", "--take-over");
    await stage.until("it is ours", () => existsSync(join(stage.jobsDir, id, ".emx2", "owner")));
    letGo(stage);
    await expectCompleted(stage, id);
    expect(callsOf(stage.slurmDir, "sbatch")).toEqual([]);
    expect([...committed(stage, stage.job(id).logArtifactId).keys()]).toEqual([`slurm-${slurmJobId}.out`]);
  },
  testMs,
);

test(
  "the Python daemon's job that waits in the queue, while another job bears the same short name",
  async () => {
    await using stage = await openStage({ worker });
    writeFileSync(join(stage.slurmDir, "hold"), "");
    const id = ours(stage, "CLAIMED");
    const slurmJobId = python(stage, id, pythonProgram(stage));
    const other = python(stage, id, "exit 3");
    Object.assign(stage.job(id), { status: "SUBMITTED", slurmJobId });
    const daemon = stage.start("run", "--take-over");
    await stage.until("it is taken in", () => daemon.stderr().includes("is carried on"));
    cancelJob(stage.state, id);
    await stage.until("it is cancelled", () => existsSync(join(stage.slurmDir, "jobs", `${slurmJobId}.end`)));
    expect(existsSync(join(stage.slurmDir, "jobs", `${other}.cancel`))).toBe(false);
    rmSync(join(stage.slurmDir, "hold"));
  },
  testMs,
);

test(
  "the Python daemon had submitted it and EMX2 does not know: found by name, and not submitted again",
  async () => {
    await using stage = await openStage({ worker });
    const id = ours(stage, "CLAIMED");
    python(stage, id, pythonProgram(stage));
    letGo(stage);
    expect((await stage.start("once", "--take-over").ended()).exitCode).toBe(0);
    stage.start("run");
    await expectCompleted(stage, id);
    expect(callsOf(stage.slurmDir, "sbatch")).toEqual([]);
  },
  testMs,
);

test(
  "the Python daemon's job ended badly while nobody looked: FAILED with what Slurm says",
  async () => {
    await using stage = await openStage({ worker });
    const id = ours(stage, "CLAIMED");
    const slurmJobId = python(stage, id, "exit 3");
    Object.assign(stage.job(id), { status: "STARTED", slurmJobId });
    await stage.until("it has ended", () => existsSync(join(stage.slurmDir, "jobs", `${slurmJobId}.end`)));
    stage.start("run", "--take-over");
    await stage.untilStatus(id, "FAILED");
    expect(stage.job(id).transitions.at(-1)?.detail).toContain("exit_code=3:0");
  },
  testMs,
);

test(
  "a directory whose owner had this very state directory is taken without being told to",
  async () => {
    await using stage = await openStage();
    const id = ours(stage, "CLAIMED");
    const control = join(stage.jobsDir, id, ".emx2");
    mkdirSync(control, { recursive: true });
    const owner = { state: "lost", stateDir: stage.stateDir, host: hostname(), uid: 0 };
    writeFileSync(join(control, "owner"), JSON.stringify(owner));
    stage.start("run");
    await expectCompleted(stage, id);
  },
  testMs,
);
