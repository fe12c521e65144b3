/** The whole course of a job on a real Slurm, for both generations of EMX2 and both residences, and what is told meanwhile. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { courseOptions, expectCourse, generations, residences, submitCourse } from "../course.ts";
import { onRealSlurm, openSlurmStage, type SlurmStage, slurmBoundMs } from "./real-slurm.ts";
import { isGone, stepOf, untilItMayRunAgain } from "./steps.ts";

const table = generations.flatMap((generation) => residences.map((residence) => [generation, residence] as const));
const untilToldTo = 'while [ ! -e "$HPC_WORK_DIR/go-on" ]; do sleep 0.2; done';

async function untilSaid(stage: SlurmStage, id: string, words: RegExp): Promise<string> {
  const details = () => stage.job(id).transitions.map(({ detail }) => detail ?? "");
  const look = () => details().find((detail) => words.test(detail));
  return stage.until(`EMX2 has read ${words}, not only\n${details().join("\n")}`, look, slurmBoundMs);
}

onRealSlurm("a job's whole course", () => {
  test.each(table)("EMX2 %s, %s", async (generation, residence) => {
    await using stage = await openSlurmStage(courseOptions(generation, residence));
    const id = submitCourse(stage, residence);
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    expectCourse(stage, id, residence, false);
    expect(stage.slurmJobs(id)).toEqual([{ id: stage.job(id).slurmJobId ?? "none", state: "COMPLETED" }]);
  });

  test("while it waits, EMX2 is told Slurm's own reason; when it runs, what it says of itself", async () => {
    const program = `printf '{"phase":"half","progress":0.5}\\n' >"$HPC_OUTPUT_DIR/.hpc_progress.jsonl"; ${untilToldTo}`;
    const worker = { queue_report_interval_seconds: 1 };
    const held = { program, sbatch_args: ["--hold"] };
    await using stage = await openSlurmStage({ profiles: { held }, worker });
    const id = stage.submit("held");
    stage.start("run");
    const detail = await untilSaid(stage, id, /^slurm_state=PENDING; reason=JobHeldUser; waited=00:00:/);
    expect(detail).not.toContain("node=");
    stage.slurm("scontrol", "release", stage.job(id).slurmJobId ?? "");
    await untilSaid(stage, id, /^slurm_state=RUNNING; .*phase=half; progress=0.5/);
    expect(stage.job(id).progress).toBe(0.5);
    writeFileSync(join(stage.jobsDir, id, "work/go-on"), "");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
  });

  test("a time-out of its own ends the run in Slurm, and EMX2 hears FAILED with the reason", async () => {
    await using stage = await openSlurmStage({ profiles: { long: { program: "echo begun; sleep 100" } } });
    const id = stage.submit("long", { timeoutSeconds: 3 });
    stage.start("run");
    await stage.untilStatus(id, "FAILED", slurmBoundMs);
    const end = stage.job(id).transitions.at(-1)?.detail ?? "";
    expect(end).toMatch(/^slurm_state=CANCELLED; .*the job's timeout_seconds are over: 3 s since it was claimed/);
    expect(stage.slurmJobs(id).map(({ state }) => state)).toEqual(["CANCELLED"]);
    expect(stage.log(id).size).toBeGreaterThan(0);
  });

  test("requeue: true lets Slurm run it again, and the second run's outputs are the ones that count", async () => {
    const program = `echo "run \${SLURM_RESTART_COUNT:-0}" >"$HPC_OUTPUT_DIR/run.txt"; [ "\${SLURM_RESTART_COUNT:-0}" = 1 ] || sleep 100`;
    const worker = { receipt_wait_seconds: 2 };
    await using stage = await openSlurmStage({ profiles: { again: { program, requeue: true } }, worker });
    const id = stage.submit("again");
    stage.start("run");
    await stage.untilStatus(id, "STARTED", slurmBoundMs);
    const slurmJobId = stage.job(id).slurmJobId ?? "";
    await stage.until("its first run has written", () => stage.ledger().length === 1);
    const step = stepOf(join(stage.jobsDir, id));
    // Slurm tells a requeue by another submit time, in whole seconds.
    const second = () => Math.floor(systemClock.wall() / 1_000);
    const started = second();
    await stage.until("another second has begun", () => second() > started);
    stage.slurm("scontrol", "requeue", slurmJobId);
    await untilSaid(stage, id, /^slurm_state=(PENDING|REQUEUED);/);
    await stage.until("its first run has left the node", () => isGone(step));
    await stage.until("Slurm has it in the queue", () => stage.slurmJobs(id)[0]?.state === "PENDING");
    await untilItMayRunAgain(stage);
    stage.slurm("scontrol", "update", `jobid=${slurmJobId}`, "StartTime=now");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    expect(new TextDecoder().decode(stage.output(id).get("run.txt"))).toBe("run 1\n");
    expect(stage.job(id).slurmJobId).toBe(slurmJobId);
  });
});
