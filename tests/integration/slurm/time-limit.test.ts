/** The one end that takes Slurm more than a minute: its limits have minutes, and it looks for what is over every 30 s. */
import { expect, test } from "bun:test";
import { onRealSlurm, openSlurmStage, textOf } from "./real-slurm.ts";

const overDueMs = 150_000;

onRealSlurm("a job over its time limit", () => {
  test(
    "is FAILED as TIMEOUT, with the log of what it did in its time",
    async () => {
      const program = "echo begun; exec sleep 600";
      await using stage = await openSlurmStage({ profiles: { endless: { program, time: "1" } } });
      const id = stage.submit("endless");
      stage.start("run");
      await stage.untilStatus(id, "FAILED", overDueMs);
      const job = stage.job(id);
      expect(job.transitions.at(-1)?.detail).toStartWith("slurm_state=TIMEOUT; ");
      expect(stage.slurmJobs(id)).toEqual([{ id: job.slurmJobId ?? "none", state: "TIMEOUT" }]);
      expect(textOf(stage.log(id), `slurm-${job.slurmJobId}.out`)).toBe("begun\n");
    },
    overDueMs + 30_000,
  );
});
