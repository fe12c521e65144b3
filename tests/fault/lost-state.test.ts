/** A submission whose answer nobody heard, and whose state is lost besides, while its job is cancelled at EMX2. */
import { expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cancelJob } from "../../src/emulator/submitter.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { openStage } from "../integration/harness.ts";

const testMs = 60_000;

test(
  "its run is found by its name and ended, and none is submitted again",
  async () => {
    await using stage = await openStage({ profiles: { waits: { program: "exit 0" } } });
    writeFileSync(join(stage.slurmDir, "hold"), "");
    const id = stage.submit("waits");
    await stage.startFailing("Submit:after", "run").ended();
    rmSync(stage.stateDir, { recursive: true });
    expect(stage.job(id).status).toBe("CLAIMED");
    cancelJob(stage.state, id);
    stage.start("run");
    await stage.until("it has left the queue", () => existsSync(join(stage.slurmDir, "jobs", "1.end")));
    expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(1);
    expect(stage.ledger()).toEqual([]);
    expect(stage.job(id).status).toBe("CANCELLED");
  },
  testMs,
);
