/** The state directory is lost in each phase of a job's life, and the next daemon carries the job on, once. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cancelJob } from "../../src/emulator/submitter.ts";
import { isTerminal } from "../../src/job/status.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { artifactsOf, committed } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const input = { files: [{ path: "a.txt", content: "hello" }] };
/** Ends when the test says so. */
const program = `
  until [ -e "$(dirname "$0")/go" ]; do sleep 0.05; done
  cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"`;
const profiles = { copy: { program } };
const letGo = (stage: Stage) => writeFileSync(join(stage.dir, "programs", "go"), "");

async function loseState(stage: Stage, daemon: Program): Promise<void> {
  daemon.kill("SIGKILL");
  await daemon.ended();
  rmSync(stage.stateDir, { recursive: true });
}

/** The daemon dies while it waits for the answer to this request. */
async function dieAt(stage: Stage, method: string, path: RegExp, when: "before" | "after"): Promise<void> {
  let reached = false;
  stage.around = async (request, answer) => {
    if (request.method !== method || !path.test(new URL(request.url).pathname)) return answer();
    if (when === "after") await answer();
    reached = true;
    return new Promise<never>(() => {});
  };
  const daemon = stage.start("run");
  await stage.until(`${method} ${path} was sent`, () => reached);
  await loseState(stage, daemon);
  stage.around = undefined;
}

async function expectOnce(stage: Stage, id: string): Promise<void> {
  await stage.untilStatus(id, "COMPLETED", 40_000);
  const job = stage.job(id);
  expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
  expect(job.transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
  expect(stage.ledger()).toEqual([id]);
  expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(1);
  for (const role of ["output", "log"] as const)
    expect(artifactsOf(stage, role, id).map(({ status }) => status)).toEqual(["COMMITTED"]);
  expect(new TextDecoder().decode(committed(stage, job.outputArtifactId).get("copy.bin"))).toBe("hello");
}

test(
  "lost while inputs are staged: staged anew, and run once",
  async () => {
    await using stage = await openStage({ profiles });
    letGo(stage);
    const id = stage.submit("copy", input);
    await dieAt(stage, "GET", /\/files\/.+$/, "before");
    expect(stage.job(id).status).toBe("CLAIMED");
    stage.start("run");
    await expectOnce(stage, id);
  },
  testMs,
);

test(
  "lost when Slurm had taken the job and EMX2 had not heard of it: found by name, and run once",
  async () => {
    await using stage = await openStage({ profiles });
    writeFileSync(join(stage.slurmDir, "hold"), "");
    const id = stage.submit("copy", input);
    await dieAt(stage, "POST", /\/transition$/, "before");
    expect(stage.job(id).status).toBe("CLAIMED");
    stage.start("run");
    await stage.untilStatus(id, "SUBMITTED");
    letGo(stage);
    rmSync(join(stage.slurmDir, "hold"));
    await expectOnce(stage, id);
  },
  testMs,
);

test(
  "lost while the job waits in the queue",
  async () => {
    await using stage = await openStage({ profiles });
    writeFileSync(join(stage.slurmDir, "hold"), "");
    letGo(stage);
    const id = stage.submit("copy", input);
    const first = stage.start("run");
    await stage.untilStatus(id, "SUBMITTED");
    await loseState(stage, first);
    stage.start("run");
    rmSync(join(stage.slurmDir, "hold"));
    await expectOnce(stage, id);
  },
  testMs,
);

test(
  "lost while the workload runs; the directory is this state's from then on, and is removed in the end",
  async () => {
    await using stage = await openStage({ profiles, worker: { keep_job_dirs: 0 } });
    const id = stage.submit("copy", input);
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    await loseState(stage, first);
    const second = stage.start("run");
    await stage.until("it is taken in", () => second.stderr().includes("is carried on"));
    letGo(stage);
    await expectOnce(stage, id);
    await stage.until("its directory is gone", () => !existsSync(join(stage.jobsDir, id)));
  },
  testMs,
);

test(
  "lost, and the workload ended while no daemon was there: `once` brings it to its end",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("copy", input);
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    await loseState(stage, first);
    letGo(stage);
    await stage.until("the run has ended", () => existsSync(join(stage.slurmDir, "jobs", "1.end")));
    expect((await stage.start("once").ended()).exitCode).toBe(0);
    await expectOnce(stage, id);
  },
  testMs,
);

const uploads: readonly (readonly [string, string, RegExp])[] = [
  ["creating an artifact", "POST", /\/artifacts$/],
  ["an upload", "PUT", /\/files\/.+$/],
  ["a commit", "POST", /\/commit$/],
  ["the terminal report", "POST", /\/complete$/],
];
for (const [name, method, path] of uploads) {
  for (const when of ["before", "after"] as const) {
    test(
      `lost ${when} EMX2 has acted on ${name}: one artifact with content of each kind`,
      async () => {
        await using stage = await openStage({ profiles });
        letGo(stage);
        const id = stage.submit("copy", input);
        await dieAt(stage, method, path, when);
        stage.start("run");
        await expectOnce(stage, id);
      },
      testMs,
    );
  }
}

test(
  "cancelled at EMX2 after the state was lost: its run is ended",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("copy", input);
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    await loseState(stage, first);
    const second = stage.start("run");
    await stage.until("it is taken in", () => second.stderr().includes("is carried on"));
    cancelJob(stage.state, id);
    await stage.until("its run has ended", () => existsSync(join(stage.slurmDir, "jobs", "1.end")));
    expect(stage.job(id).status).toBe("CANCELLED");
  },
  testMs,
);

test(
  "cancelled at EMX2 before anybody looked: its run is ended all the same, its directory goes in its time, and that is looked for once",
  async () => {
    await using stage = await openStage({ profiles, worker: { keep_job_dirs: "1s", cancelled_wait_seconds: 0.5 } });
    const id = stage.submit("copy", input);
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    await loseState(stage, first);
    cancelJob(stage.state, id);
    const said = stage.job(id).transitions.length;
    const second = stage.start("run");
    await stage.until("its run has ended", () => existsSync(join(stage.slurmDir, "jobs", "1.end")));
    await stage.until("its directory is gone", () => !existsSync(join(stage.jobsDir, id)));
    expect(stage.job(id)).toMatchObject({ status: "CANCELLED" });
    expect(
      stage
        .job(id)
        .transitions.slice(said)
        .map(({ to }) => to),
    ).toEqual(["CANCELLED"]);
    second.kill("SIGTERM");
    await second.ended();
    const requests = stage.requests.length;
    expect((await stage.start("once").ended()).exitCode).toBe(0);
    expect(stage.requests.slice(requests).filter((line) => line.includes(id))).toEqual([]);
  },
  testMs,
);

test(
  "deleted at EMX2 before anybody looked: its run is ended, and of another state's directories none is touched",
  async () => {
    await using stage = await openStage({ profiles });
    const ids = [stage.submit("copy", input), stage.submit("copy", input)];
    const first = stage.start("run");
    for (const id of ids) await stage.untilStatus(id, "STARTED");
    await loseState(stage, first);
    const [deleted = "", foreign = ""] = ids;
    for (const id of ids) stage.state.jobs.delete(id);
    const owner = join(stage.jobsDir, foreign, ".emx2/owner");
    const before = JSON.parse(readFileSync(owner, "utf8"));
    writeFileSync(owner, JSON.stringify({ ...before, stateDir: join(stage.dir, "elsewhere") }));
    stage.start("run");
    await stage.until("its run was cancelled", () => callsOf(stage.slurmDir, "scancel").length > 0);
    const calls = callsOf(stage.slurmDir, "scancel").filter((call) => call.includes(foreign));
    expect(calls).toEqual([]);
    await stage.until("its run has ended", () =>
      callsOf(stage.slurmDir, "scancel").some((call) => call.includes(deleted)),
    );
    expect(JSON.parse(readFileSync(owner, "utf8")).state).toBe(before.state);
    letGo(stage);
  },
  testMs,
);
