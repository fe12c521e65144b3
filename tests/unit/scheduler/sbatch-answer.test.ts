import { describe, expect, test } from "bun:test";
import { readSbatch } from "../../../src/scheduler/sbatch-answer.ts";
import type { SubmitAnswer } from "../../../src/scheduler/scheduler.ts";
import type { Completed } from "../../../src/subprocess.ts";
import { transcriptsOf } from "./transcript.ts";

const blank: Completed = {
  ...{ argv: ["sbatch"], exitCode: 0, signal: null, timedOut: false, aborted: false, spawnError: null },
  ...{ truncated: false, stdout: "", stderr: "", durationMs: 20 },
};
const failed = (reason: string) => ({ exitCode: 1, stderr: `sbatch: error: Batch job submission failed: ${reason}` });

describe("readSbatch of real transcripts", () => {
  /** What passes by itself; every other refusal in the transcripts stays. */
  const passing: Readonly<Record<string, SubmitAnswer["is"]>> = {
    ...{ "sbatch-controller-down": "unavailable", "sbatch-munge-down": "unavailable" },
    ...{ "sbatch-no-configuration": "unavailable", "sbatch-partition-drained": "busy" },
  };
  const all = transcriptsOf("sbatch").map((entry) => [entry.version, entry.name, entry] as const);
  test("there are enough of them", () => expect(all.length).toBeGreaterThan(25));

  test.each(all)("%s %s", (_, name, entry) => {
    const expected = entry.stdout !== "" ? "submitted" : (passing[name] ?? "refused");
    expect(readSbatch(entry).is).toBe(expected);
  });
});

describe("readSbatch", () => {
  const cases: [string, Partial<Completed>, string][] = [
    ["an id is a submission", { stdout: "17\n" }, "submitted"],
    ["so is an id with its cluster", { stdout: "17;big\n" }, "submitted"],
    ["so is an id with warnings", { stdout: "17\n", stderr: "sbatch: warning: low on budget" }, "submitted"],
    ["so is an id after a site's greeting", { stdout: "Welcome 5\n17\n" }, "submitted"],
    ["so is an id from an sbatch that was killed after it", { stdout: "17\n", exitCode: 137 }, "submitted"],
    ["exit 0 without an id is in doubt", {}, "doubt"],
    ["a time-out on the socket is in doubt", failed("Socket timed out on send/recv operation"), "doubt"],
    ["an sbatch that was killed is in doubt", { exitCode: null, signal: "SIGKILL" }, "doubt"],
    ["an sbatch that took too long is in doubt", { exitCode: 124 }, "doubt"],
    ["an sbatch that was left alone is in doubt", { exitCode: null, aborted: true }, "doubt"],
    ["words that nobody knows are in doubt", { exitCode: 1, stderr: "oops" }, "doubt"],
    ["no sbatch on this machine", { exitCode: null, spawnError: "ENOENT" }, "unavailable"],
    [
      "no sbatch below timeout",
      { exitCode: 127, stderr: "timeout: failed to run command 'sbatch': No such file or directory" },
      "unavailable",
    ],
    [
      "a limit on submitted jobs holds up this one",
      { exitCode: 1, stderr: "sbatch: error: QOSMaxSubmitJobPerUserLimit" },
      "busy",
    ],
    ["so does an association's", failed("AssocMaxSubmitJobLimit"), "busy"],
    ["so does one without a name", failed("Job violates accounting/QOS policy (job submit limit, …)"), "busy"],
    ["so does a closed partition", failed("Required partition not available (inactive or drain)"), "busy"],
    ["a limit on the job's size stays", failed("QOSMaxCpuPerJobLimit"), "refused"],
    ["so does a full queue", failed("Slurm temporarily unable to accept job, sleeping and retrying"), "busy"],
    ["a controller that is not there", failed("Unable to contact slurm controller (connect failure)"), "unavailable"],
    ["an unknown account", failed("Invalid account or account/partition combination specified"), "refused"],
    ["an unknown QOS", failed("Invalid qos specification"), "refused"],
    ["a reason that is new", failed("Unspecified error"), "refused"],
  ];
  test.each(cases)("%s", (_, completed, is) => {
    expect(readSbatch({ ...blank, ...completed }).is as string).toBe(is);
  });

  test("the cause is sbatch's own words", () => {
    const answer = readSbatch({ ...blank, ...failed("Invalid qos specification") });
    expect(answer).toEqual({
      is: "refused",
      cause: "sbatch: exit 1: sbatch: error: Batch job submission failed: Invalid qos specification",
    });
  });
});
