/**
 * The daemon is killed at the edges where Slurm is on the other side: submission, search, cancel and end of a run. The one
 * that is started afterwards brings the job to the end that it would have had, with or without the first one's state.
 */
import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { systemClock } from "../../../src/clock.ts";
import { cancelJob } from "../../../src/emulator/submitter.ts";
import { isTerminal } from "../../../src/job/status.ts";
import { edges } from "../../fault/failpoint.ts";
import { artifactsOf, committed } from "../committed.ts";
import { statusesOf } from "../harness.ts";
import { onRealSlurm, openSlurmStage, type SlurmStage, slurmBoundMs, textOf } from "./real-slurm.ts";

/** Nothing is submitted again before the fence is over, which is as short here as it can be. */
const fenceMs = 120_000;
const slurm = { submit_timeout_seconds: 10, message_timeout_seconds: 1, accounting_lag_seconds: 1 };
const testMs = fenceMs + 3 * slurmBoundMs;
const killed = 137;

const profiles = {
  counts: { program: 'cat "$HPC_INPUT_DIR"/*/* | wc -l | tr -d " " >"$HPC_OUTPUT_DIR/lines"; sleep 1' },
  sleeper: { program: "echo begun; sleep 600" },
};
const input = { files: [{ path: "text", content: "one\ntwo\nthree\n" }] };
const open = () => openSlurmStage({ profiles, slurm });

/** Lives of which each ends at its failpoint, and what the last of them leaves to the next. */
const lives: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(edges.map((edge) => [`Submit:${edge}`, [`Submit:${edge}`]])),
  ...Object.fromEntries(edges.map((edge) => [`FindRun:${edge}`, ["Submit:after", `FindRun:${edge}`]])),
  ...Object.fromEntries(edges.map((edge) => [`CloseRun:${edge}`, [`CloseRun:${edge}`]])),
};

onRealSlurm("a daemon that is killed at an edge", () => {
  for (const [name, failpoints] of Object.entries(lives)) {
    test.concurrent(
      name,
      async () => {
        await using stage = await open();
        const id = stage.submit("counts", input);
        for (const failpoint of failpoints) await lifeUntil(stage, failpoint);
        const from = systemClock.wall();
        const isLost = name === "Submit:before";
        stage.start("run");
        await stage.untilStatus(id, "COMPLETED", slurmBoundMs + (isLost ? fenceMs : 0));
        expectOneRun(stage, id);
        if (isLost) expect(submittedAt(stage, id)).toBeGreaterThanOrEqual(from + fenceMs - 2_000);
      },
      testMs,
    );
  }

  for (const edge of edges) {
    test.concurrent(
      `CancelRun:${edge}`,
      async () => {
        await using stage = await open();
        const id = stage.submit("sleeper", input);
        const first = stage.startFailing(`CancelRun:${edge}`, "run");
        await stage.untilStatus(id, "STARTED", slurmBoundMs);
        await stage.until("the workload runs", () => stage.ledger().length === 1, slurmBoundMs);
        cancelJob(stage.state, id);
        expect((await first.ended(slurmBoundMs)).exitCode).toBe(killed);

        stage.start("run");
        const told = () => stage.job(id).transitions.filter(({ to }) => to === "CANCELLED").length === 2;
        await stage.until("the log is told of", told, slurmBoundMs);
        expectCancelled(stage, id);
      },
      testMs,
    );
  }

  for (const failpoint of ["Submit:after", "Report/SUBMITTED:after", "CloseRun:recorded", "Commit/output:after"]) {
    test.concurrent(
      `${failpoint}, and its state directory is lost`,
      async () => {
        await using stage = await open();
        const id = stage.submit("counts", input);
        await lifeUntil(stage, failpoint);
        rmSync(stage.stateDir, { recursive: true });
        stage.start("run");
        await stage.untilStatus(id, "COMPLETED", 2 * slurmBoundMs);
        expectOneRun(stage, id);
      },
      testMs,
    );
  }
});

async function lifeUntil(stage: SlurmStage, failpoint: string): Promise<void> {
  expect((await stage.startFailing(failpoint, "run").ended(slurmBoundMs)).exitCode).toBe(killed);
}

function expectOneRun(stage: SlurmStage, id: string): void {
  const job = stage.job(id);
  expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
  expect(job.transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
  expect(stage.slurmJobs(id)).toEqual([{ id: job.slurmJobId ?? "none", state: "COMPLETED" }]);
  expect(stage.ledger()).toEqual([id]);
  expect(textOf(stage.output(id), "lines")).toBe("3\n");
  expect(artifactsOf(stage, "output", id).map((artifact) => artifact.id)).toEqual([job.outputArtifactId ?? "none"]);
  expect(artifactsOf(stage, "log", id).map((artifact) => artifact.id)).toEqual([job.logArtifactId ?? "none"]);
}

function expectCancelled(stage: SlurmStage, id: string): void {
  const job = stage.job(id);
  expect(job.status).toBe("CANCELLED");
  expect(stage.slurmJobs(id)).toEqual([{ id: job.slurmJobId ?? "none", state: "CANCELLED" }]);
  expect(stage.ledger()).toEqual([id]);
  expect(artifactsOf(stage, "output", id)).toEqual([]);
  const [log, ...others] = artifactsOf(stage, "log", id);
  expect(others).toEqual([]);
  expect(textOf(committed(stage, log?.id ?? null), `slurm-${job.slurmJobId}.out`)).toBe("begun\n");
}

/** By Slurm's clock, which is ours here. */
function submittedAt(stage: SlurmStage, id: string): number {
  return Number(stage.slurm("squeue", "-h", "-t", "all", `--name=emx2-${id}`, "-o", "%V")) * 1_000;
}
