/** What a report says while a job goes on, and what ends a job's time: through the executable, as EMX2 records it. */
import { expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callsOf } from "../fake-slurm/install.ts";
import { committed } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
/** Goes on while the file `go-on` is not there. */
const untilToldTo = 'while [ ! -e "$HPC_WORK_DIR/go-on" ]; do sleep 0.1; done';
const quick = { queue_report_interval_seconds: 0.5 };

function goOn(stage: Stage, id: string): void {
  writeFileSync(join(stage.jobsDir, id, "work/go-on"), "");
}

/** What EMX2 has recorded under one status. */
function said(stage: Stage, id: string, status: string) {
  return stage.job(id).transitions.filter(({ to }) => to === status);
}

async function untilSaid(stage: Stage, id: string, words: RegExp): Promise<string> {
  const details = () => stage.job(id).transitions.map(({ detail }) => detail ?? "");
  return stage.until(`EMX2 has read ${words}`, () => details().find((detail) => words.test(detail)));
}

test(
  "each new line of .hpc_progress.jsonl is a report, a line that is not whole or not JSON is none",
  async () => {
    const program = `
      cd "$HPC_OUTPUT_DIR"
      printf '%s\\n' '{"phase":"align","message":"step 1","progress":0.25}' >.hpc_progress.jsonl
      ${untilToldTo}
      printf '\\377\\376 rubbish\\n' >>.hpc_progress.jsonl
      printf '%s' '{"progress":7,"message":"\\u001b[31mfar beyond"}
{"phase":"half a li' >>.hpc_progress.jsonl
      while [ ! -e "$HPC_WORK_DIR/end" ]; do sleep 0.1; done
      echo result >result.txt`;
    await using stage = await openStage({ profiles: { steps: { program } } });
    const id = stage.submit("steps");
    stage.start("run");
    const job = () => stage.job(id);
    await stage.until("the first line is reported", () => job().phase === "align");
    expect([job().message, job().progress]).toEqual(["step 1", 0.25]);
    goOn(stage, id);
    await stage.until("the last whole line is reported", () => job().progress === 1);
    expect(job().message).toContain("far beyond");
    expect(job().message).not.toContain("\u001b");
    const reports = said(stage, id, "STARTED").length;
    await stage.until("some polls have gone by", () => polls(stage) > 3);
    expect(said(stage, id, "STARTED")).toHaveLength(reports);
    writeFileSync(join(stage.jobsDir, id, "work/end"), "");
    await stage.untilStatus(id, "COMPLETED");
    // The progress file is neither output nor log.
    expect([...committed(stage, job().outputArtifactId).keys()]).toEqual(["result.txt"]);
  },
  testMs,
);

test(
  "a .hpc_progress.json that is replaced is read too, and what came with the end is reported before it",
  async () => {
    const program = `cd "$HPC_OUTPUT_DIR"; echo '{"phase":"fit","progress":0.5}' >.hpc_progress.json
      ${untilToldTo}
      echo '{"phase":"done","progress":1}' >.hpc_progress.json`;
    await using stage = await openStage({ profiles: { fit: { program } } });
    const id = stage.submit("fit");
    stage.start("run");
    await stage.until("it is reported", () => stage.job(id).phase === "fit");
    goOn(stage, id);
    await stage.untilStatus(id, "COMPLETED");
    expect(stage.job(id).phase).toBe("done");
    expect(stage.job(id).transitions.at(-1)?.to).toBe("COMPLETED");
  },
  testMs,
);

test(
  "a job that waits in the queue is reported each interval with Slurm's reason and the time waited",
  async () => {
    await using stage = await openStage({ profiles: { copy: { program: "true" } }, worker: quick });
    writeFileSync(join(stage.slurmDir, "hold"), "");
    const id = stage.submit("copy");
    stage.start("run");
    const detail = await untilSaid(stage, id, /waited=00:00:0[1-9]/);
    expect(detail).toMatch(/^slurm_state=PENDING; reason=Priority; waited=/);
    expect(stage.job(id).status).toBe("SUBMITTED");
    rmSync(join(stage.slurmDir, "hold"));
    await stage.untilStatus(id, "COMPLETED");
  },
  testMs,
);

/** As slurmd does after a requeue: the same script under the same id, with a restart count. */
function runAgain(jobDir: string) {
  const slurm = { SLURM_JOB_ID: "1", SLURM_RESTART_COUNT: "1", SLURMD_NODENAME: "fake-node" };
  return Bun.spawn([join(jobDir, ".emx2/job.sh"), jobDir, "a1"], { env: { PATH: process.env["PATH"], ...slurm } });
}

test(
  "a run that Slurm suspends, or puts back in its queue, is told so under STARTED, and goes on",
  async () => {
    // Where Slurm may requeue it, a receipt waits that long for one of a later run.
    const worker = { ...quick, receipt_wait_seconds: 1 };
    const program = `${untilToldTo}; echo done >"$HPC_OUTPUT_DIR/\${SLURM_RESTART_COUNT:+again}.txt"`;
    await using stage = await openStage({ profiles: { waits: { program, requeue: true } }, worker });
    const id = stage.submit("waits");
    stage.start("run");
    await stage.untilStatus(id, "STARTED");
    const show = join(stage.slurmDir, "show");
    writeFileSync(show, "SUSPENDED None\n");
    await untilSaid(stage, id, /^slurm_state=SUSPENDED/);
    writeFileSync(show, "REQUEUED BeginTime\n");
    await untilSaid(stage, id, /^slurm_state=REQUEUED; reason=BeginTime; waited=/);
    rmSync(show);
    const again = runAgain(join(stage.jobsDir, id));
    const running = () => said(stage, id, "STARTED").at(-1)?.detail ?? "";
    await stage.until("it is told to run again", () => running().startsWith("slurm_state=RUNNING"));
    for (const work of ["work", "work.a1.1"]) writeFileSync(join(stage.jobsDir, id, work, "go-on"), "");
    expect(await again.exited).toBe(0);
    await stage.untilStatus(id, "COMPLETED");
    expect(stage.ledger()).toEqual([id, id]);
    expect([...committed(stage, stage.job(id).outputArtifactId).keys()]).toEqual(["again.txt"]);
  },
  testMs,
);

test(
  "a job that ended before it was seen running is reported STARTED first",
  async () => {
    await using stage = await openStage({
      profiles: { quick: { program: "true" } },
      worker: { poll_interval_seconds: 2 },
    });
    const id = stage.submit("quick");
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    expect(said(stage, id, "STARTED").length).toBeGreaterThan(0);
  },
  testMs,
);

const timeouts = [
  ["the job's own timeout_seconds", {}, 1, /the job's timeout_seconds are over: 1 s/, /longer timeout_seconds/],
  [
    "the profile's execution_timeout_seconds",
    { execution_timeout_seconds: 1 },
    null,
    /execution_timeout_seconds of the profile are over: 1 s/,
    /the operator of this worker, by a longer execution_timeout_seconds/,
  ],
] as const;

test.each(timeouts)(
  "%s: the run is ended, its log comes back, and EMX2 hears FAILED, whose it is and why",
  async (_, keys, timeoutSeconds, why, who) => {
    await using stage = await openStage({ profiles: { long: { program: "echo begun; exec sleep 60", ...keys } } });
    const id = stage.submit("long", { timeoutSeconds });
    stage.start("run");
    await stage.untilStatus(id, "FAILED");
    const end = stage.job(id).transitions.at(-1)?.detail ?? "";
    expect(end).toMatch(/^slurm_state=CANCELLED; /);
    expect(end).toMatch(why);
    expect(end).toMatch(who);
    expect(callsOf(stage.slurmDir, "scancel").length).toBeGreaterThan(0);
    const log = committed(stage, stage.job(id).logArtifactId);
    expect(new TextDecoder().decode(log.get("slurm-1.out"))).toBe("begun\n");
    expect(stage.job(id).outputArtifactId).toBeNull();
  },
  testMs,
);

test(
  "submission_timeout_seconds: a job that Slurm keeps refusing fails with Slurm's words, while it answers",
  async () => {
    const refused = { program: "true", partition: "nosuch", submission_timeout_seconds: 2 };
    await using stage = await openStage({ profiles: { refused } });
    const id = stage.submit("refused");
    stage.start("run");
    await stage.untilStatus(id, "FAILED");
    const end = stage.job(id).transitions.at(-1)?.detail ?? "";
    expect(end).toMatch(/^submission_timeout_seconds are over: the scheduler has refused it for 2 s: /);
    expect(end).toContain("Invalid partition name specified");
    expect(end).toContain("who can act: the operator of this worker");
    expect(stage.ledger()).toEqual([]);
  },
  testMs,
);

test(
  "a workload that has ended meets no time-out any more, however long its outputs take",
  async () => {
    const brief = { program: 'echo done >"$HPC_OUTPUT_DIR/done.txt"', execution_timeout_seconds: 3 };
    await using stage = await openStage({ profiles: { brief } });
    const id = stage.submit("brief", { timeoutSeconds: 4 });
    const claimedAt = () => stage.job(id).claimedAt ?? Number.POSITIVE_INFINITY;
    stage.around = async (request, answer) => {
      if (request.method === "PUT") await stage.until("both times are over", () => Date.now() > claimedAt() + 5_000);
      return answer();
    };
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    expect(callsOf(stage.slurmDir, "scancel")).toEqual([]);
    expect(existsSync(join(stage.jobsDir, id, "output/done.txt"))).toBe(true);
  },
  testMs,
);

function polls(stage: Stage): number {
  return callsOf(stage.slurmDir, "squeue").length;
}

test(
  "a job that waits in the queue for what can never clear is reported at once, and ended after the operator's patience",
  async () => {
    const worker = { never_runnable_patience: "1s", cancelled_wait_seconds: 0.5 };
    await using stage = await openStage({ worker });
    for (const [name, text] of [
      ["hold", ""],
      ["show", "PENDING PartitionTimeLimit\n"],
    ] as const)
      writeFileSync(join(stage.slurmDir, name), text);
    const id = stage.submit("copy");
    stage.start("run");
    await untilSaid(stage, id, /^slurm_state=PENDING; reason=PartitionTimeLimit; it can never start so/);
    const detail = await untilSaid(stage, id, /never_runnable_patience is over/);
    expect(stage.job(id).status).toBe("FAILED");
    expect(detail).toContain("who can act: the operator of this worker");
    expect(callsOf(stage.slurmDir, "scancel").length).toBeGreaterThan(0);
    expect(stage.ledger()).toEqual([]);
  },
  testMs,
);
