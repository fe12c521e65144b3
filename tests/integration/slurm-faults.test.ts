/** Slurm does not answer, or answers nonsense, for a while: that costs time and never a job. */
import { expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callsOf, type FakeProgram } from "../fake-slurm/install.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";

const testMs = 60_000;
const profiles = {
  copy: { program: 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"' },
  slow: { program: 'sleep 1; cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"' },
};
const input = { files: [{ path: "a.txt", content: "hello" }] };
const wholeLife = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"];
const controllerGone = "1\nslurm_load_jobs error: Unable to contact slurm controller (connect failure)\n";
const sbatchGone =
  "1\nsbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n";
const accountingGone = "1\nsacct: error: Problem talking to the database: Connection refused\n";

function breaks({ slurmDir }: Stage, fault: string, text: string): () => void {
  const file = join(slurmDir, fault);
  writeFileSync(file, text);
  return () => rmSync(file);
}

async function expectRunOnce(stage: Stage, ids: readonly string[]): Promise<void> {
  for (const id of ids) await stage.untilStatus(id, "COMPLETED", 30_000);
  for (const id of ids) expect(statusesOf(stage.job(id))).toEqual(wholeLife);
  expect(stage.ledger().sort()).toEqual([...ids].sort());
}

function called(stage: Stage, program: FakeProgram, times: number): Promise<unknown> {
  const before = callsOf(stage.slurmDir, program).length;
  return stage.until(`${program} was called`, () => callsOf(stage.slurmDir, program).length >= before + times);
}

test(
  "the controller is away when jobs are submitted: they wait, and each is submitted once it is back",
  async () => {
    await using stage = await openStage({ profiles });
    const mend = [breaks(stage, "fail-sbatch", sbatchGone), breaks(stage, "fail-squeue", controllerGone)];
    const ids = [stage.submit("copy", input), stage.submit("copy", input), stage.submit("slow", input)];
    stage.start("run");
    await called(stage, "squeue", 5);
    expect(ids.map((id) => stage.job(id).status)).toEqual(["CLAIMED", "CLAIMED", "CLAIMED"]);
    // What is known to fail is not tried again and again.
    expect(callsOf(stage.slurmDir, "sbatch").length).toBeLessThanOrEqual(ids.length + 1);
    for (const end of mend) end();
    await expectRunOnce(stage, ids);
  },
  testMs,
);

test(
  "sbatch alone fails for a while: it is tried again until it goes through, once for each job",
  async () => {
    await using stage = await openStage({ profiles });
    const mend = breaks(stage, "fail-sbatch", sbatchGone);
    const ids = [stage.submit("copy", input), stage.submit("copy", input)];
    stage.start("run");
    await called(stage, "sbatch", 3);
    mend();
    await expectRunOnce(stage, ids);
  },
  testMs,
);

const queries: readonly (readonly [string, string, string])[] = [["squeue fails", "fail-squeue", controllerGone]];

for (const [name, fault, text] of queries) {
  test(
    `${name} while jobs run: nothing is concluded from it`,
    async () => {
      await using stage = await openStage({ profiles });
      const ids = [stage.submit("slow", input), stage.submit("slow", input)];
      stage.start("run");
      for (const id of ids) await stage.untilStatus(id, "STARTED");
      const mend = breaks(stage, fault, text);
      // Each pause is longer than the one before.
      await called(stage, "squeue", 6);
      expect(ids.map((id) => stage.job(id).status)).not.toContain("FAILED");
      mend();
      await expectRunOnce(stage, ids);
      expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(2);
    },
    testMs,
  );
}

test(
  "sacct fails and squeue has forgotten what ended: the receipts tell how, and more is submitted meanwhile",
  async () => {
    await using stage = await openStage({ profiles });
    breaks(stage, "forget", "");
    breaks(stage, "fail-sacct", accountingGone);
    const ids = [stage.submit("slow", input)];
    stage.start("run");
    for (const id of ids) await stage.untilStatus(id, "STARTED");
    ids.push(stage.submit("slow", input));
    await expectRunOnce(stage, ids);
    expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(2);
  },
  testMs,
);

test(
  "sbatch's answer is lost though the job was submitted: it is found by its name and not submitted again",
  async () => {
    await using stage = await openStage({ profiles });
    const lost = "1\nsbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n";
    const mend = breaks(stage, "fail-after-sbatch", lost);
    const ids = [stage.submit("slow", input), stage.submit("slow", input)];
    stage.start("run");
    await stage.until("both were submitted", () => callsOf(stage.slurmDir, "sbatch").length === 2);
    mend();
    await expectRunOnce(stage, ids);
    expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(2);
  },
  testMs,
);

test(
  "a partition that does not exist keeps the job waiting and is said in the log, with its profile",
  async () => {
    const wrong = { copy: { ...profiles.copy, partition: "nosuch" } };
    await using stage = await openStage({ profiles: wrong });
    const id = stage.submit("copy", input);
    const run = stage.start("run");
    await stage.until("it is said", () => run.stderr().includes("invalid partition specified: nosuch"));
    expect(stage.job(id).status).toBe("CLAIMED");
    expect(run.stderr()).toMatch(new RegExp(`warn +jobId=${id} submitting did not go through .*nosuch`));
    await stage.until("its profile is held", () => /error .*held.* profile=copy\/default/.test(run.stderr()));
  },
  testMs,
);
