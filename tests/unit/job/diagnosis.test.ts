/** Who can act on which end, and what is said of the cause. */
import { describe, expect, test } from "bun:test";
import { diagnose } from "../../../src/job/diagnosis.ts";
import type { Job } from "../../../src/job/job.ts";
import { type Outcome, outcomeNeverSubmitted } from "../../../src/job/run.ts";
import { play, startAt, succeeded, toTracked } from "./story.ts";

const job = play(toTracked);
const failed = (over: Partial<Outcome>): Outcome => ({
  ...{ result: "failed", proof: "sacct", state: "FAILED", outputDir: "output" },
  ...over,
});

const ends: readonly (readonly [string, Outcome, RegExp, RegExp])[] = [
  ["a program's own exit code", failed({ exitCode: 7, signal: 0 }), /exit code 7$/, /^the submitter$/],
  ["a program that is not there", failed({ exitCode: 127, signal: 0 }), /could not be found/, /operator/],
  ["a script that Slurm could not start", failed({ exitCode: 0, signal: 53 }), /job directory/, /operator/],
  ["memory", failed({ state: "OUT_OF_MEMORY", exitCode: 0, signal: 125 }), /more memory/, /memory in the profile/],
  ["the time limit", failed({ state: "TIMEOUT", exitCode: 0, signal: 0 }), /time limit/, /longer time/],
  ["a node", failed({ state: "NODE_FAIL" }), /node failed/, /submitted again/],
  ["preemption", failed({ state: "PREEMPTED" }), /another job/, /submitted again/],
  ["a run that was lost", failed({ state: "LOST", proof: "none", cause: "it vanished" }), /vanished/, /operator/],
  ["scancel", failed({ result: "cancelled", state: "CANCELLED", cause: "by uid 0" }), /by uid 0/, /whoever/],
];

describe("diagnose", () => {
  test.each(ends)("%s", (_, outcome, cause, who) => {
    const said = diagnose(job, outcome);
    expect(said.cause).toMatch(cause);
    expect(said.who).toMatch(who);
  });

  test("a container that did not begin is told by Apptainer's own last words, unless something else ended it", () => {
    const words = ["FATAL:   stat /opt/none: no such file or directory"];
    const { cause, who } = diagnose(job, failed({ exitCode: 255, signal: 0 }), words);
    expect([cause, who]).toEqual([
      "the program is not in the image",
      expect.stringMatching(/^the operator.*: correct/),
    ]);
    expect(diagnose(job, failed({ state: "TIMEOUT", exitCode: 255 }), words).cause).toMatch(/time limit/);
    expect(diagnose(job, failed({ exitCode: 7, signal: 0 }), words).cause).toMatch(/exit code 7/);
  });

  test("keeps what the evidence has said itself", () => {
    const outcome = failed({ state: "OUT_OF_MEMORY", cause: "the kernel killed 2 process(es)" });
    expect(diagnose(job, outcome).cause).toBe("the kernel killed 2 process(es)");
  });

  test("has nothing to say of a success, nor of what EMX2 ended", () => {
    expect(diagnose(job, succeeded)).toEqual({});
    const stopped: Job = { ...job, stop: { by: "server-cancelled", at: startAt, detail: "cancelled at EMX2" } };
    expect(diagnose(stopped, failed({ result: "cancelled", state: "CANCELLED" }))).toEqual({});
  });

  test("names the key that gives a job more time", () => {
    const stopped = (by: "timeout" | "execution-timeout") => ({ ...job, stop: { by, at: startAt, detail: "over" } });
    expect(diagnose(stopped("timeout"), failed({})).who).toContain("timeout_seconds");
    expect(diagnose(stopped("execution-timeout"), failed({})).who).toContain("execution_timeout_seconds");
  });

  test.each([
    ['output "a/b" can not be uploaded: it is more than 64 levels deep: pack it', "the submitter"],
    ['output "output" can not be uploaded: the output directory can not be opened (ENOTDIR)', "the submitter"],
    ["/jobs/j1/output was removed", "the submitter"],
    ["/results/j1/output.a1.1 was removed", "the submitter"],
    ["the list of the outputs, .emx2/manifest.a1.0, is not as the batch script writes it", "the submitter"],
    ["/jobs/j1 was removed", "the operator of this worker"],
    ['1 output file(s) can not be seen on this host as the job has left them: "a"', "the operator of this worker"],
    ["413", "the operator of this worker"],
  ])("knows whose it is that outputs were not uploaded: %s", (detail, who) => {
    expect(diagnose({ ...job, outputs: { stage: "failed", detail } }, succeeded).who).toBe(who);
  });

  test.each([
    ["input_hash_mismatch: a.txt", "the submitter"],
    ["the job directory /jobs/j1 was removed", "the operator of this worker"],
    ["MODE is not allowed by the profile's allowed_environment", "the submitter, by asking for less; the operator"],
  ])("knows whose it is that a job was never submitted: %s", (cause, who) => {
    const said = diagnose(job, outcomeNeverSubmitted("failed", cause));
    expect(said.cause).toBe(cause);
    expect(said.who).toStartWith(who);
  });
});
