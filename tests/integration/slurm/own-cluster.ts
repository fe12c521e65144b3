/**
 * A cluster that the tests may disturb: what root does to its jobs, and what becomes of its daemons. The ring names its
 * directory by EMX2_TEST_SLURM_STATE; on any other cluster these tests are not there. Slurm's commands stand behind ones
 * that count: what the daemon asks of Slurm is known, and that it has asked again is something to wait for.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { run } from "../../../src/subprocess.ts";
import { until } from "../until.ts";
import {
  onRealSlurm,
  openSlurmStage,
  type SlurmStage,
  type SlurmStageOptions,
  slurmBoundMs,
  slurmCommands,
} from "./real-slurm.ts";

const { EMX2_TEST_SLURM_CONF: conf = "", EMX2_TEST_SLURM_STATE: clusterDir } = process.env;
const daemonScript = join(import.meta.dir, "../../slurm/daemon.sh");
const commandLimitMs = 120_000;

export function onOwnSlurm(what: string, tests: () => void): void {
  if (clusterDir !== undefined) onRealSlurm(what, tests);
}

type SlurmDaemon = "slurmctld" | "slurmdbd" | "slurmd";

export interface Disturbance extends AsyncDisposable {
  /** Return once the daemon is gone: by SIGTERM, by SIGKILL. */
  stop(daemon: SlurmDaemon): Promise<void>;
  kill(daemon: SlurmDaemon): Promise<void>;
  /** Returns once the daemon answers. */
  start(daemon: SlurmDaemon): Promise<void>;
  /** The node takes jobs, though it was drained. */
  resumeNode(): Promise<void>;
  /** slurmd forgets the jobs that slurmctld has forgotten: it never takes their ids again (22.05), and is drained for it. */
  restartNode(): Promise<void>;
  /** When slurmctld last wrote down the jobs that it has: what came later it forgets by SIGKILL. */
  savedAt(): number;
}

export function pidOf(daemon: SlurmDaemon): number {
  return Number(readFileSync(join(clusterDir ?? "", "run", `${daemon}.pid`), "utf8"));
}

/** To be opened after the stage: at its end all is well again, so that the stage can end its jobs. */
export function disturbance(): Disturbance {
  const act = (what: string) => async (daemon: SlurmDaemon) => {
    await succeed([daemonScript, "--state", clusterDir ?? "", what, daemon]);
  };
  const [stop, kill, start] = [act("stop"), act("kill"), act("start")];
  const resumeNode = async () => {
    const [node = "", state = ""] = (await asRoot("sinfo", "-h", "-N", "-o", "%N %t")).trim().split(" ");
    if (/^dr/.test(state)) await asRoot("scontrol", "update", `nodename=${node}`, "state=resume");
  };
  /** Steps that ended while slurmctld was away tell it so until they are heard. */
  const isRidOfStrays = async () => {
    const known = (await asRoot("squeue", "-h", "-o", "%A")).split("\n");
    return stepsOnNode().every((id) => known.includes(id));
  };
  const restartNode = async () => {
    await until("the node is rid of jobs that slurmctld has forgotten", isRidOfStrays, slurmBoundMs);
    await stop("slurmd");
    await start("slurmd");
    await resumeNode();
  };
  return {
    ...{ stop, kill, start, resumeNode, restartNode },
    savedAt: () => statSync(join(clusterDir ?? "", "ctld/job_state")).mtimeMs,
    async [Symbol.asyncDispose]() {
      if (cluster.hasAccounting) await start("slurmdbd");
      await start("slurmctld");
      await restartNode();
    },
  };
}

/** Slurm jobs with a step on the node. A slurmstepd that was killed leaves its socket behind. */
function stepsOnNode(): string[] {
  const { stdout } = Bun.spawnSync(["ps", "-eo", "args"]);
  const alive = new Set([...stdout.toString().matchAll(/^slurmstepd: \[(\d+)\./gm)].map(([, id]) => id));
  const sockets = readdirSync(join(clusterDir ?? "", "spool")).flatMap((name) => /_(\d+)\.\d+$/.exec(name)?.[1] ?? []);
  return sockets.filter((id) => alive.has(id));
}

/** What one of Slurm's commands answers to root. Not synchronous: EMX2 goes on meanwhile. */
export function asRoot(...argv: readonly string[]): Promise<string> {
  return succeed(argv);
}

async function succeed(argv: readonly string[]): Promise<string> {
  const { PATH = "" } = process.env;
  const env = { PATH: `${PATH}:/usr/sbin:/sbin`, SLURM_CONF: conf, SLURM_TIME_FORMAT: "%s" };
  const limits = { timeoutMs: commandLimitMs, maxOutputBytes: 1_000_000 };
  const { exitCode, stdout, stderr } = await run(argv, { clock: systemClock, env, ...limits });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit ${exitCode}: ${stderr}`);
  return stdout;
}

/** What kind of cluster it is. */
export const cluster = {
  /** Killed, slurmctld has forgotten its last jobs and hands out their ids again: seen on 22.05, never on 24.11. */
  get forgetsWhenKilled() {
    return Bun.spawnSync(["sbatch", "--version"]).stdout.toString().includes(" 22.");
  },
  get hasAccounting() {
    return /^AccountingStorageType=.*slurmdbd/m.test(readFileSync(conf, "utf8"));
  },
  /** Slurm tracks processes by control groups, and the kernel holds jobs to their memory. */
  get hasControlGroups() {
    return /^ProctrackType=proctrack\/cgroup/m.test(readFileSync(conf, "utf8"));
  },
};

export interface CountedStage extends SlurmStage {
  /** How often the daemon has called each of Slurm's programs. */
  calls(): Readonly<Record<string, number>>;
  /** Waits until the daemon has asked squeue so often again. */
  untilAskedAgain(times: number, boundMs?: number): Promise<void>;
}

/** Every wait for evidence is short: an outage of a few seconds is longer than all of them. */
const shortWaits = {
  worker: {
    ...{ poll_interval_seconds: 0.5, heartbeat_interval_seconds: 10, queue_report_interval_seconds: 1 },
    ...{ lost_after_seconds: 2, receipt_wait_seconds: 2, seal_wait_seconds: 5, cancelled_wait_seconds: 2 },
    max_concurrent_jobs: 100,
  },
  slurm: { kill_wait_seconds: 1, accounting_lag_seconds: 1, message_timeout_seconds: 10 },
};

export async function openCountedStage(options: SlurmStageOptions = {}): Promise<CountedStage> {
  const stage = await openSlurmStage({
    ...options,
    worker: { ...shortWaits.worker, ...options.worker },
    slurm: { bin_dir: "commands", ...shortWaits.slurm, ...options.slurm },
  });
  const log = join(stage.dir, "calls");
  writeFileSync(log, "");
  chmodSync(log, 0o666);
  countCommands(join(stage.dir, "commands"), log);
  const calls = () => countsOf(readFileSync(log, "utf8"));
  return Object.assign(stage, {
    calls,
    async untilAskedAgain(times: number, boundMs = slurmBoundMs) {
      const before = calls()["squeue"] ?? 0;
      const asked = () => (calls()["squeue"] ?? 0) >= before + times;
      await stage.until(`squeue was asked ${times} times more`, asked, boundMs);
    },
  });
}

/** Each is one line of the log, then Slurm's own. */
function countCommands(dir: string, log: string): void {
  mkdirSync(dir);
  for (const name of ["sbatch", "squeue", "sacct", "scancel"]) {
    const lines = ["#!/bin/sh", `echo ${name} >>'${log}'`, `exec '${slurmCommands()}/${name}' "$@"`];
    writeFileSync(join(dir, name), `${lines.join("\n")}\n`);
    chmodSync(join(dir, name), 0o755);
  }
  for (const name of ["sinfo", "scontrol"]) symlinkSync(join(slurmCommands(), name), join(dir, name));
}

function countsOf(log: string): Record<string, number> {
  const counts: Record<string, number> = { sbatch: 0, squeue: 0, sacct: 0, scancel: 0 };
  for (const name of log.split("\n").filter(Boolean)) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** Lines of sh: the workload goes on until `letGo`. */
export const untilLetGo = 'until [ -e "$HPC_WORK_DIR/go" ]; do sleep 0.1; done';

export function letGo(stage: SlurmStage, jobId: string, work = "work"): void {
  writeFileSync(join(stage.jobsDir, jobId, work, "go"), "");
}

/** A receipt of the job's run, once it is there. */
export function receipt(stage: SlurmStage, jobId: string, name: string): Record<string, unknown> | undefined {
  const path = join(stage.jobsDir, jobId, ".emx2", name);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}

/** The first detail that EMX2 has of the job and that fits. */
export function untilTold(stage: SlurmStage, jobId: string, words: RegExp): Promise<string> {
  const details = () => stage.job(jobId).transitions.map(({ detail }) => detail ?? "");
  const look = () => details().find((detail) => words.test(detail));
  return stage.until(`EMX2 is told ${words} of ${jobId}`, look, slurmBoundMs);
}

export function slurmJobIdOf(stage: SlurmStage, jobId: string): string {
  const { slurmJobId } = stage.job(jobId);
  if (!slurmJobId) throw new Error(`job ${jobId} has no Slurm job yet`);
  return slurmJobId;
}

/** How often the job's workload was started. */
export function runsOf(stage: SlurmStage, jobId: string): number {
  return stage.ledger().filter((id) => id === jobId).length;
}
