/** A profile whose submissions Slurm refuses, through the executable: held, restarted, mended, and the others go on. */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { callsOf } from "../fake-slurm/install.ts";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const program = 'printf "%s" "$HPC_JOB_ID" >"$HPC_OUTPUT_DIR/id.txt"';
const profiles = { gpu: { program, partition: "nosuch", max_concurrent_jobs: 4 }, cpu: { program } };

const refused = (stage: Stage) =>
  callsOf(stage.slurmDir, "sbatch").filter((call) => call.includes("--partition=nosuch")).length;
const statuses = (stage: Stage, ids: readonly string[]) => ids.map((id) => stage.job(id).status);
const known = (stage: Stage) =>
  stage.state.workers.get(stage.workerId)?.capabilities.map(({ processor }) => processor) ?? [];
const holds = (daemon: Program) =>
  daemon
    .stderr()
    .split("\n")
    .filter((line) => line.includes("the profile is held"));

/** Changes what the configuration says. */
function mend({ configFile }: Stage, from: string, to: string): void {
  const text = readFileSync(configFile, "utf8");
  expect(text).toContain(from);
  writeFileSync(configFile, text.replace(from, to));
}

/** The daemon has looked at EMX2 this often, begun to end. */
async function looks(stage: Stage, count: number): Promise<void> {
  const seen = () => stage.requests.filter((request) => request.startsWith("GET /api/hpc/jobs?status=PENDING")).length;
  const before = seen();
  await stage.until(`${count} looks at EMX2`, () => seen() > before + count);
}

async function ended(daemon: Program): Promise<void> {
  daemon.kill("SIGTERM");
  expect((await daemon.ended()).exitCode).toBe(0);
}

test(
  "three refusals hold a profile: nothing is claimed for it, the others go on, and EMX2 is told",
  async () => {
    await using stage = await openStage({ profiles });
    const gpu = Array.from({ length: 8 }, () => stage.submit("gpu"));
    const cpu = [stage.submit("cpu"), stage.submit("cpu")];
    const daemon = stage.start("run");
    for (const id of cpu) await stage.untilStatus(id, "COMPLETED");
    await stage.until("the hold is registered", () => known(stage).join() === "cpu");
    expect(refused(stage)).toBeGreaterThanOrEqual(3);
    // Submissions in flight when the third was refused are refused too.
    expect(refused(stage)).toBeLessThanOrEqual(4);
    const [line, ...more] = holds(daemon);
    expect(more).toEqual([]);
    expect(line).toMatch(/error.*gpu\/default.*nvalid partition/);

    // Two slots of the profile are free again, and stay so.
    const here = gpu.filter((id) => stage.job(id).status === "CLAIMED");
    expect(here).toHaveLength(4);
    for (const id of here.slice(0, 2)) {
      const job = stage.state.jobs.get(id);
      if (job) job.status = "CANCELLED";
    }
    const before = refused(stage);
    await looks(stage, 3);
    const late = stage.submit("cpu");
    await stage.untilStatus(late, "COMPLETED");
    expect(statuses(stage, gpu).filter((status) => status === "PENDING")).toHaveLength(4);
    expect(refused(stage)).toBe(before);
  },
  testMs,
);

test(
  "a restart keeps the hold, a change that mends nothing is tried once, and one that mends it ends it",
  async () => {
    await using stage = await openStage({ profiles });
    const gpu = Array.from({ length: 6 }, () => stage.submit("gpu"));
    const first = stage.start("run");
    await stage.until("the hold is registered", () => known(stage).join() === "cpu");
    await ended(first);

    const tries = refused(stage);
    const second = stage.start("run");
    await looks(stage, 3);
    expect(refused(stage)).toBe(tries);
    expect(known(stage)).toEqual(["cpu"]);
    await ended(second);

    mend(stage, '"partition": "nosuch"', '"partition": "nosuch", "qos": "other"');
    const third = stage.start("run");
    await stage.until("it is tried", () => refused(stage) === tries + 1);
    await looks(stage, 3);
    expect(refused(stage)).toBe(tries + 1);
    await ended(third);

    mend(stage, '"partition": "nosuch"', '"partition": "normal"');
    const fourth = stage.start("run");
    for (const id of gpu) await stage.untilStatus(id, "COMPLETED", 30_000);
    expect(stage.ledger().sort()).toEqual([...gpu].sort());
    expect(known(stage)).toEqual(["gpu", "cpu"]);
    expect(fourth.stderr()).toContain("no longer held");
  },
  testMs,
);

test(
  "a limit that passes holds nothing",
  async () => {
    await using stage = await openStage({ profiles: { cpu: { program } } });
    writeFileSync(
      `${stage.slurmDir}/fail-sbatch`,
      "1\nsbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy\n",
    );
    // All that may be under way at once are, before the first is answered.
    writeFileSync(`${stage.slurmDir}/hang-sbatch`, "1\n");
    const ids = Array.from({ length: 5 }, () => stage.submit("cpu"));
    const daemon = stage.start("run");
    // More than hold a profile that is refused; the last one waits instead of trying too.
    await stage.until("four were tried", () => callsOf(stage.slurmDir, "sbatch").length === ids.length - 1);
    const count = (what: string) => daemon.stderr().split(what).length - 1;
    await stage.until("four were refused", () => count("submitting did not go through") === ids.length - 1);
    await looks(stage, 3);
    expect(known(stage)).toEqual(["cpu"]);
    expect(holds(daemon)).toEqual([]);
  },
  testMs,
);

test(
  "EMX2 that was restored from a backup and has lost what the worker can run is told again",
  async () => {
    await using stage = await openStage({ profiles: { cpu: { program } } });
    const daemon = stage.start("run");
    await stage.until("it is registered", () => known(stage).join() === "cpu");
    const worker = stage.state.workers.get(stage.workerId);
    if (worker) Object.assign(worker, { capabilities: [] });
    stage.submit("cpu");
    await stage.until("it is registered anew", () => known(stage).join() === "cpu");
    expect(daemon.stderr()).toContain("does not know any more what this worker can run");
    const registrations = () => stage.requests.filter((request) => request.endsWith("/workers/register")).length;
    expect(registrations()).toBe(2);
    const id = stage.submit("cpu");
    await stage.untilStatus(id, "COMPLETED");
    expect(registrations()).toBe(2);
  },
  testMs,
);
