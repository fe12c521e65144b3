/** Ends that somebody asked for: the submitter at EMX2, or an operator with scancel. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { cancelJob } from "../../../src/emulator/submitter.ts";
import { committed } from "../committed.ts";
import { statusesOf } from "../harness.ts";
import { onRealSlurm, openSlurmStage, type SlurmStage, slurmBoundMs, textOf } from "./real-slurm.ts";

const sleeper = { program: 'echo begun; echo waiting >&2; : >"$HPC_WORK_DIR/ready"; sleep 600' };
/** Then the removal of the job's directory tells that the daemon has nothing more to do for it. */
const worker = { keep_job_dirs: 0 };

onRealSlurm("a cancelled job", () => {
  test("is gone from Slurm soon after the submitter's cancel, and only its log is still told of", async () => {
    await using stage = await openSlurmStage({ profiles: { sleeper }, worker });
    const id = stage.submit("sleeper");
    stage.start("run");
    await running(stage, id);

    cancelJob(stage.state, id);
    await stage.until("Slurm has ended it", () => stage.slurmJobs(id)[0]?.state === "CANCELLED", slurmBoundMs);
    await released(stage, id);

    const job = stage.job(id);
    const told = job.transitions.map(({ to }) => to);
    expect(told).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "CANCELLED", "CANCELLED"]);
    const [log, ...others] = stage.state.artifacts.keys();
    expect(job.transitions.at(-1)?.detail).toContain(`log artifact ${log}`);
    expect(textOf(committed(stage, log ?? null), `slurm-${job.slurmJobId}.out`)).toBe("begun\n");
    expect(others).toEqual([]);
  });

  test("never starts where the submitter's cancel comes while it waits in the queue", async () => {
    const waiting = { ...sleeper, sbatch_args: ["--begin=now+1hour"] };
    await using stage = await openSlurmStage({ profiles: { waiting }, worker });
    const id = stage.submit("waiting");
    stage.start("run");
    await stage.untilStatus(id, "SUBMITTED", slurmBoundMs);
    expect(stage.slurmJobs(id)[0]?.state).toBe("PENDING");

    cancelJob(stage.state, id);
    await stage.until("Slurm has ended it", () => stage.slurmJobs(id)[0]?.state === "CANCELLED", slurmBoundMs);
    await released(stage, id);
    expect(stage.job(id).transitions.map(({ to }) => to)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "CANCELLED"]);
    expect(stage.ledger()).toEqual([]);
    expect(stage.state.artifacts.size).toBe(0);
  });

  test("is reported CANCELLED with the uid of whoever used scancel", async () => {
    await using stage = await openSlurmStage({ profiles: { sleeper }, worker });
    const id = stage.submit("sleeper");
    stage.start("run");
    await running(stage, id);
    // In its first second a job has no name in accounting, which alone tells who cancelled it.
    const accounted = () => stage.slurm("sacct", "-n", "-X", "-o", "JobID", `--name=emx2-${id}`) !== "";
    await stage.until("accounting knows the job by name", accounted, slurmBoundMs);

    stage.slurm("scancel", stage.job(id).slurmJobId ?? "");
    await stage.untilStatus(id, "CANCELLED", slurmBoundMs);
    await released(stage, id);
    const job = stage.job(id);
    expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "CANCELLED"]);
    const uid = stage.slurm("id", "-u").trim();
    expect(job.transitions.at(-1)?.detail).toContain(`uid ${uid}`);
    expect(textOf(stage.log(id), `slurm-${job.slurmJobId}.err`)).toStartWith("waiting\n");
  });
});

async function running(stage: SlurmStage, id: string): Promise<void> {
  await stage.untilStatus(id, "STARTED", slurmBoundMs);
  await stage.until("the workload runs", () => existsSync(`${stage.jobsDir}/${id}/work/ready`), slurmBoundMs);
}

async function released(stage: SlurmStage, id: string): Promise<void> {
  await stage.until("the daemon has let go of it", () => !existsSync(`${stage.jobsDir}/${id}`), slurmBoundMs);
}
