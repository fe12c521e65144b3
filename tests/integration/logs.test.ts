/** Logs come back whatever became of the job: too large to go whole, without an end, beside outputs that EMX2 will not take. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { committed, committedInPlace } from "./committed.ts";
import { generations } from "./course.ts";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const mebi = 2 ** 20;

/** Each line says where it stands, so that parts of it can be told apart. */
const lines = (count: number) => `awk 'BEGIN { for (i = 0; i < ${count}; i++) printf "%015d\\n", i }'`;
const lineBytes = 16;
const lineAt = (index: number) => `${String(index).padStart(lineBytes - 1, "0")}\n`;

const textOf = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

describe("a log of 40 MiB", () => {
  const count = (40 * mebi) / lineBytes;
  const program = `${lines(count)}; ${lines(2)} >"$HPC_OUTPUT_DIR/own.log"`;

  test.each(generations)(
    "EMX2 %s gets its first and its last part, with a line between that says what is missing",
    async (generation) => {
      const worker = { max_log_size: "24M" };
      await using stage = await openStage({ generation, worker, profiles: { talks: { program } } });
      const id = stage.submit("talks");
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const logs = committed(stage, stage.job(id).logArtifactId);
      const text = textOf(logs.get("slurm-1.out"));
      const partLines = (12 * mebi) / lineBytes;
      const [head, line, tail] = [text.slice(0, 12 * mebi), text.slice(12 * mebi, -12 * mebi), text.slice(-12 * mebi)];
      expect([head.startsWith(lineAt(0)), head.endsWith(lineAt(partLines - 1))]).toEqual([true, true]);
      expect([tail.startsWith(lineAt(count - partLines)), tail.endsWith(lineAt(count - 1))]).toEqual([true, true]);
      expect(line).toBe(
        `\n[emx2-hpc-daemon: ${16 * mebi} of the ${40 * mebi} bytes of ".emx2/slurm-1.out" are left out here; all of it is in the job's directory on the cluster, while that is kept]\n`,
      );
      expect(line).not.toContain(stage.dir);
      expect(textOf(logs.get("own.log"))).toBe(lineAt(0) + lineAt(1));
      expect(statSync(join(stage.jobsDir, id, ".emx2/slurm-1.out")).size).toBe(40 * mebi);
    },
    testMs,
  );

  test(
    "is whole where it stays in place",
    async () => {
      const profiles = { talks: { program, log_residence: "posix" } };
      await using stage = await openStage({ worker: { max_log_size: "1M" }, profiles });
      const id = stage.submit("talks");
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED");
      const logs = committedInPlace(stage, stage.job(id).logArtifactId);
      expect(logs.get("slurm-1.out")?.length).toBe(40 * mebi);
    },
    testMs,
  );
});

test(
  "logs that a stray of the job writes to without end hold up no job's end, and come back as far as they were written",
  async () => {
    // Named with the stage's directory, so that the stage ends them.
    const stray = (to: string) =>
      `setsid sh -c 'while :; do echo tick; done' "$HPC_WORK_DIR" ${to} </dev/null & echo $! >>"$HPC_WORK_DIR/strays"`;
    const program = `echo begun; echo begun >"$HPC_OUTPUT_DIR/own.log"; ${stray("")}
      ${stray('>>"$HPC_OUTPUT_DIR/own.log"')}; echo result >"$HPC_OUTPUT_DIR/result"`;
    await using stage = await openStage({ profiles: { strays: { program, seal_outputs: false } } });
    const id = stage.submit("strays");
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", 50_000);
    const { logArtifactId, outputArtifactId } = stage.job(id);
    const logs = committed(stage, logArtifactId);
    for (const name of ["slurm-1.out", "own.log"])
      expect(textOf(logs.get(name)?.subarray(0, 16))).toBe("begun\ntick\ntick\n");
    expect([...committed(stage, outputArtifactId).keys()]).toEqual(["result"]);
  },
  testMs,
);

const begins = { begins: { program: 'echo begun; : >"$HPC_OUTPUT_DIR/begun"; exec sleep 60' } };
const results = { results: { program: 'echo begun; echo result >"$HPC_OUTPUT_DIR/result.bin"' } };

/** The job's one end, its log, and no output. */
function expectLogAlone(stage: Stage, id: string, detail: RegExp): void {
  const job = stage.job(id);
  expect(job.transitions.at(-1)?.detail).toMatch(detail);
  expect(textOf(committed(stage, job.logArtifactId).get("slurm-1.out"))).toBe("begun\n");
  expect(job.outputArtifactId).toBeNull();
}

test(
  "outputs that EMX2 refuses for good: the job FAILED names its log, and where its outputs are",
  async () => {
    await using stage = await openStage({ profiles: results });
    stage.around = async (request, answer) => {
      if (request.method !== "PUT" || !request.url.endsWith("/result.bin")) return answer();
      await request.arrayBuffer();
      return Response.json({ title: "Payload Too Large", status: 413, detail: "too large" }, { status: 413 });
    };
    const id = stage.submit("results");
    stage.start("run");
    await stage.untilStatus(id, "FAILED");
    expectLogAlone(stage, id, /outputs were not uploaded: .*"result\.bin".*posix residence/);
    expect(existsSync(join(stage.jobsDir, id, "output/result.bin"))).toBe(true);
  },
  testMs,
);

test(
  "a job that somebody ends by scancel is CANCELLED with its log",
  async () => {
    await using stage = await openStage({ profiles: begins });
    const id = stage.submit("begins");
    stage.start("run");
    await stage.until("it has begun", () => existsSync(join(stage.jobsDir, id, "output/begun")));
    const [, user = ""] = readFileSync(join(stage.slurmDir, "jobs/1.job"), "utf8").split("\t");
    const scancel = [join(stage.slurmDir, "bin/scancel"), `--user=${user}`, `--name=emx2-${id}`];
    expect(await Bun.spawn(scancel).exited).toBe(0);
    await stage.untilStatus(id, "CANCELLED");
    expectLogAlone(stage, id, /^slurm_state=CANCELLED/);
  },
  testMs,
);
