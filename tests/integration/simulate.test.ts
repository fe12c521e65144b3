import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { artifact } from "../../src/emulator/submitter.ts";
import { committed } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";

const testMs = 60_000;
const input = { files: [{ path: "a.txt", content: "hello" }] };

function expectSimulated(stage: Stage, id: string): void {
  const job = stage.job(id);
  expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
  expect(job.transitions.at(-1)?.detail).toContain("SIMULATED");
  for (const artifactId of [job.outputArtifactId, job.logArtifactId]) {
    expect(committed(stage, artifactId).size).toBeGreaterThan(0);
    expect(artifact(stage.state, artifactId ?? "").metadataText).toMatch(/"simulated":\s*true|SIMULATED/);
  }
  expect(stage.ledger()).toEqual([]);
  expect(existsSync(join(stage.slurmDir, "calls.log"))).toBe(false);
}

test(
  "three `once --simulate` calls complete a job and start no program for it",
  async () => {
    await using stage = await openStage();
    const id = stage.submit("copy", input);
    for (const status of ["SUBMITTED", "STARTED", "COMPLETED"] as const) {
      expect((await stage.start("once", "--simulate").ended()).exitCode).toBe(0);
      expect(stage.job(id).status).toBe(status);
    }
    expectSimulated(stage, id);
  },
  testMs,
);

test(
  "`run --simulate` completes jobs and starts no program for them",
  async () => {
    await using stage = await openStage();
    const ids = [stage.submit("copy", input), stage.submit("copy", input)];
    stage.start("run", "--simulate");
    for (const id of ids) await stage.untilStatus(id, "COMPLETED");
    for (const id of ids) expectSimulated(stage, id);
  },
  testMs,
);

test(
  "a job stays with the backend that took it",
  async () => {
    await using stage = await openStage();
    const simulated = stage.submit("copy", input);
    expect((await stage.start("once", "--simulate").ended()).exitCode).toBe(0);
    const real = stage.submit("copy", input);
    stage.start("run");
    await stage.untilStatus(simulated, "COMPLETED");
    await stage.untilStatus(real, "COMPLETED");
    expect(stage.job(simulated).transitions.at(-1)?.detail).toContain("SIMULATED");
    expect(stage.job(real).transitions.at(-1)?.detail).not.toContain("SIMULATED");
    expect(stage.ledger()).toEqual([real]);
  },
  testMs,
);
