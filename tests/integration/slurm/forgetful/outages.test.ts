/**
 * Parts of Slurm that are away for longer than every grace, or come back with a worse memory: nothing is concluded from
 * their silence, and each job is told once, as it was.
 */
import { expect, test } from "bun:test";
import { cancelJob } from "../../../../src/emulator/submitter.ts";
import { isTerminal } from "../../../../src/job/status.ts";
import { statusesOf } from "../../harness.ts";
import {
  asRoot,
  type CountedStage,
  cluster,
  disturbance,
  letGo,
  onOwnSlurm,
  openCountedStage,
  receipt,
  runsOf,
  slurmJobIdOf,
  untilLetGo,
  untilTold,
} from "../own-cluster.ts";
import { slurmBoundMs, textOf } from "../real-slurm.ts";

const result = 'echo "$HPC_JOB_ID" >"$HPC_OUTPUT_DIR/result"';
/** Slurm rounds it up to a minute; the daemon takes a run for lost so much the sooner. */
const time = "00:00:05";

const profiles = {
  waits: { program: `${untilLetGo}; ${result}`, time },
  brief: { program: `sleep 2; ${result}`, time },
  fails: { program: `${untilLetGo}; exit 3`, time },
  stubborn: { program: `trap "" TERM; ${untilLetGo}`, time },
  held: { program: result, sbatch_args: ["--hold"], time },
  again: { program: `[ "\${SLURM_RESTART_COUNT:-0}" = 0 ] || sleep 1; ${result}`, requeue: true },
};

onOwnSlurm("an outage", () => {
  test("of slurmctld, longer than every grace, ends no job that runs, waits, is submitted, is cancelled or ends", async () => {
    await using stage = await openCountedStage({ profiles });
    await using slurm = disturbance();
    stage.start("run");
    const [running, ending, failing, cancelled, scancelled] = await started(stage, [
      "waits",
      "waits",
      "fails",
      "waits",
      "stubborn",
    ]);
    const waiting = await submitted(stage, "held");

    await asRoot("scancel", slurmJobIdOf(stage, scancelled));
    await slurm.stop("slurmctld");
    const late = stage.submit("brief");
    cancelJob(stage.state, cancelled);
    for (const id of [ending, failing]) letGo(stage, id);
    await stage.until("the workload of one has ended", () => receipt(stage, ending, "exit.a1.0"), slurmBoundMs);
    await stage.until("sbatch was called", () => (stage.calls()["sbatch"] ?? 0) > 6, slurmBoundMs);
    await stage.untilAskedAgain(1);
    const untold = [running, ending, failing, scancelled, waiting, late];
    expect(untold.filter((id) => isTerminal(stage.job(id).status))).toEqual([]);

    await slurm.start("slurmctld");
    letGo(stage, running);
    await asRoot("scontrol", "release", slurmJobIdOf(stage, waiting));
    for (const id of [running, ending, waiting, late]) await completed(stage, id);
    await ended(stage, failing, "FAILED");
    expect(lastDetail(stage, failing)).toStartWith("slurm_state=FAILED; exit_code=3:0; ");
    await ended(stage, scancelled, "CANCELLED");
    await stage.until("the cancelled one is gone", async () => !(await inQueue()).includes(cancelled), slurmBoundMs);
    expect(statusesOf(stage.job(cancelled)).at(-1)).toBe("CANCELLED");
    expect(stage.ledger().sort()).toEqual([running, ending, failing, cancelled, scancelled, waiting, late].sort());
  });

  test("of slurmdbd, while squeue forgets, leaves open what accounting alone can tell", async () => {
    // slurmctld brings what slurmdbd has missed some ten seconds after its return.
    await using stage = await openCountedStage({ profiles, worker: { lost_after_seconds: 30 } });
    await using slurm = disturbance();
    const first = stage.start("run");
    const [running, shot] = await started(stage, ["waits", "waits"]);
    const waiting = await submitted(stage, "held");
    await slurm.kill("slurmdbd");
    letGo(stage, running);
    process.kill(Number(receipt(stage, shot, "start.a1.0")?.["pid"]), "SIGKILL");
    await completed(stage, running);
    await completed(stage, stage.submit("brief"));
    await ended(stage, shot, "FAILED");

    first.kill("SIGKILL");
    await first.ended();
    await asRoot("scancel", slurmJobIdOf(stage, waiting));
    await stage.until("squeue has forgotten it", async () => !(await inQueue("all")).includes(waiting), slurmBoundMs);
    stage.start("run");
    await stage.untilAskedAgain(20);
    expect(stage.job(waiting).status).toBe("SUBMITTED");
    await slurm.start("slurmdbd");
    await ended(stage, waiting, "CANCELLED");
    expect(lastDetail(stage, waiting)).toContain("cancelled with scancel by uid 0");
    expect(runsOf(stage, waiting)).toBe(0);
  });

  test("of slurmd leaves its jobs running, and a drained node only keeps new ones waiting", async () => {
    await using stage = await openCountedStage({ profiles });
    await using slurm = disturbance();
    stage.start("run");
    const [running, ending] = await started(stage, ["waits", "waits"]);
    await slurm.kill("slurmd");
    letGo(stage, ending);
    await stage.until("the workload has ended", () => receipt(stage, ending, "exit.a1.0"), slurmBoundMs);
    await stage.untilAskedAgain(6);
    expect(stage.job(running).status).toBe("STARTED");
    await slurm.start("slurmd");
    await completed(stage, ending);

    const node = (await asRoot("sinfo", "-h", "-N", "-o", "%N")).trim();
    await asRoot("scontrol", "update", `nodename=${node}`, "state=drain", "reason=maintenance");
    const waiting = await submitted(stage, "brief");
    await untilTold(
      stage,
      waiting,
      /^slurm_state=PENDING; reason=(Nodes required for job are DOWN, DRAINED|ReqNodeNotAvail)/,
    );
    letGo(stage, running);
    await completed(stage, running);
    expect(stage.job(waiting).status).toBe("SUBMITTED");
    await slurm.resumeNode();
    await completed(stage, waiting);
  });

  test("of the daemon, in which root requeues a job that had completed, is followed by the run that counts", async () => {
    await using stage = await openCountedStage({ profiles });
    const first = stage.start("run");
    const id = await submitted(stage, "again");
    first.kill("SIGKILL");
    await first.ended();
    const slurmJobId = slurmJobIdOf(stage, id);
    const state = async () => (await asRoot("squeue", "-h", "-t", "all", "-j", slurmJobId, "-o", "%T")).trim();
    await stage.until("it has completed", async () => (await state()) === "COMPLETED", slurmBoundMs);
    await asRoot("scontrol", "requeue", slurmJobId);
    const second = stage.start("run");
    await stage.untilAskedAgain(4);
    expect(isTerminal(stage.job(id).status)).toBe(false);
    await asRoot("scontrol", "update", `jobid=${slurmJobId}`, "StartTime=now");
    await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
    expect(stage.ledger()).toEqual([id, id]);
    expect(receipt(stage, id, "exit.a1.1")).toBeDefined();
    expect(textOf(stage.output(id), "result")).toBe(`${id}\n`);
    second.kill("SIGTERM");
    expect((await second.ended()).exitCode).toBe(0);
  });

  test("of slurmctld by SIGKILL, which makes some versions forget jobs and hand out their ids again, mixes up none", async () => {
    await using stage = await openCountedStage({ profiles });
    await using slurm = disturbance();
    stage.start("run");
    const before = Array.from({ length: 8 }, (_, index) => stage.submit(index % 2 === 0 ? "waits" : "brief"));
    await stage.until("they have begun", () => before.every((id) => runsOf(stage, id) === 1), slurmBoundMs);
    await slurm.kill("slurmctld");
    await slurm.start("slurmctld");
    const after = Array.from({ length: 8 }, () => stage.submit("brief"));
    const all = [...before, ...after];
    await stage.until("EMX2 knows all their ids", () => all.every((id) => stage.job(id).slurmJobId), slurmBoundMs);
    const ids = all.map((id) => slurmJobIdOf(stage, id));
    if (cluster.forgetsWhenKilled) expect(new Set(ids).size, "Slurm has handed out ids twice").toBeLessThan(ids.length);
    else for (const id of before) letGo(stage, id);

    // Slurm drains a node where two jobs of one id meet, and kills what it does not know.
    const resume = async () => {
      await slurm.resumeNode();
      return all.every((id) => isTerminal(stage.job(id).status));
    };
    await stage.until("each job has ended", resume, slurmBoundMs);
    for (const id of all) expectTruth(stage, id);
    for (const id of before.filter((_, index) => index % 2 === 1)) expect(stage.job(id).status).toBe("COMPLETED");
  });
});

async function submitted(stage: CountedStage, processor: keyof typeof profiles): Promise<string> {
  const id = stage.submit(processor);
  await stage.untilStatus(id, "SUBMITTED", slurmBoundMs);
  return id;
}

type Ids = readonly [string, string, string, string, string];

async function started(stage: CountedStage, processors: readonly (keyof typeof profiles)[]): Promise<Ids> {
  const ids = processors.map((processor) => stage.submit(processor));
  for (const id of ids) await stage.untilStatus(id, "STARTED", slurmBoundMs);
  await stage.until("their workloads have begun", () => ids.every((id) => runsOf(stage, id) === 1), slurmBoundMs);
  const [a = "", b = "", c = "", d = "", e = ""] = ids;
  return [a, b, c, d, e];
}

async function completed(stage: CountedStage, id: string): Promise<void> {
  await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
  expectTruth(stage, id);
  expect(runsOf(stage, id)).toBe(1);
}

async function ended(stage: CountedStage, id: string, status: "FAILED" | "CANCELLED"): Promise<void> {
  await stage.untilStatus(id, status, slurmBoundMs);
  expectTruth(stage, id);
}

/** One terminal report, COMPLETED only with the job's own output, and only where its one workload really went through. */
function expectTruth(stage: CountedStage, id: string): void {
  const { status, transitions } = stage.job(id);
  expect(transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
  expect(runsOf(stage, id)).toBeLessThanOrEqual(1);
  expect(status === "COMPLETED").toBe(receipt(stage, id, "exit.a1.0")?.["exit"] === 0);
  if (status === "COMPLETED") expect(textOf(stage.output(id), "result")).toBe(`${id}\n`);
}

function lastDetail(stage: CountedStage, id: string): string {
  return stage.job(id).transitions.at(-1)?.detail ?? "";
}

async function inQueue(states = "PENDING,RUNNING,COMPLETING"): Promise<string> {
  return asRoot("squeue", "-h", "-t", states, "-o", "%j");
}
