/**
 * The daemon is killed with SIGKILL and started again, and nobody else can tell: one Slurm job, one start of the workload,
 * one output. What Slurm was asked is decided by a program in front of the real sbatch.
 */
import { expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { artifactsOf } from "../committed.ts";
import { statusesOf } from "../harness.ts";
import { onRealSlurm, openSlurmStage, type SlurmStage, slurmBoundMs, slurmCommands, textOf } from "./real-slurm.ts";

const profiles = {
  counts: { program: 'cat "$HPC_INPUT_DIR"/*/* | wc -l | tr -d " " >"$HPC_OUTPUT_DIR/lines"; sleep 1' },
};
const input = { files: [{ path: "text", content: "one\ntwo\nthree\n" }] };

onRealSlurm("a daemon that is killed", () => {
  test("after sbatch has submitted, before it has answered, takes up the one Slurm job", async () => {
    await using stage = await openSlurmStage({ profiles, slurm: { bin_dir: "commands" } });
    putInFrontOfSbatch(stage, ['id=$("$sbatch" "$@")', 'echo "$id" >"$dir/submitted"', "exec sleep 60"]);
    const id = stage.submit("counts", input);
    const first = stage.start("run");
    await stage.until("sbatch has submitted", () => existsSync(join(stage.dir, "submitted")), slurmBoundMs);
    first.kill("SIGKILL");
    await first.ended();

    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    expectOneRun(stage, id);
    expect(stage.job(id).slurmJobId).toBe(readFileSync(join(stage.dir, "submitted"), "utf8").trim());
  });

  test("while sbatch goes on without it and submits later, submits nothing itself", async () => {
    await using stage = await openSlurmStage({ profiles, slurm: { bin_dir: "commands" } });
    const go = 'until [ -e "$dir/go" ]; do sleep 0.1; done';
    putInFrontOfSbatch(stage, [': >"$dir/called"', go, 'exec "$sbatch" "$@"']);
    const id = stage.submit("counts", input);
    const first = stage.start("run");
    await stage.until("sbatch was called", () => existsSync(join(stage.dir, "called")), slurmBoundMs);
    first.kill("SIGKILL");
    await first.ended();

    stage.start("run");
    await stage.until("it has looked for the job in accounting too", () => existsSync(join(stage.dir, "asked")));
    expect(stage.slurmJobs(id)).toEqual([]);
    writeFileSync(join(stage.dir, "go"), "");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    expectOneRun(stage, id);
  });

  test("while the job runs, learns of its end when it comes back", async () => {
    await using stage = await openSlurmStage({ profiles });
    const id = stage.submit("counts", input);
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED", slurmBoundMs);
    first.kill("SIGKILL");
    await first.ended();
    await stage.until("Slurm has ended it", () => stage.slurmJobs(id)[0]?.state === "COMPLETED", slurmBoundMs);

    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    expectOneRun(stage, id);
  });

  test.each([
    ["an artifact is made", /^POST \S+\/artifacts$/],
    ["a file is put", /^PUT \S+\/files\/lines$/],
    ["an artifact is committed", /^POST \S+\/commit$/],
    ["the end is reported", /^POST \S+\/complete$/],
  ])("as %s, before the answer, ends with one output", async (_, edge) => {
    await using stage = await openSlurmStage({ profiles });
    const id = stage.submit("counts", input);
    const first = stage.start("run");
    let killed = false;
    stage.around = async (request, answer) => {
      const response = await answer();
      if (killed || !edge.test(`${request.method} ${new URL(request.url).pathname}`)) return response;
      killed = true;
      first.kill("SIGKILL");
      throw new Error("nobody is left to take the answer");
    };
    await stage.until("the daemon was killed", () => first.exitCode() !== undefined, slurmBoundMs);
    expect(killed).toBe(true);

    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    expectOneRun(stage, id);
  });
});

/** The first sbatch runs these lines, with `dir` and `sbatch` set; every later one is Slurm's own. sacct leaves a mark. */
function putInFrontOfSbatch(stage: SlurmStage, lines: readonly string[]): void {
  const commands = join(stage.dir, "commands");
  mkdirSync(commands);
  for (const name of ["squeue", "scancel"]) symlinkSync(join(slurmCommands(), name), join(commands, name));
  writeProgram(join(commands, "sacct"), [`: >'${stage.dir}/asked'`, `exec '${slurmCommands()}/sacct' "$@"`]);
  const later = '[ ! -e "$dir/first" ] || exec "$sbatch" "$@"';
  const paths = `dir='${stage.dir}' sbatch='${slurmCommands()}/sbatch'`;
  writeProgram(join(commands, "sbatch"), [paths, later, ': >"$dir/first"', ...lines]);
}

function writeProgram(path: string, lines: readonly string[]): void {
  writeFileSync(path, `${["#!/bin/sh", "set -eu", ...lines].join("\n")}\n`);
  chmodSync(path, 0o755);
}

function expectOneRun(stage: SlurmStage, id: string): void {
  const job = stage.job(id);
  expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
  expect(stage.slurmJobs(id)).toEqual([{ id: job.slurmJobId ?? "none", state: "COMPLETED" }]);
  expect(stage.ledger()).toEqual([id]);
  expect(textOf(stage.output(id), "lines")).toBe("3\n");
  expect(artifactsOf(stage, "output", id).map((artifact) => artifact.id)).toEqual([job.outputArtifactId ?? "none"]);
  expect(artifactsOf(stage, "log", id).map((artifact) => artifact.id)).toEqual([job.logArtifactId ?? "none"]);
}
