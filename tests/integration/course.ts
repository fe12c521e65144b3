/**
 * The whole course of a job, as a workload and what must be true afterwards: input in, output and logs back, every status
 * in order, each hash made anew. What differs between backends and residences is said where it differs.
 */
import { expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StoredArtifact } from "../../src/emulator/state.ts";
import { artifact } from "../../src/emulator/submitter.ts";
import { committed, committedInPlace } from "./committed.ts";
import { type Stage, type StageOptions, statusesOf } from "./harness.ts";

export const generations = ["2026-02", "2026-05"] as const;
export const residences = ["managed", "posix"] as const;
export type Generation = (typeof generations)[number];
export type Residence = (typeof residences)[number];

const program = `
  mkdir -p "$HPC_OUTPUT_DIR/sub dir"
  cat "$HPC_INPUT_DIR"/*/data/*.txt >"$HPC_OUTPUT_DIR/sub dir/copy.txt"
  printf '{"n":1.0}' >"$HPC_OUTPUT_DIR/n.json"
  printf '{"phase":"copied","progress":1}\\n' >"$HPC_OUTPUT_DIR/.hpc_progress.jsonl"
  echo "args: $*"
  echo note >&2
  echo own >"$HPC_OUTPUT_DIR/own.log"
  sleep 0.5`;
const input = { path: "data/in put.txt", content: "hello, input\n" };
const args = '{"args":["one","two words"]}';

/** Options of a stage on which `submitCourse` can be run. */
export function courseOptions(generation: Generation, residence: Residence): StageOptions {
  const posix = { output_residence: "posix", log_residence: "posix", posix_output_dir: "results" };
  return {
    generation,
    profiles: { course: { program, ...(residence === "posix" ? posix : {}) } },
    apptainer: { posix_roots: ["data"] },
    directories: ["data", "results"],
  };
}

export function submitCourse(stage: Stage, residence: Residence): string {
  if (residence === "managed") return stage.submit("course", { files: [input], parametersText: args });
  const place = join(stage.dir, "data", "set 1");
  mkdirSync(join(place, "data"), { recursive: true });
  writeFileSync(join(place, input.path), input.content);
  return stage.submit("course", { posix: place, files: [input], parametersText: args });
}

/** All is as it must be after COMPLETED. `simulated`: outputs are made up, and no program ran. */
export function expectCourse(stage: Stage, id: string, residence: Residence, simulated: boolean): void {
  const job = stage.job(id);
  expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
  expect(stage.ledger()).toEqual(simulated ? [] : [id]);
  const end = job.transitions.at(-1)?.detail ?? "";
  expect(end.startsWith("SIMULATED; ")).toBe(simulated);
  expect(end).toContain("slurm_state=COMPLETED; exit_code=0:0");

  const outputs = filesOf(stage, job.outputArtifactId, residence);
  const logs = filesOf(stage, job.logArtifactId, residence);
  if (simulated) {
    expect(outputs.size).toBeGreaterThan(0);
    expect(logs.size).toBeGreaterThan(0);
    return;
  }
  expect(Object.fromEntries(outputs)).toEqual({ "sub dir/copy.txt": input.content, "n.json": '{"n":1.0}' });
  const texts = Object.fromEntries(logs);
  expect(Object.keys(texts).sort()).toEqual(["own.log", `slurm-${job.slurmJobId}.err`, `slurm-${job.slurmJobId}.out`]);
  expect(texts[`slurm-${job.slurmJobId}.out`]).toBe("args: one two words\n");
  expect(texts["own.log"]).toBe("own\n");
  expectProvenance(artifact(stage.state, job.outputArtifactId ?? ""), stage, id);
}

function filesOf(stage: Stage, artifactId: string | null, residence: Residence): ReadonlyMap<string, string> {
  expect(artifact(stage.state, artifactId ?? "").residence).toBe(residence);
  const files = residence === "posix" ? committedInPlace(stage, artifactId) : committed(stage, artifactId);
  return new Map([...files].map(([path, bytes]) => [path, new TextDecoder().decode(bytes)]));
}

function expectProvenance(found: StoredArtifact, stage: Stage, id: string): void {
  const job = stage.job(id);
  const metadata = JSON.parse(found.metadataText ?? "{}");
  expect(found.name).toBe(`output-${id.slice(0, 8)}`);
  expect(metadata).toMatchObject({
    ...{ job_id: id, processor: "course", profile: "default", worker_id: stage.workerId, artifact_role: "output" },
    ...{ created_by: job.submitUser, input_artifact_ids: job.inputs },
    ...{ slurm_job_id: job.slurmJobId, node: expect.any(String), elapsed_seconds: expect.any(Number) },
    ...{ parameters_hash: "d55675d325265158c300e8ba806bdce2809c90fe40194c1ef6a9c555c06f0b53" },
  });
}
