/** The same life under cron: each `once` does what is due and ends, while Slurm goes on in between. */
import { expect, test } from "bun:test";
import { onRealSlurm, openSlurmStage, type SlurmStage, slurmBoundMs } from "./real-slurm.ts";
import { bigInput, expectWholeLife, submitWholeLife, wholeLife } from "./whole-life.ts";

onRealSlurm("once after once", () => {
  test("takes a job with 20 MB of input through all statuses, and does not wait for its end in between", async () => {
    const program = `${wholeLife.program}\nuntil [ -e "$HPC_WORK_DIR/go" ]; do sleep 0.1; done`;
    await using stage = await openSlurmStage({ profiles: { whole: { program } } });
    const input = bigInput(3);
    const id = submitWholeLife(stage, input);

    expect(await once(stage)).toBe(0);
    expect(stage.job(id).status).toBe("SUBMITTED");
    await stage.until("the workload runs", () => stage.ledger().length === 1, slurmBoundMs);
    expect(await once(stage)).toBe(0);
    expect(stage.job(id).status).toBe("STARTED");

    await Bun.write(`${stage.jobsDir}/${id}/work/go`, "");
    await stage.until("Slurm has closed the job", () => stage.slurmJobs(id)[0]?.state === "COMPLETED", slurmBoundMs);
    expect(await once(stage)).toBe(0);
    expectWholeLife(stage, id, input);

    const requests = stage.requests.length;
    expect(await once(stage)).toBe(0);
    const later = stage.requests.slice(requests).filter((request) => request.includes(id));
    expect({ later, status: stage.job(id).status }).toEqual({ later: [], status: "COMPLETED" });
  });
});

async function once(stage: SlurmStage): Promise<number> {
  const { exitCode } = await stage.start("once").ended(slurmBoundMs);
  return exitCode;
}
