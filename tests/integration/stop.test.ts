/** SIGTERM: the daemon ends in an orderly way, wherever it is. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { committed } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const limitMs = 10_000;
const atOnceMs = 1_500;
const signalGapMs = 50;
const input = { files: [{ path: "a.txt", content: "hello" }] };
const copy = { program: 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"' };
/** Hashing this, which is left to this host, takes far longer than anybody waits. */
const huge = { program: 'truncate -s 60G "$HPC_OUTPUT_DIR/huge.bin"', seal_outputs: false };

/** How long it lives after a signal, in milliseconds, and how it ends. */
async function endAfter(program: Program, signals: readonly NodeJS.Signals[]) {
  const before = systemClock.mono();
  for (const signal of signals) {
    program.kill(signal);
    // Two of a kind at the same moment are one to the kernel.
    await systemClock.sleep(signalGapMs);
  }
  const { exitCode, stderr } = await program.ended(limitMs + 5_000);
  return { exitCode, ms: systemClock.mono() - before, stderr };
}

function hold(stage: Stage, held: (request: Request) => boolean): () => boolean {
  let reached = false;
  stage.around = (request, answer) => {
    if (!held(request)) return answer();
    reached = true;
    return new Promise(() => {});
  };
  return () => reached;
}

test(
  "while idle: exit 0 at once",
  async () => {
    await using stage = await openStage();
    const program = stage.start("run");
    await stage.until("it polls", () => stage.requests.some((request) => request.includes("status=PENDING")));
    const { exitCode, ms } = await endAfter(program, ["SIGTERM"]);
    expect(exitCode).toBe(0);
    expect(ms).toBeLessThan(atOnceMs);
  },
  testMs,
);

const places: readonly (readonly [string, (stage: Stage) => () => boolean])[] = [
  ["an upload that hangs", (stage) => hold(stage, ({ method }) => method === "PUT")],
  ["a download that hangs", (stage) => hold(stage, ({ url }) => /\/files\/.+/.test(url))],
  ["an EMX2 that never answers anything", (stage) => hold(stage, () => true)],
  ["a claim that is not answered", (stage) => hold(stage, ({ url }) => url.endsWith("/claim"))],
  ["an sbatch that hangs", (stage) => slurmHangs(stage, "sbatch")],
  ["an squeue that hangs", (stage) => slurmHangs(stage, "squeue")],
];

function slurmHangs(stage: Stage, program: "sbatch" | "squeue"): () => boolean {
  writeFileSync(join(stage.slurmDir, `hang-${program}`), "8\n");
  // Each is asked for its version first.
  return () => callsOf(stage.slurmDir, program).some((call) => !/ (--version|-V)\b/.test(call));
}

for (const [name, prepare] of places) {
  test(
    `in ${name}: exit 0 within 10 s, and the next start goes on`,
    async () => {
      await using stage = await openStage({ profiles: { copy } });
      const id = stage.submit("copy", input);
      const there = prepare(stage);
      const program = stage.start("run");
      await stage.until("it is there", there);
      const { exitCode, ms } = await endAfter(program, ["SIGTERM"]);
      expect(exitCode).toBe(0);
      expect(ms).toBeLessThan(limitMs);

      stage.around = undefined;
      writeFileSync(join(stage.slurmDir, "hang-sbatch"), "0\n");
      writeFileSync(join(stage.slurmDir, "hang-squeue"), "0\n");
      stage.start("run");
      await stage.untilStatus(id, "COMPLETED", 40_000);
      expect(stage.ledger()).toEqual([id]);
      expect(committed(stage, stage.job(id).outputArtifactId).size).toBe(1);
    },
    testMs,
  );
}

test(
  "while a huge output is hashed: exit 0 within 10 s",
  async () => {
    await using stage = await openStage({ profiles: { huge } });
    const id = stage.submit("huge");
    const program = stage.start("run");
    await stage.until("its log is committed", () => stage.requests.some((request) => request.endsWith("/commit")));
    const { exitCode, ms } = await endAfter(program, ["SIGTERM"]);
    expect(exitCode).toBe(0);
    expect(ms).toBeLessThan(limitMs);
    expect(stage.job(id).status).toBe("STARTED");
  },
  testMs,
);

test(
  "a second signal ends it at once, whatever the first has begun",
  async () => {
    await using stage = await openStage();
    const there = hold(stage, ({ method }) => method === "PUT");
    stage.submit("copy", input);
    const program = stage.start("run");
    await stage.until("it is in an upload", there);
    program.kill("SIGSTOP");
    program.kill("SIGTERM");
    program.kill("SIGINT");
    program.kill("SIGCONT");
    // Which of the two it hears of last is the runtime's choice.
    expect([128 + 2, 128 + 15]).toContain((await program.ended(limitMs)).exitCode ?? -1);
  },
  testMs,
);

test(
  "`once` obeys SIGTERM as well",
  async () => {
    await using stage = await openStage();
    stage.submit("copy", input);
    const there = hold(stage, ({ url }) => /\/files\/.+/.test(url));
    const program = stage.start("once");
    await stage.until("it is in a download", there);
    const { ms } = await endAfter(program, ["SIGTERM"]);
    expect(ms).toBeLessThan(limitMs);
  },
  testMs,
);
