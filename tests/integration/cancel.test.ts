/** The submitter cancels at EMX2, wherever the job is. */
import { expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { artifact, cancelJob } from "../../src/emulator/submitter.ts";
import { readSnapshot } from "../../src/journal/snapshot.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { artifactsOf, committed } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const input = { files: [{ path: "a.txt", content: "hello" }] };
const profiles = {
  copy: { program: 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"; echo copied' },
  long: { program: 'echo begun; : >"$HPC_OUTPUT_DIR/begun"; sleep 60' },
};

/** Some polls later the daemon is stopped: does it think itself that it has nothing more to do for the job? */
async function untilClosed(stage: Stage, id: string, program: Program): Promise<void> {
  // Slurm is looked at in its own time.
  await stage.until("the daemon has seen its end", () => program.stderr().includes(`jobId=${id} closed`));
  const polls = () => stage.requests.filter((request) => request.includes("status=PENDING")).length;
  const before = polls();
  await stage.until("three more polls have gone by", () => polls() >= before + 3);
  program.kill();
  expect((await program.ended()).exitCode).toBe(0);
  const job = readSnapshot(join(stage.stateDir, "snapshot.db"))?.jobs.find((known) => known.id === id);
  expect(job?.closed?.status).toBe("CANCELLED");
}

/** What was said to EMX2 about the job after its submitter had cancelled it. */
function saidAfterwards(stage: Stage, id: string) {
  const { transitions } = stage.job(id);
  const cancelled = transitions.findIndex(({ to }) => to === "CANCELLED");
  return transitions.slice(cancelled + 1).map(({ to, detail }) => ({ to, detail }));
}

test(
  "cancelled before the claim: it is never claimed",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("copy", input);
    cancelJob(stage.state, id);
    const other = stage.submit("copy", input);
    stage.start("run");
    await stage.untilStatus(other, "COMPLETED");
    expect(stage.requests.filter((request) => request.includes(id))).toEqual([]);
    expect(stage.ledger()).toEqual([other]);
  },
  testMs,
);

test(
  "cancelled while its input is fetched: the transfer ends, nothing is submitted, nothing more is said",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("copy", input);
    let held = false;
    stage.around = (request, answer) => {
      if (!/\/files\/.+$/.test(request.url)) return answer();
      held = true;
      return new Promise(() => {});
    };
    const program = stage.start("run");
    await stage.until("its input is being fetched", () => held);
    cancelJob(stage.state, id);
    await untilClosed(stage, id, program);
    expect(saidAfterwards(stage, id)).toEqual([]);
    expect(callsOf(stage.slurmDir, "sbatch")).toEqual([]);
    expect(stage.ledger()).toEqual([]);
  },
  testMs,
);

test(
  "cancelled while it is pending in Slurm: it is gone from there, never runs, and nothing more is said",
  async () => {
    await using stage = await openStage({ profiles });
    writeFileSync(join(stage.slurmDir, "hold"), "");
    const id = stage.submit("copy", input);
    const program = stage.start("run");
    await stage.untilStatus(id, "SUBMITTED");
    cancelJob(stage.state, id);
    await stage.until("Slurm has ended it", () => existsSync(join(stage.slurmDir, "jobs", "1.end")));
    rmSync(join(stage.slurmDir, "hold"));
    await untilClosed(stage, id, program);
    expect(callsOf(stage.slurmDir, "scancel")[0]).toEndWith(`--name=emx2-${id}`);
    expect(saidAfterwards(stage, id)).toEqual([]);
    expect(stage.ledger()).toEqual([]);
  },
  testMs,
);

test(
  "cancelled while it runs: its program is ended, and one repeat of CANCELLED names the committed log",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("long", input);
    const program = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    cancelJob(stage.state, id);
    await stage.until("Slurm has ended it", () => existsSync(join(stage.slurmDir, "jobs", "1.end")), 10_000);
    await untilClosed(stage, id, program);
    expect(callsOf(stage.slurmDir, "scancel").length).toBeGreaterThanOrEqual(1);
    const [log, ...others] = artifactsOf(stage, "log", id);
    expect(others).toEqual([]);
    expect(new TextDecoder().decode(committed(stage, log?.id ?? null).get("slurm-1.out"))).toBe("begun\n");
    expect(saidAfterwards(stage, id)).toEqual([{ to: "CANCELLED", detail: expect.stringContaining(log?.id ?? "?") }]);
    expect(artifactsOf(stage, "output", id)).toEqual([]);
  },
  testMs,
);

test(
  "cancelled while its output goes up: the transfer ends, the output is not committed, no COMPLETED is said",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("copy", input);
    let held = false;
    stage.around = (request, answer) => {
      if (request.method !== "PUT" || !request.url.endsWith("/copy.bin")) return answer();
      held = true;
      return new Promise(() => {});
    };
    const program = stage.start("run");
    await stage.until("its output goes up", () => held);
    cancelJob(stage.state, id);
    await untilClosed(stage, id, program);
    const states = [...stage.state.artifacts.values()].filter(({ name }) => name === `output-${id.slice(0, 8)}`);
    expect(states.map(({ id: made }) => artifact(stage.state, made).status)).not.toContain("COMMITTED");
    expect(stage.job(id).transitions.map(({ to }) => to)).not.toContain("COMPLETED");
    expect(saidAfterwards(stage, id).every(({ to }) => to === "CANCELLED")).toBe(true);
    expect(callsOf(stage.slurmDir, "scancel")).toEqual([]);
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);

test(
  "cancelled while the daemon is down: the next one ends it",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("long", input);
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    first.kill("SIGKILL");
    await first.ended();
    cancelJob(stage.state, id);
    for (let call = 0; call < 6 && !existsSync(join(stage.slurmDir, "jobs", "1.end")); call++) {
      expect((await stage.start("once").ended()).exitCode).toBe(0);
    }
    await stage.until("Slurm has ended it", () => existsSync(join(stage.slurmDir, "jobs", "1.end")), 10_000);
    await stage.until("the log is reported", async () => {
      expect((await stage.start("once").ended()).exitCode).toBe(0);
      return saidAfterwards(stage, id).length > 0;
    });
    expect(saidAfterwards(stage, id).map(({ to }) => to)).toEqual(["CANCELLED"]);
  },
  testMs,
);
