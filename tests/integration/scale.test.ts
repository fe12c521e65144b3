/** Many jobs: with answers of EMX2 that get lost, and running while the daemon is not. Prints what it cost. */
import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { isTerminal } from "../../src/job/status.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { artifactsOf, committed } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";
import { endWell, layDownRunning } from "./running-jobs.ts";

const wholeLife = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"];

/** Numbers in [0, 1) that are the same each time: xorshift. */
function chanceFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Cuts the connection at this part of all requests, half of them before EMX2 has acted and half after. */
function loseAnswers(stage: Stage, part: number): () => number {
  const chance = chanceFrom(20_261_122);
  let lost = 0;
  stage.around = async (_request, answer) => {
    const drawn = chance();
    if (drawn >= part) return answer();
    lost += 1;
    if (drawn >= part / 2) await answer();
    throw new Error("cut");
  };
  return () => lost;
}

test("500 jobs with 2 % of EMX2's answers lost: 500 COMPLETED, each run once, each output committed", async () => {
  const jobs = 500;
  const worker = { poll_interval_seconds: 0.5, max_concurrent_jobs: 50 };
  const program = 'printf "%s" "$HPC_JOB_ID" >"$HPC_OUTPUT_DIR/id.txt"';
  await using stage = await openStage({ profiles: { mark: { program } }, worker });
  const lost = loseAnswers(stage, 0.02);
  const ids = Array.from({ length: jobs }, () => stage.submit("mark"));
  const begun = systemClock.mono();
  const daemon = stage.start("run");
  const done = () => ids.every((id) => stage.job(id).status === "COMPLETED");
  await stage.until(`${jobs} jobs are COMPLETED`, done, 200_000);
  const orphans = [...stage.state.artifacts.values()].filter(({ status }) => status !== "COMMITTED");
  const figures = {
    wallS: Math.round((systemClock.mono() - begun) / 100) / 10,
    requests: stage.requests.length,
    lost: lost(),
    orphans: orphans.length,
    sbatch: callsOf(stage.slurmDir, "sbatch").length,
    squeue: callsOf(stage.slurmDir, "squeue").length,
    sacct: callsOf(stage.slurmDir, "sacct").length,
    cpuS: daemon.cpuSeconds(),
  };
  console.log(`${jobs} jobs, 2 % of answers lost: ${JSON.stringify(figures)}`);

  expect(lost()).toBeGreaterThan(jobs * 5 * 0.02);
  expect(stage.ledger().sort()).toEqual([...ids].sort());
  expect(figures.sbatch).toBe(jobs);
  // What a lost answer to a create leaves behind is empty.
  expect(orphans.map(({ files }) => files.size).filter((files) => files > 0)).toEqual([]);
  for (const id of ids) {
    const job = stage.job(id);
    expect(statusesOf(job)).toEqual(wholeLife);
    expect(job.transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
    expect(artifactsOf(stage, "output", id).filter(({ status }) => status === "COMMITTED")).toHaveLength(1);
    expect(new TextDecoder().decode(committed(stage, job.outputArtifactId).get("id.txt"))).toBe(id);
  }
}, 240_000);

test("1,000 running jobs at a restart: none is forgotten, and a cycle is a handful of requests and one squeue", async () => {
  const jobs = 1_000;
  const cycles = 5;
  const worker = { poll_interval_seconds: 1, max_concurrent_jobs: jobs, heartbeat_interval_seconds: 600 };
  await using stage = await openStage({ profiles: { mark: { program: ":", seal_outputs: false } }, worker });
  const ids = layDownRunning(stage, "mark", jobs);
  const daemon = stage.start("run");
  const squeues = () => callsOf(stage.slurmDir, "squeue").length;
  await stage.until(`${cycles} cycles are over`, () => squeues() > cycles, 60_000);
  const looks = () => stage.requests.filter((line) => line.includes("status=SUBMITTED")).length;
  const figures = {
    cycles: squeues(),
    looks: looks(),
    requests: stage.requests.length,
    sacct: callsOf(stage.slurmDir, "sacct").length,
    processes: callsOf(stage.slurmDir).length,
    cpuS: daemon.cpuSeconds(),
    peakMB: Math.round(daemon.peakBytes() / 1e6),
  };
  console.log(`${jobs} jobs at a restart: ${JSON.stringify(figures)}`);
  // CLAIMED and SUBMITTED are one page each, STARTED two; the first look takes them twice, to find what else is ours.
  const requestsALook = 4;
  expect(figures.requests).toBeLessThanOrEqual((figures.looks + 1) * requestsALook + 5);
  expect(figures.sacct).toBe(0);
  expect(stage.requests.filter((line) => /^(POST|PUT)/.test(line) && !/\/workers\//.test(line))).toEqual([]);

  const ending = ids.filter((_, index) => index % 100 === 50);
  for (const id of ending) endWell(stage, id, stage.job(id).slurmJobId ?? "", id);
  await stage.until(
    "those that have ended are COMPLETED",
    () => ending.every((id) => stage.job(id).status === "COMPLETED"),
    60_000,
  );
  for (const id of ending)
    expect(new TextDecoder().decode(committed(stage, stage.job(id).outputArtifactId).get("result.txt"))).toBe(id);
  const going = ids.filter((id) => !ending.includes(id));
  expect(going.filter((id) => stage.job(id).status !== "STARTED")).toEqual([]);
  daemon.kill();
  expect((await daemon.ended()).exitCode).toBe(0);
  const status = stage.start("status", "--json");
  const { stdout } = await status.ended();
  expect(going.filter((id) => !stdout.includes(id))).toEqual([]);
}, 180_000);
