/** Who can act on which end, and what is said of the cause. */
import { describe, expect, test } from "bun:test";
import { diagnose, saidIn } from "../../../src/job/diagnosis.ts";
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

/** As it is told once the end of stderr was read. */
function diagnoseWith(lines: readonly string[], outcome: Outcome) {
  const said = saidIn(outcome, lines);
  return diagnose(job, { ...outcome, ...(said && { said }) });
}

describe("diagnose", () => {
  test.each(ends)("%s", (_, outcome, cause, who) => {
    const said = diagnose(job, outcome);
    expect(said.cause).toMatch(cause);
    expect(said.who).toMatch(who);
  });

  test("a container that did not begin is told by Apptainer's own last words, unless something else ended it", () => {
    const words = ["FATAL:   stat /opt/none: no such file or directory"];
    expect(diagnoseWith(words, failed({ exitCode: 255, signal: 0 }))).toEqual({
      cause: "the program is not in the image",
      who: "the operator of this worker",
      hint: expect.stringMatching(/^correct/),
    });
    expect(diagnoseWith(words, failed({ state: "TIMEOUT", exitCode: 255 })).cause).toMatch(/time limit/);
    expect(diagnoseWith(words, failed({ exitCode: 7, signal: 0 })).cause).toMatch(/exit code 7/);
  });

  const gb = 2 ** 30;
  const exit = (exitCode: number) => failed({ proof: "receipt", exitCode, signal: 0 });
  const lost = failed({ state: "OUT_OF_MEMORY" });

  test.each([
    [{ memoryBytes: 4 * gb, maxRssBytes: 3.98 * gb, nodes: 1 }, "asked 4 GB, peaked at 3.98 GB: raise memory"],
    [{ memoryBytes: 4 * gb, maxRssBytes: gb, nodes: 2 }, /4 GB on each node, peaked at 1 GB when it was last sampled/],
    [{ memoryBytes: 4 * gb }, "asked 4 GB: raise memory"],
    [{ maxRssBytes: gb }, undefined],
  ] as const)("tells the numbers of memory: %j", (used, hint) => {
    const said = diagnose(job, { ...lost, used }).hint;
    if (hint instanceof RegExp) expect(said).toMatch(hint);
    else expect(said).toBe(hint as string);
  });

  test("tells the numbers of time", () => {
    const used = { timeLimitSeconds: 3600, elapsedSeconds: 3603, cpuSeconds: 61 };
    expect(diagnose(job, failed({ state: "TIMEOUT", used })).hint).toBe(
      "asked 01:00:00, ran 01:00:03, cpu 00:01:01: raise time",
    );
  });

  test.each([
    ["RuntimeError: CUDA out of memory. Tried to allocate", /GPU's memory/, /smaller batches/],
    ["mkdir: cannot create directory: No space left on device", /file system was full/, /tmp_dir/],
    ["touch: cannot touch '/input/a': Read-only file system", /its inputs/, /submitter/],
    ["/opt/run: cannot execute binary file: Exec format error", /another processor/, /operator/],
    ["prelude.sh: line 2: module: command not found", /prelude/, /operator/],
    ["cat: /data/x: Stale file handle", /file system of the node/, /runs the cluster/],
  ])("reads stderr: %s", (line, cause, who) => {
    const said = diagnoseWith(["first", line, "last"], exit(1));
    expect(said.cause).toMatch(cause);
    expect(said.who).toMatch(who);
    // Of a program that ended well, or that its time limit ended, it says nothing.
    expect(diagnoseWith([line], succeeded)).toEqual({});
    expect(diagnoseWith([line], failed({ state: "TIMEOUT", exitCode: 1 })).cause).toMatch(/time limit/);
  });

  test("a program that found no memory is told with the numbers", () => {
    const used = { memoryBytes: gb, maxRssBytes: gb };
    const said = diagnoseWith(["MemoryError"], { ...exit(1), used });
    expect(said.hint).toBe("asked 1 GB, peaked at 1 GB: raise memory");
  });

  test.each([
    [137, /SIGKILL/, /memory in the profile/],
    [132, /SIGILL/, /other nodes/],
    [140, /SIGUSR2.*warning before its time limit/, /warn_before_limit/],
    [139, /SIGSEGV, exit code 139/, /^the submitter$/],
    [200, /exit code 200$/, /^the submitter$/],
  ])("a death told by exit code %d", (code, cause, who) => {
    expect(diagnose(job, exit(code)).cause).toMatch(cause);
    expect(diagnose(job, exit(code)).who).toMatch(who);
  });

  test("a kill is not taken for the kernel's where that has counted none", () => {
    const said = diagnose(job, { ...exit(137), noOomKill: true, used: { memoryBytes: gb } });
    expect(said).toEqual({ cause: expect.stringContaining("not by the kernel for memory"), who: "the submitter" });
  });

  test("a batch script that was killed, and a program whose image may be damaged, are told as such", () => {
    expect(diagnose(job, failed({ exitCode: 0, signal: 9 })).cause).toBe("the batch script was killed (SIGKILL)");
    const image = { path: "/i.sif", state: "1", sha256: "ab" };
    expect(diagnose({ ...job, image }, exit(135)).cause).toMatch(/SIGBUS.*part of its image can not be read/);
    expect(diagnose(job, exit(135)).cause).toMatch(/^the program crashed \(SIGBUS, exit code 135\)$/);
  });

  test("exit code 255 of an image is perhaps Apptainer's, and 94 without a receipt the batch script's", () => {
    const image = { path: "/i.sif", state: "1", sha256: "ab" };
    expect(diagnose({ ...job, image }, exit(255)).cause).toContain("Apptainer");
    expect(diagnose(job, exit(255)).cause).not.toContain("Apptainer");
    expect(diagnose(job, failed({ exitCode: 94, signal: 0 })).cause).toContain("job directory");
    expect(diagnose(job, exit(94)).who).toBe("the submitter");
    expect(diagnose(job, failed({ reason: "JobLaunchFailure", exitCode: 1 })).who).toBe("whoever runs the cluster");
  });

  test("exit code 255 is the program's where the image starts, and Apptainer's words are then perhaps the program's", () => {
    const image = { path: "/i.sif", state: "1", sha256: "ab" };
    const own = { ...exit(255), startable: true as const };
    expect(diagnose({ ...job, image }, own)).toEqual({
      cause: expect.stringMatching(/exit code 255$/),
      who: "the submitter",
    });
    const said = diagnoseWith(["FATAL:   stat /opt/none: no such file or directory"], own);
    expect(said.cause).toMatch(/^the program is not in the image: so its stderr says, though the image itself starts/);
    expect(said.who).toMatch(/operator.* or the submitter/);
  });

  test("a prelude that ends the run is the operator's, of a host program too", () => {
    const said = diagnoseWith(
      ["ml: not found", "job.sh: the profile's prelude ended the run with exit code 0 (on n1)"],
      exit(255),
    );
    expect(said.cause).toBe("the profile's prelude ended the run with exit code 0");
    expect(said.who).toBe("the operator of this worker");
  });

  test("exit code 1 of a run that has not begun is not its program's", () => {
    const end = diagnose(job, failed({ exitCode: 1, reason: "NonZeroExitCode", unbegun: true }));
    expect(end).toEqual({
      cause: expect.stringContaining("it seems never to have begun"),
      who: "whoever runs the cluster",
    });
    expect(diagnose(job, failed({ exitCode: 94, unbegun: true })).cause).toContain("job directory");
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
