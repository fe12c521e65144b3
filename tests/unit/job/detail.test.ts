import { describe, expect, test } from "bun:test";
import { maxDetailChars, reportDetail } from "../../../src/job/detail.ts";
import type { Job } from "../../../src/job/job.ts";
import { type Outcome, outcomeNeverSubmitted } from "../../../src/job/run.ts";
import { play, saw, succeeded, toTracked } from "./story.ts";

const job = play(toTracked);
const outOfMemory: Outcome = {
  ...{ result: "failed", proof: "sacct", state: "OUT_OF_MEMORY", exitCode: 0, signal: 125 },
  ...{ reason: "OutOfMemory", node: "gpu-01", elapsed: "00:45:12", outputDir: "output" },
};

describe("reportDetail", () => {
  test("begins with Slurm's facts, as the reference's does", () => {
    expect(reportDetail(job, outOfMemory, [])).toStartWith(
      "slurm_state=OUT_OF_MEMORY; exit_code=0:125; reason=OutOfMemory; node=gpu-01; elapsed=00:45:12; ",
    );
  });

  test("leaves out what is not known", () => {
    const { exitCode: _code, reason: _reason, elapsed: _elapsed, ...known } = outOfMemory;
    expect(reportDetail(job, known, [])).toStartWith("slurm_state=OUT_OF_MEMORY; node=gpu-01; the job needed");
  });

  test("goes on with the cause, what did not come back, and the last lines of stderr", () => {
    const outputs = { stage: "failed", detail: "413" } as const;
    const logs = { stage: "failed", detail: "500" } as const;
    expect(reportDetail({ ...job, outputs, logs }, { ...outOfMemory, cause: "too big" }, ["one", "two"])).toEndWith(
      "elapsed=00:45:12; too big; outputs were not uploaded: 413; they are in /jobs/j1/output on the cluster; logs were not uploaded: 500; who can act: the operator of this worker\nlast lines of stderr:\none\ntwo",
    );
  });

  test("does not send anybody to outputs that were removed", () => {
    const outputs = { stage: "failed", detail: "/jobs/j1/output was removed" } as const;
    expect(reportDetail({ ...job, outputs }, succeeded, [])).toEndWith(
      "; outputs were not uploaded: /jobs/j1/output was removed; who can act: the submitter",
    );
  });

  test("of a job that was never submitted begins with the cause itself", () => {
    const outcome = outcomeNeverSubmitted("failed", "input_hash_mismatch: in-1/a.txt");
    expect(reportDetail(job, outcome, [])).toBe("input_hash_mismatch: in-1/a.txt; who can act: the submitter");
  });

  test("of a success has no stderr", () => {
    expect(reportDetail(job, succeeded, ["a warning"])).toBe("slurm_state=COMPLETED; exit_code=0:0");
  });

  test("names the log artifact only where EMX2 has ended the job, for there it is no field any more", () => {
    const logs: Job["logs"] = { stage: "committed", artifactId: "log-1", sha256: "ab", bytes: 1 };
    const stopped = play([saw({ status: "CANCELLED" })], job);
    expect(reportDetail({ ...stopped, logs }, outOfMemory, [])).toContain("; log artifact log-1");
    expect(reportDetail({ ...job, logs }, outOfMemory, [])).not.toContain("log-1");
  });

  test("keeps to its bound, whatever a program writes, and keeps its beginning and the very last of stderr", () => {
    const lines = Array.from({ length: 20 }, (_, at) => `${at} ${"x".repeat(5_000)}`);
    const detail = reportDetail(job, { ...outOfMemory, cause: "y".repeat(50_000) }, [...lines, "the last word"]);
    expect(detail.length).toBeLessThanOrEqual(maxDetailChars);
    expect(detail).toStartWith("slurm_state=OUT_OF_MEMORY; exit_code=0:125;");
    expect(detail).toContain("\nlast lines of stderr:\n");
    expect(detail).toEndWith("\nthe last word");
    expect(reportDetail(job, { ...outOfMemory, cause: "y".repeat(50_000) }, []).length).toBeLessThanOrEqual(
      maxDetailChars,
    );
  });

  test("one line of stderr that alone is too long keeps its end", () => {
    const detail = reportDetail(job, outOfMemory, [`${"x".repeat(20_000)} the end`]);
    expect(detail.length).toBe(maxDetailChars);
    expect(detail).toEndWith("the end");
  });
});
