/** As many jobs as a busy site has at once. */
import { expect, test } from "bun:test";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { artifactsOf, committed } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";

const jobs = 500;
const pollMs = 1_000;
const testMs = 240_000;

/**
 * From now on squeue writes down when each call begins and ends, in milliseconds. Gives the times between the end of one
 * and the begin of the next: below zero where two ran at once.
 */
function watchSqueue({ slurmDir }: Stage): () => number[] {
  const squeue = join(slurmDir, "bin", "squeue");
  const times = join(slurmDir, "times");
  const watch = `begin=$(date +%s%3N); trap "echo $begin "'$(date +%s%3N) >>${times}' EXIT`;
  const [first = "", ...rest] = readFileSync(squeue, "utf8").split("\n");
  const script = [first, watch, ...rest].join("\n").replace(/^exec awk/m, "awk");
  writeFileSync(`${squeue}.new`, script, { mode: 0o755 });
  renameSync(`${squeue}.new`, squeue);
  return () => {
    const calls = readFileSync(times, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" ").map(Number));
    const byBegin = calls.sort(([a = 0], [b = 0]) => a - b);
    return byBegin.slice(1).map(([begin = 0], index) => begin - (byBegin[index]?.[1] ?? 0));
  };
}

test(
  `${jobs} jobs at once: all COMPLETED, each run once, one squeue a cycle and never two at a time`,
  async () => {
    const program = 'sleep 3; printf "%s" "$HPC_JOB_ID" >"$HPC_OUTPUT_DIR/id.txt"';
    const worker = { poll_interval_seconds: pollMs / 1_000, max_concurrent_jobs: jobs };
    await using stage = await openStage({ profiles: { mark: { program } }, worker });
    const pauses = watchSqueue(stage);
    const ids = Array.from({ length: jobs }, () => stage.submit("mark"));
    const begun = systemClock.mono();
    const daemon = stage.start("run");
    const done = () => ids.filter((id) => stage.job(id).status === "COMPLETED").length;
    await stage.until(`${jobs} jobs are COMPLETED`, () => done() === jobs, testMs - 20_000);
    const wallMs = systemClock.mono() - begun;
    const figures = {
      wallS: Math.round(wallMs / 100) / 10,
      requests: stage.requests.length,
      sbatch: callsOf(stage.slurmDir, "sbatch").length,
      squeue: callsOf(stage.slurmDir, "squeue").length,
      longestCycleS: Math.max(...pauses()) / 1_000,
      sacct: callsOf(stage.slurmDir, "sacct").length,
      cpuS: daemon.cpuSeconds(),
      peakMB: Math.round(daemon.peakBytes() / 1e6),
    };
    console.log(`${jobs} jobs: ${JSON.stringify(figures)}`);

    expect(stage.ledger().sort()).toEqual([...ids].sort());
    expect(figures.sbatch).toBe(jobs);
    // A cycle begins no sooner than the interval, less its jitter of a tenth, after the one before it.
    expect(figures.squeue).toBeGreaterThan(2);
    expect(Math.min(...pauses())).toBeGreaterThan(pollMs * 0.8);
    for (const id of ids) {
      expect(artifactsOf(stage, "output", id)).toHaveLength(1);
      expect(new TextDecoder().decode(committed(stage, stage.job(id).outputArtifactId).get("id.txt"))).toBe(id);
    }
    expect(figures.peakMB).toBeLessThan(400);
  },
  testMs,
);
