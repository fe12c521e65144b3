/** The state directory is lost, and EMX2 has ended or forgotten its jobs before anybody looks: what they left is cleared up. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cancelJob } from "../../src/emulator/submitter.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { committedInPlace } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
/** Ends when the test says so. */
const waits = 'until [ -e "$(dirname "$0")/go" ]; do sleep 0.05; done';
const makes = 'echo made >"$HPC_OUTPUT_DIR/made.txt"';

async function loseState(stage: Stage, daemon: Program): Promise<void> {
  daemon.kill("SIGKILL");
  await daemon.ended();
  rmSync(stage.stateDir, { recursive: true });
}

/** `METHOD path status` of what EMX2 is told of the job from now on. */
function listen(stage: Stage, id: string): readonly string[] {
  const told: string[] = [];
  stage.around = async (request, answer) => {
    const { pathname } = new URL(request.url);
    const isTold = request.method !== "GET" && pathname.includes(id);
    const said = isTold ? await request.clone().text() : "";
    const response = await answer();
    if (isTold) told.push(`${pathname.split("/").at(-1)} ${JSON.parse(said).status} ${response.status}`);
    return response;
  };
  return told;
}

const hasEnded = (stage: Stage, run: number) => existsSync(join(stage.slurmDir, "jobs", `${run}.end`));
const isRemoved = (stage: Stage, id: string) => !existsSync(join(stage.jobsDir, id));

test(
  "cancelled at EMX2: its run is ended, and EMX2 hears of the log that it left",
  async () => {
    await using stage = await openStage({ profiles: { waits: { program: waits } }, worker: { keep_job_dirs: "0s" } });
    const id = stage.submit("waits");
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    await loseState(stage, first);
    cancelJob(stage.state, id);
    const told = listen(stage, id);
    stage.start("run");
    await stage.until("its run has ended", () => hasEnded(stage, 1));
    await stage.until("its directory is gone", () => isRemoved(stage, id));
    expect(callsOf(stage.slurmDir, "scancel").length).toBeGreaterThan(0);
    expect(told).toEqual(["complete CANCELLED 200"]);
  },
  testMs,
);

test(
  "completed: its directory goes in its time, without another word, and the next start does not look again",
  async () => {
    await using stage = await openStage({ profiles: { makes: { program: makes } }, worker: { keep_job_dirs: "1s" } });
    const id = stage.submit("makes");
    const keeping = stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    await loseState(stage, keeping);
    expect(isRemoved(stage, id)).toBe(false);
    const told = listen(stage, id);
    const second = stage.start("run");
    await stage.until("its directory is gone", () => isRemoved(stage, id));
    expect(told).toEqual([]);
    second.kill("SIGTERM");
    await second.ended();
    const asked = stage.requests.length;
    expect((await stage.start("once").ended()).exitCode).toBe(0);
    expect(stage.requests.slice(asked).filter((line) => line.includes(id))).toEqual([]);
  },
  testMs,
);

test(
  "completed, with outputs and logs that stay in the job directory: they outlive the rest of it",
  async () => {
    const posix = { output_residence: "posix", log_residence: "posix" };
    const profiles = { makes: { program: makes, ...posix } };
    await using stage = await openStage({ profiles, worker: { keep_job_dirs: "1s" } });
    const id = stage.submit("makes");
    const first = stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    await loseState(stage, first);
    stage.start("run");
    const dir = join(stage.jobsDir, id);
    await stage.until("what is the daemon's is gone", () => !existsSync(join(dir, ".emx2")));
    expect(existsSync(dir) ? readdirSync(dir).sort() : []).toEqual(["logs", "output"]);
    const { outputArtifactId, logArtifactId } = stage.job(id);
    expect([...committedInPlace(stage, outputArtifactId).keys()]).toEqual(["made.txt"]);
    expect(committedInPlace(stage, logArtifactId).size).toBeGreaterThan(0);
  },
  testMs,
);

test(
  "an EMX2 that knows none of several was restored, or is another: their runs go on",
  async () => {
    await using stage = await openStage({ profiles: { waits: { program: waits } } });
    const ids = [stage.submit("waits"), stage.submit("waits")];
    const first = stage.start("run");
    for (const id of ids) await stage.untilStatus(id, "STARTED");
    await loseState(stage, first);
    for (const id of ids) stage.state.jobs.delete(id);
    const second = stage.start("run");
    await stage.until("it says so", () => second.stderr().includes("EMX2 knows none of the jobs"));
    expect((await stage.start("status").ended()).exitCode).toBe(0);
    expect(callsOf(stage.slurmDir, "scancel")).toEqual([]);
    expect([hasEnded(stage, 1), hasEnded(stage, 2)]).toEqual([false, false]);
  },
  testMs,
);
