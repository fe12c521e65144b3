/** The daemon is killed, with no chance to write a word, and started again. */
import { expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isTerminal } from "../../src/job/status.ts";
import { readSnapshot } from "../../src/journal/snapshot.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { artifactsOf, committed } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";

const testMs = 60_000;
const input = { files: [{ path: "a.txt", content: "hello" }] };

function expectOnce(stage: Stage, id: string): void {
  const job = stage.job(id);
  expect(statusesOf(job)).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
  expect(job.transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
  expect(stage.ledger()).toEqual([id]);
  expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(1);
  for (const role of ["output", "log"] as const) {
    expect(artifactsOf(stage, role, id).map(({ status }) => status)).toEqual(["COMMITTED"]);
  }
  expect(new TextDecoder().decode(committed(stage, job.outputArtifactId).get("copy.bin"))).toBe("hello");
}

test(
  "SIGKILL just after sbatch has submitted: one Slurm job, one run, one output, COMPLETED",
  async () => {
    await using stage = await openStage();
    writeFileSync(join(stage.slurmDir, "hang-after-sbatch"), "30\n");
    const id = stage.submit("copy", input);
    const first = stage.start("run");
    await stage.until("sbatch has made the job", () => existsSync(join(stage.slurmDir, "jobs", "1.job")));
    first.kill("SIGKILL");
    expect((await first.ended()).exitCode).toBe(137);
    expect(stage.job(id).status).toBe("CLAIMED");
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", 40_000);
    expectOnce(stage, id);
  },
  testMs,
);

test(
  "SIGKILL while sbatch still waits for the controller: it submits seconds later, and nobody submits again",
  async () => {
    await using stage = await openStage();
    writeFileSync(join(stage.slurmDir, "hang-sbatch"), "3\n");
    const id = stage.submit("copy", input);
    const first = stage.start("run");
    await stage.until("sbatch was called", () => callsOf(stage.slurmDir, "sbatch").length === 1);
    first.kill("SIGKILL");
    await first.ended();
    expect(existsSync(join(stage.slurmDir, "jobs", "1.job"))).toBe(false);
    rmSync(join(stage.slurmDir, "hang-sbatch"));
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", 40_000);
    expectOnce(stage, id);
  },
  testMs,
);

interface Moment {
  readonly method: string;
  readonly path: RegExp;
  /** Has EMX2 acted when the daemon dies? */
  readonly when: "before" | "after";
}

/** Starts a daemon and kills it while it waits for the answer to this request. */
async function killAt(stage: Stage, { method, path, when }: Moment): Promise<void> {
  let reached = false;
  stage.around = async (request, answer) => {
    if (request.method !== method || !path.test(new URL(request.url).pathname)) return answer();
    if (when === "after") await answer();
    reached = true;
    return new Promise<never>(() => {});
  };
  const program = stage.start("run");
  await stage.until(`${method} ${path} has been sent`, () => reached);
  program.kill("SIGKILL");
  expect((await program.ended()).exitCode).toBe(137);
  stage.around = undefined;
}

const moments: readonly (readonly [string, string, RegExp])[] = [
  ["the claim", "POST", /\/claim$/],
  ["reading an input's artifact", "GET", /\/artifacts\/[^/]+$/],
  ["staging an input", "GET", /\/files\/.+$/],
  ["reading the job's parameters", "GET", /\/jobs\/[^/]+$/],
  ["the report of SUBMITTED, STARTED or COMPLETED", "POST", /\/(transition|complete)$/],
  ["creating an artifact", "POST", /\/artifacts$/],
  ["an upload", "PUT", /\/files\/.+$/],
  ["a commit", "POST", /\/commit$/],
  ["the terminal report", "POST", /\/complete$/],
];

for (const [name, method, path] of moments) {
  for (const when of ["before", "after"] as const) {
    test(
      `SIGKILL ${when} EMX2 has acted on ${name}: one run, one committed output, one terminal report`,
      async () => {
        await using stage = await openStage();
        const id = stage.submit("copy", input);
        await killAt(stage, { method, path, when });
        stage.start("run");
        await stage.untilStatus(id, "COMPLETED", 40_000);
        expectOnce(stage, id);
      },
      testMs,
    );
  }
}

test(
  "SIGKILL in the midst of an input of 2,000 files: the restart fetches what is missing, and what was on its way",
  async () => {
    const count = { program: 'cat "$HPC_INPUT_DIR"/*/* | sort -n | uniq | wc -l >"$HPC_OUTPUT_DIR/count"' };
    await using stage = await openStage({ profiles: { count } });
    const files = Array.from({ length: 2_000 }, (_, index) => ({ path: `f${index}`, content: `${index}\n` }));
    const id = stage.submit("count", { files });
    const fetched = () => stage.requests.filter((request) => /^GET .*\/files\/f\d+$/.test(request));
    const first = stage.start("run");
    await stage.until("half of it is fetched", () => fetched().length >= 1_000);
    first.kill("SIGKILL");
    await first.ended();
    expect(fetched().length).toBeLessThan(2_000);
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", 40_000);
    const counted = committed(stage, stage.job(id).outputArtifactId).get("count");
    expect(new TextDecoder().decode(counted).trim()).toBe("2000");
    const transfersAtOnce = 4;
    expect(new Set(fetched()).size).toBe(2_000);
    expect(fetched().length).toBeLessThanOrEqual(2_000 + transfersAtOnce);
  },
  testMs,
);

/**
 * Killed after it wrote down that it submits, and before it did: it looks for minutes before it
 * submits again. That this ends in exactly one run is the simulation's to show, where minutes cost nothing.
 */
function inDoubt({ stateDir }: Stage, id: string): boolean {
  const job = readSnapshot(join(stateDir, "snapshot.db"))?.jobs.find((known) => known.id === id);
  return job?.run.stage === "submitting" && job.run.doubt;
}

test(
  "killed again and again, at any moment, jobs run once each and come back whole",
  async () => {
    const program = 'sleep 0.3; cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"';
    await using stage = await openStage({ profiles: { copy: { program } } });
    const ids = Array.from({ length: 10 }, () => stage.submit("copy", input));
    const isDone = (id: string) => stage.job(id).status === "COMPLETED";
    for (let life = 0; life < 12 && !ids.every(isDone); life++) {
      const daemon = stage.start("run");
      const seen = stage.requests.length;
      // Each life sees some more requests than the one before it, and dies at the next.
      const enough = () => stage.requests.length >= seen + 5 + life * 4 || ids.every(isDone);
      await stage.until(`life ${life} has asked enough`, enough);
      daemon.kill("SIGKILL");
      await daemon.ended();
    }
    await stage.until(
      "each is COMPLETED or in doubt",
      async () => {
        expect((await stage.start("once").ended()).exitCode).toBe(0);
        return ids.every((id) => isDone(id) || inDoubt(stage, id));
      },
      40_000,
    );
    const done = ids.filter(isDone);
    expect(done.length).toBeGreaterThan(5);
    expect(stage.ledger().sort()).toEqual([...done].sort());
    expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(done.length);
    for (const id of done) {
      expect(artifactsOf(stage, "output", id).filter(({ status }) => status === "COMMITTED")).toHaveLength(1);
      expect(stage.job(id).transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
    }
  },
  testMs,
);
