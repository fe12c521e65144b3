/** `clean`: what retention would remove one day goes now, and nothing else does, with a daemon or without one. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const stranger = "00000000-0000-4000-8000-000000000000";
const profiles = {
  done: {
    program:
      'echo out >"$HPC_OUTPUT_DIR/out"; ln -s / "$HPC_WORK_DIR/root"; mkdir "$HPC_WORK_DIR/shut"; chmod 0 "$HPC_WORK_DIR/shut"',
  },
  posix: { program: 'echo out >"$HPC_OUTPUT_DIR/out"', output_residence: "posix" },
  refused: { program: 'echo out >"$HPC_OUTPUT_DIR/refused.bin"' },
  long: { program: "sleep 60" },
};

async function said(stage: Stage, ...args: string[]) {
  const { exitCode, stdout, stderr } = await stage.start(...args).ended(30_000);
  return { exitCode, stdout, stderr };
}

/** One job of each kind, as far as it comes, and a directory of somebody else's. */
async function furnished(stage: Stage) {
  stage.around = async (request, answer) =>
    request.url.endsWith("/refused.bin") && request.method === "PUT" ? new Response("{}", { status: 413 }) : answer();
  const jobs = {
    done: stage.submit("done"),
    posix: stage.submit("posix"),
    refused: stage.submit("refused"),
    long: stage.submit("long"),
  };
  const run = stage.start("run");
  await stage.untilStatus(jobs.done, "COMPLETED");
  await stage.untilStatus(jobs.posix, "COMPLETED");
  await stage.untilStatus(jobs.refused, "FAILED");
  await stage.untilStatus(jobs.long, "STARTED");
  for (const id of [jobs.done, jobs.posix, jobs.refused])
    await stage.until("the daemon has closed it", () => run.stderr().includes(`jobId=${id} closed`));
  mkdirSync(join(stage.jobsDir, stranger, "output"), { recursive: true });
  writeFileSync(join(stage.jobsDir, stranger, "output/theirs"), "x".repeat(100_000));
  symlinkSync("/", join(stage.jobsDir, stranger, "output/root"));
  return { jobs, run, at: (id: string) => join(stage.jobsDir, id) };
}

const there = (stage: Stage) =>
  readdirSync(stage.jobsDir)
    .filter((name) => /^[0-9a-f]{8}-/.test(name))
    .sort();

test(
  "with a daemon: a dry run changes nothing and tells what stays and why; then what may go is gone",
  async () => {
    await using stage = await openStage({ profiles });
    const { jobs, run, at } = await furnished(stage);
    const before = there(stage);
    const shown = await stage.until(
      "the snapshot knows how each has ended",
      async () => {
        const { exitCode, stdout } = await said(stage, "clean", "--dry-run", "--json");
        expect(exitCode).toBe(0);
        const { directories } = JSON.parse(stdout) as {
          directories: { jobId: string; stays: string | null; bytes: number }[];
        };
        const why = Object.fromEntries(directories.map(({ jobId, stays }) => [jobId, stays]));
        return why[jobs.done] === null && why[jobs.posix] === null && why[jobs.refused]?.includes("not at EMX2")
          ? directories
          : undefined;
      },
      40_000,
    );
    const why = Object.fromEntries(shown.map(({ jobId, stays }) => [jobId, stays]));
    expect(why[jobs.long]).toBe("it has not ended");
    expect(why[stranger]).toContain("it has no owner file");
    expect(shown.find(({ jobId }) => jobId === stranger)?.bytes).toBeLessThan(1_000_000);
    const text = await said(stage, "clean", "--dry-run");
    expect(text.stdout).toMatch(/^would go +\S+\/done|would go/m);
    expect(text.stdout).toMatch(/2 directories would go, .+; 3 would stay/);
    expect(there(stage)).toEqual(before);

    const asked = await said(stage, "clean");
    expect([asked.exitCode, asked.stderr]).toEqual([0, ""]);
    expect(asked.stdout).toContain(`process ${run.pid} on `);
    await stage.until("it is gone", () => !existsSync(at(jobs.done)) && !existsSync(join(at(jobs.posix), ".emx2")));
    expect(there(stage)).toEqual([jobs.posix, jobs.refused, jobs.long, stranger].sort());
    // The artifact itself stays for ever.
    expect(readdirSync(at(jobs.posix))).toEqual(["output"]);
    expect(existsSync(join(at(jobs.refused), "output/refused.bin"))).toBe(true);
    expect(existsSync(join(at(stranger), "output/theirs"))).toBe(true);
    expect(stage.job(jobs.long).status).toBe("STARTED");
  },
  testMs,
);

test(
  "without a daemon it removes them itself, and leaves the rest as it was",
  async () => {
    await using stage = await openStage({ profiles, worker: { keep_job_dirs: "30d" } });
    const { jobs, run, at } = await furnished(stage);
    run.kill();
    expect((await run.ended()).exitCode).toBe(0);
    const requests = stage.requests.length;
    const asked = await said(stage, "clean");
    expect([asked.exitCode, asked.stdout, asked.stderr]).toEqual([0, "2 of 2 job directories are removed\n", ""]);
    expect(stage.requests.length).toBe(requests);
    expect(there(stage)).toEqual([jobs.posix, jobs.refused, jobs.long, stranger].sort());
    expect(existsSync(at(jobs.done))).toBe(false);
    expect((await said(stage, "clean")).stdout).toBe("0 of 0 job directories are removed\n");
    const late = await said(stage, "retry", jobs.refused);
    expect(late.exitCode).toBe(1);
    expect(late.stderr).toContain(`its outputs are not at EMX2, and stay in ${at(jobs.refused)}`);
    expect((await said(stage, "clean", "everything")).exitCode).toBe(2);
  },
  testMs,
);
