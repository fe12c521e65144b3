/** Jobs under `run`: the way through all statuses, a program that fails, and ends that come from Slurm's side. */
import { expect, test } from "bun:test";
import { statusesOf } from "../harness.ts";
import { onRealSlurm, openSlurmStage, slurmBoundMs, textOf } from "./real-slurm.ts";
import { bigInput, expectWholeLife, submitWholeLife, wholeLife } from "./whole-life.ts";

onRealSlurm("run", () => {
  test("takes jobs with 20 MB of input through all statuses, and brings their output and logs back whole", async () => {
    await using stage = await openSlurmStage({ profiles: { whole: wholeLife } });
    const jobs = [1, 2].map((seed) => {
      const input = bigInput(seed);
      return { input, id: submitWholeLife(stage, input) };
    });
    const run = stage.start("run");
    for (const { id } of jobs) await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    run.kill("SIGTERM");
    const end = await run.ended(10_000);
    for (const { id, input } of jobs) expectWholeLife(stage, id, input);
    expect(end.exitCode).toBe(0);
  });

  test("ends a job whose program exits 3 as FAILED, with its exit code and the last lines of its stderr", async () => {
    const program = 'for line in 1 2 3 4; do echo "line $line" >&2; done; echo half >"$HPC_OUTPUT_DIR/half"; exit 3';
    await using stage = await openSlurmStage({
      profiles: { fails: { program } },
      worker: { stderr_lines_in_reports: 2 },
    });
    const id = stage.submit("fails");
    stage.start("run");
    await stage.untilStatus(id, "FAILED", slurmBoundMs);
    const job = stage.job(id);
    expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "FAILED"]);
    const detail = job.transitions.at(-1)?.detail ?? "";
    expect(detail).toStartWith("slurm_state=FAILED; exit_code=3:0; ");
    expect(detail).toEndWith("\nline 3\nline 4");
    expect(job.outputArtifactId).toBeNull();
    expect(textOf(stage.log(id), `slurm-${job.slurmJobId}.err`)).toBe("line 1\nline 2\nline 3\nline 4\n");
  });
});
