/** `clean` where it is hard to be right: what is no directory, a posix artifact whose job is forgotten, a policy that changed. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const profiles = {
  done: { program: 'echo out >"$HPC_OUTPUT_DIR/out"' },
  posix: { program: 'head -c 300000 /dev/zero >"$HPC_OUTPUT_DIR/out"', output_residence: "posix" },
};

async function said(stage: Stage, ...args: string[]) {
  const { exitCode, stdout, stderr } = await stage.start(...args).ended(30_000);
  return { exitCode, stdout, stderr };
}

async function ranOnce(stage: Stage, ...processors: string[]): Promise<string[]> {
  const ids = processors.map((processor) => stage.submit(processor));
  const run = stage.start("run");
  for (const id of ids) {
    await stage.untilStatus(id, "COMPLETED");
    // EMX2 knows it before the daemon has its answer.
    await stage.until("the daemon has closed it", () => run.stderr().includes(`jobId=${id} closed`));
  }
  run.kill();
  expect((await run.ended()).exitCode).toBe(0);
  return ids;
}

interface Shown {
  readonly jobId: string;
  readonly stays: string | null;
  readonly bytes: number;
  readonly parts: readonly string[];
}

async function shown(stage: Stage): Promise<Record<string, Shown>> {
  const { exitCode, stdout, stderr } = await said(stage, "clean", "--dry-run", "--json");
  expect([exitCode, stderr]).toEqual([0, ""]);
  const { directories } = JSON.parse(stdout) as { directories: Shown[] };
  return Object.fromEntries(directories.map((one) => [one.jobId, one]));
}

test(
  "a file and a link that bear a job's name do not end a dry run",
  async () => {
    await using stage = await openStage({ profiles });
    const [done = ""] = await ranOnce(stage, "done");
    writeFileSync(join(stage.jobsDir, "00000000-0000-4000-8000-000000000001"), "");
    symlinkSync("/", join(stage.jobsDir, "00000000-0000-4000-8000-000000000002"));
    expect((await shown(stage))[done]?.stays).toBeNull();
  },
  testMs,
);

test(
  "a posix artifact is not counted as what would go, and is told for what it is once its job is forgotten",
  async () => {
    await using stage = await openStage({ profiles });
    const [posix = ""] = await ranOnce(stage, "posix");
    const before = (await shown(stage))[posix];
    expect([before?.stays, before?.parts]).toEqual([null, ["output"]]);
    expect(before?.bytes).toBeLessThan(200_000);
    expect((await said(stage, "clean", "--dry-run")).stdout).toContain("output stays: it is a posix artifact");
    expect((await said(stage, "clean")).exitCode).toBe(0);
    expect(readdirSync(join(stage.jobsDir, posix))).toEqual(["output"]);
    expect((await shown(stage))[posix]?.stays).toContain("may be a posix artifact");
  },
  testMs,
);

test(
  "where directories have since come to be kept for ever, clean removes those that are still known, and counts what is gone",
  async () => {
    await using stage = await openStage({ profiles, worker: { keep_job_dirs: "7d" } });
    const [done = ""] = await ranOnce(stage, "done");
    writeFileSync(stage.configFile, readFileSync(stage.configFile, "utf8").replace('"7d"', '"never"'));
    const asked = await said(stage, "clean");
    expect(asked).toEqual({ exitCode: 0, stdout: "1 of 1 job directories are removed\n", stderr: "" });
    expect(existsSync(join(stage.jobsDir, done))).toBe(false);
  },
  testMs,
);

test(
  "arguments that make no sense change nothing",
  async () => {
    await using stage = await openStage({ profiles });
    const [done = ""] = await ranOnce(stage, "done");
    for (const odd of [["--json"], ["everything"], ["--dry-runn"]])
      expect((await said(stage, "clean", ...odd)).exitCode).toBe(2);
    expect(existsSync(join(stage.jobsDir, done))).toBe(true);
  },
  testMs,
);
