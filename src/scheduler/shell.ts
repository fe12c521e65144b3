/**
 * Runs jobs on this machine, without any scheduler: the batch script in a session of its own, which outlives the daemon.
 * A run's id is its process id and the clock tick it was started at (`4711-88123456`), so that a process id that has been
 * given to another process is never taken for it. The id is the lease's value and part of the log files' names, as
 * Slurm's is; the script learns it from `EMX2_RUN_ID`.
 */
import { constants, existsSync, readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { errnoOf } from "../errors.ts";
import type { RunRef, SchedulerRow } from "../job/run.ts";
import { leaseOf } from "./lease.ts";
import type { Scheduler, SubmitAnswer } from "./scheduler.ts";
import { submitEnvironment } from "./slurm-format.ts";

export interface ShellOptions {
  readonly clock: Clock;
  /** The daemon's environment; a job sees of it what it would see on Slurm. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** From TERM to KILL, as Slurm's KillWait. */
  readonly killWaitMs?: number;
}

/** A script that was started takes its lease within milliseconds; a busy machine may need more. */
const fenceMs = 10_000;
const usualKillWaitMs = 30_000;

export function createShell({ clock, env, killWaitMs = usualKillWaitMs }: ShellOptions): Scheduler {
  return {
    fenceMs,

    async submit(run) {
      return start(run, submitEnvironment(env));
    },

    async find(run) {
      const schedulerId = await idOf(run, clock);
      return schedulerId === undefined ? { is: "absent" } : { is: "found", schedulerId };
    },

    async states(runs) {
      const rows = await Promise.all(runs.map(async (run) => [run.jobId, await rowOf(run, clock)] as const));
      return { is: "answered", rows: new Map(rows) };
    },

    /** KILL follows by itself where TERM does not do; the script must live to write its receipt, so it is not the first. */
    async cancel(run) {
      const ids = new Set([await idOf(run, clock), run.schedulerId]);
      for (const id of ids) {
        if (id === undefined || !isAlive(id)) continue;
        writeFileSync(cancelledFile(run), "");
        if (signalGroup(id, "SIGTERM")) clock.timer(killWaitMs, () => signalGroup(id, "SIGKILL"));
      }
      return { is: "asked" };
    },
  };
}

/** Learns its own id before it becomes the script: field 22 of /proc/PID/stat, the 20th after the parenthesis. */
const launcher = `
dir=$1 attempt=$2
read -r stat </proc/$$/stat && set -- \${stat##*) } && shift 19 || exit 94
export EMX2_RUN_ID="$$-$1"
log=$dir/.emx2/slurm-$EMX2_RUN_ID
exec sh "$dir/.emx2/job.sh" "$dir" "$attempt" >>"$log.out" 2>>"$log.err"
`;

function start(run: RunRef, env: Record<string, string>): SubmitAnswer {
  const child = Bun.spawn(["sh", "-c", launcher, "sh", run.dir, run.attempt], {
    env,
    cwd: run.dir,
    detached: true,
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  });
  child.unref();
  const ticks = startTicks(child.pid);
  if (ticks === undefined) return { is: "doubt", cause: "the batch script was gone before it could be looked at" };
  return { is: "submitted", schedulerId: `${child.pid}-${ticks}` };
}

/** What stands in the lease may be of a job's making: an id that we could not have given is none. */
async function idOf(run: RunRef, clock: Clock): Promise<string | undefined> {
  const holder = await leaseOf(run, clock);
  return holder !== undefined && runId.test(holder) ? holder : undefined;
}

const runId = /^[1-9]\d*-\d+$/;

async function rowOf(run: RunRef, clock: Clock): Promise<SchedulerRow | null> {
  const schedulerId = (await idOf(run, clock)) ?? run.schedulerId;
  if (schedulerId === undefined) return null;
  const row = { source: "squeue", schedulerId, name: run.name } as const;
  if (isAlive(schedulerId)) return { ...row, state: "RUNNING" };
  const exit = await exitCodeOf(run);
  if (exit === 0) return { ...row, state: "COMPLETED", exitCode: 0, signal: 0 };
  if (existsSync(cancelledFile(run))) return { ...row, state: "CANCELLED" };
  if (exit === undefined) return { ...row, state: "FAILED", reason: "gone without a receipt" };
  return { ...row, state: "FAILED", exitCode: exit, signal: 0 };
}

/** Says that the end was asked for: the script may be gone before it can write a receipt. */
function cancelledFile(run: RunRef): string {
  return join(run.dir, ".emx2", `cancelled.${run.attempt}`);
}

const maxReceiptBytes = 64 * 1024;
/** Neither a link is followed, nor a FIFO that nobody writes to waited for. */
const asReceipt = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A receipt is written whole or not at all; whatever else a job has put there is none. */
async function exitCodeOf(run: RunRef): Promise<number | undefined> {
  try {
    await using file = await open(join(run.dir, ".emx2", `exit.${run.attempt}.0`), asReceipt);
    const status = await file.stat();
    if (!status.isFile() || status.size > maxReceiptBytes) return undefined;
    const receipt: unknown = JSON.parse(await file.readFile("utf8"));
    const isReceipt = typeof receipt === "object" && receipt !== null && "exit" in receipt;
    return isReceipt && Number.isInteger(receipt.exit) ? Number(receipt.exit) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || ["ENOENT", "ELOOP", "ENXIO"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}

function signalGroup(id: string, signal: "SIGTERM" | "SIGKILL"): boolean {
  if (!isAlive(id)) return false;
  try {
    process.kill(-processOf(id), signal);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ESRCH") return false;
    throw error;
  }
}

function isAlive(id: string): boolean {
  return runId.test(id) && startTicks(processOf(id)) === id.split("-")[1];
}

function processOf(id: string): number {
  return Number.parseInt(id, 10);
}

/** undefined: there is no such process, or it is one that has ended and was not waited for. */
function startTicks(pid: number): string | undefined {
  const stat = statText(pid);
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields?.[0] === "Z" || fields?.[0] === "X" ? undefined : fields?.[19];
}

function statText(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}
