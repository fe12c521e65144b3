/**
 * The workload of the tests about a job's whole life: 20 MB go in, their hash and a copy come out below a directory with
 * a name that wants quoting, words go to stdout, stderr and a log of the program's own.
 */
import { expect } from "bun:test";
import { sha256Of } from "../committed.ts";
import { statusesOf } from "../harness.ts";
import { type SlurmStage, textOf } from "./real-slurm.ts";

export const wholeLife = {
  program: [
    'cd "$HPC_INPUT_DIR"/*/"raw data"',
    'sha256sum <big.bin | cut -c1-64 >"$HPC_OUTPUT_DIR/seen.sha256"',
    'mkdir "$HPC_OUTPUT_DIR/the copy" && cp big.bin "$HPC_OUTPUT_DIR/the copy/big.bin"',
    "echo to stdout && echo to stderr >&2",
    'echo its own >"$HPC_OUTPUT_DIR/program.log"',
  ].join("\n"),
};

const bigBytes = 20_000_000;

/** Pseudo-random, so that nothing repeats, and another content for each seed. */
export function bigInput(seed: number): Uint8Array {
  const words = new Uint32Array(bigBytes / 4);
  let word = seed + 1;
  for (let at = 0; at < words.length; at += 1) {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
    words[at] = word;
  }
  return new Uint8Array(words.buffer);
}

export function submitWholeLife(stage: SlurmStage, input: Uint8Array): string {
  return stage.submit("whole", { files: [{ path: "raw data/big.bin", content: input }] });
}

/** Everything about the job is as it must be after COMPLETED. */
export function expectWholeLife(stage: SlurmStage, jobId: string, input: Uint8Array): void {
  const job = stage.job(jobId);
  expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
  expect(stage.slurmJobs(jobId)).toEqual([{ id: job.slurmJobId ?? "none", state: "COMPLETED" }]);
  expect(stage.ledger().filter((id) => id === jobId)).toHaveLength(1);

  const output = stage.output(jobId);
  expect([...output.keys()].sort()).toEqual(["seen.sha256", "the copy/big.bin"]);
  expect(textOf(output, "seen.sha256")).toBe(`${sha256Of(input)}\n`);
  expect(sha256Of(output.get("the copy/big.bin") ?? "")).toBe(sha256Of(input));

  const log = stage.log(jobId);
  const [err, out] = [`slurm-${job.slurmJobId}.err`, `slurm-${job.slurmJobId}.out`];
  expect([...log.keys()].sort()).toEqual(["program.log", err, out]);
  expect([textOf(log, err), textOf(log, out)]).toEqual(["to stderr\n", "to stdout\n"]);
}
