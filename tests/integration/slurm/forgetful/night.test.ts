/**
 * A night of outages. 50 jobs are brought to their end while the daemon is killed five times, EMX2 is away, slurmctld
 * forgets what it was told in the seconds before it is killed, slurmdbd is killed, and no two clocks agree. In the morning
 * each job has run once and been told once, with its own output, and nothing was declared failed that was only out of
 * sight. What it cost Slurm is printed.
 */
import { expect, test } from "bun:test";
import { systemClock } from "../../../../src/clock.ts";
import { isTerminal } from "../../../../src/job/status.ts";
import { artifactsOf } from "../../committed.ts";
import { statusesOf } from "../../harness.ts";
import type { Program } from "../../program.ts";
import { straysOf } from "../../strays.ts";
import { moveClock } from "../moved-clock.ts";
import {
  asRoot,
  type CountedStage,
  disturbance,
  letGo,
  onOwnSlurm,
  openCountedStage,
  receipt,
  untilLetGo,
} from "../own-cluster.ts";
import { slurmBoundMs, textOf } from "../real-slurm.ts";

const jobs = 50;
/** These go on until they are let go, over the outages; the others take a second or two. */
const longJobs = 4;
/** A submission in doubt is waited for for two minutes. */
const nightLimitMs = 240_000;

const shouts = 'tr a-z A-Z <"$(echo "$HPC_INPUT_DIR"/*/words)" >"$HPC_OUTPUT_DIR/result"';
const profiles = {
  brief: { program: `sleep "$(cat "$HPC_INPUT_DIR"/*/seconds)"; ${shouts}` },
  long: { program: `${untilLetGo}; ${shouts}` },
};
const wordsOf = (index: number) => `sample ${index} of this night\n`;

/** What a login profile may leave in the daemon's environment. */
const leftovers = {
  ...{ SQUEUE_PARTITION: "nosuch", SQUEUE_STATES: "PD", SBATCH_ARRAY_INX: "1-3", SBATCH_WAIT: "1" },
  ...{ SACCT_FORMAT: "JobID", SLURM_TIME_FORMAT: "standard" },
};

/** EMX2's clock is ahead of the cluster's; the daemon's is 45 s behind it, then right, then 45 s ahead. */
const serverAheadMs = 30_000;
const aheadOfUs = { ...systemClock, wall: () => systemClock.wall() + serverAheadMs };

onOwnSlurm("a night of outages", () => {
  test(
    "ends with each of 50 jobs run once and told COMPLETED once, with its own output",
    async () => {
      using clock = await moveClock();
      const env = { ...leftovers, ...clock.env };
      // slurmctld brings what slurmdbd has missed some ten seconds after its return.
      const worker = { max_concurrent_jobs: 12, lost_after_seconds: 30 };
      await using stage = await openCountedStage({ profiles, env, worker, clock: aheadOfUs });
      await using slurm = disturbance();
      // At an orderly end it writes down what accounting has told it, without which it does not start while that is away.
      await slurm.stop("slurmctld");
      await slurm.start("slurmctld");
      const startedAt = systemClock.mono();
      const ids = Array.from({ length: jobs }, (_, index) => submit(stage, index));
      const long = ids.slice(0, longJobs);
      const begun = (count: number) =>
        stage.until(`${count} workloads have begun`, () => stage.ledger().length >= count, nightLimitMs);

      clock.set(-45);
      let program = stage.start("run");
      const nextLife = async (seconds?: number) => {
        await killed(program);
        if (seconds !== undefined) clock.set(seconds);
        program = stage.start("run");
      };
      await begun(6);
      await nextLife();
      await stage.until("the long jobs run", () => long.every((id) => stage.ledger().includes(id)), slurmBoundMs);
      const longRunAt = systemClock.wall();
      await nextLife(0);
      await slurm.kill("slurmdbd");
      await stage.until("slurmctld has noted the long jobs", () => slurm.savedAt() > longRunAt, slurmBoundMs);
      await begun(stage.ledger().length + 6);

      await stage.disconnect();
      await killed(program);
      await stage.until("nothing is on its way to a node", () => isQuiet(stage), slurmBoundMs);
      await slurm.kill("slurmctld");
      const brief = stage.ledger().filter((id) => !long.includes(id));
      await stage.until(
        "what it may not have noted is over",
        () => brief.every((id) => hasExited(stage, id)),
        slurmBoundMs,
      );
      clock.set(45);
      program = stage.start("run");
      await stage.untilAskedAgain(1);
      await killed(program);
      await slurm.start("slurmctld");
      await slurm.restartNode();
      const settled = async () => {
        // What slurmctld does not know to have started it starts again, at a node that is drained where both meet.
        await slurm.resumeNode();
        return (await namesIn("PENDING,CONFIGURING,COMPLETING")).length === 0;
      };
      await stage.until("slurmctld has settled", settled, slurmBoundMs);
      await slurm.start("slurmdbd");
      program = stage.start("run");
      await stage.untilAskedAgain(2);
      await stage.reconnect();

      await begun(30);
      for (const id of long) letGo(stage, id);
      await slurm.stop("slurmctld");
      await nextLife();
      await slurm.start("slurmctld");
      await begun(40);
      await nextLife();
      const over = () => ids.every((id) => isTerminal(stage.job(id).status));
      await stage.until("the night is over", over, nightLimitMs);

      const seconds = Math.round((systemClock.mono() - startedAt) / 1_000);
      const calls = Object.entries(stage.calls()).map(([name, count]) => `${name} ${count}`);
      console.log(`night of outages: ${jobs} jobs in ${seconds} s; calls of ${calls.join(", ")}`);
      for (const [index, id] of ids.entries()) {
        expect(statusesOf(stage.job(id))).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
        expect(stage.job(id).transitions.filter(({ to }) => to === "COMPLETED")).toHaveLength(1);
        expect(textOf(stage.output(id), "result")).toBe(wordsOf(index).toUpperCase());
        expect(artifactsOf(stage, "output", id)).toHaveLength(1);
      }
      expect(stage.ledger().sort()).toEqual([...ids].sort());
    },
    2 * nightLimitMs,
  );
});

function submit(stage: CountedStage, index: number): string {
  const files = [
    { path: "words", content: wordsOf(index) },
    { path: "seconds", content: `${1 + (index % 2)}` },
  ];
  return stage.submit(index < longJobs ? "long" : "brief", { files });
}

async function killed(program: Program): Promise<void> {
  program.kill("SIGKILL");
  await program.ended();
}

function hasExited(stage: CountedStage, id: string): boolean {
  return receipt(stage, id, "exit.a1.0") !== undefined;
}

/** An sbatch outlives the daemon that was killed. */
async function isQuiet(stage: CountedStage): Promise<boolean> {
  if (straysOf(stage.dir).some(({ command }) => /\bsbatch\b/.test(command))) return false;
  const names = await namesIn("PENDING,CONFIGURING");
  const running = await namesIn("RUNNING");
  return names.length === 0 && running.every((name) => stage.ledger().includes(name.replace("emx2-", "")));
}

async function namesIn(states: string): Promise<string[]> {
  return (await asRoot("squeue", "-h", "-t", states, "-o", "%j")).split("\n").filter(Boolean);
}
