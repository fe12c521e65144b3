/**
 * Which processes are a run's, and signals to them and to nobody else. A run's id names the process that leads its session:
 * process id, the clock tick it was started at, and a mark of the machine's boot (`4711-88123456-1f3a9c02`). So it can be
 * told from another process that was given the same number, and from one of a time before the machine was restarted.
 *
 * The session outlives its leader. The kernel gives no process a number that a session still has, so that one member
 * known to be the run's vouches for all of them. What makes a session of its own (setsid, a daemon) has left the run.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { errnoOf } from "../errors.ts";
import type { JobId } from "../job/run.ts";

export interface RunProcess {
  readonly id: string;
  readonly pid: number;
  readonly startTicks: string;
  readonly boot: string;
}

/** undefined: no id that we could have given. */
export function processOf(id: string): RunProcess | undefined {
  const [, pid, startTicks, boot] = /^([1-9]\d{0,9})-(\d{1,20})-([0-9a-f]{8})$/.exec(id) ?? [];
  if (pid === undefined || startTicks === undefined || boot === undefined) return undefined;
  return { id, pid: Number(pid), startTicks, boot };
}

/** The first eight digits of the boot id, which is drawn anew at each start of the machine. */
export function bootMark(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").slice(0, 8);
}

/** `left`: its leader is gone, others of its session go on. `rebooted`: it was started before the machine was. */
export type Life = "running" | "left" | "gone" | "rebooted";

export function lifeOf(run: RunProcess, jobId: JobId): Life {
  if (run.boot !== bootMark()) return "rebooted";
  const leader = statOf(run.pid);
  if (leader && isLeader(leader, run) && !leader.ended) return "running";
  return groupsOf(run, jobId).size > 0 ? "left" : "gone";
}

/** Sends it to each process group of the run's session; they are looked up right before. */
export function signalRun(run: RunProcess, jobId: JobId, signal: "SIGTERM" | "SIGKILL"): void {
  if (run.boot !== bootMark()) return;
  for (const group of groupsOf(run, jobId)) {
    try {
      process.kill(-group, signal);
    } catch (error) {
      // ESRCH: it has just ended. EPERM: all of it runs as somebody else (sudo), and there is nothing that we may do.
      if (!["ESRCH", "EPERM"].includes(errnoOf(error) ?? "")) throw error;
    }
  }
}

/** A look at a process; `ended`: it only waits for its parent to notice. */
interface Stat {
  readonly pid: number;
  readonly ended: boolean;
  readonly group: number;
  readonly session: number;
  readonly startTicks: string;
}

/** Process groups with somebody alive in them; none where nobody vouches for the session. */
function groupsOf(run: RunProcess, jobId: JobId): ReadonlySet<number> {
  const leader = statOf(run.pid);
  if (leader && !isLeader(leader, run)) return new Set();
  const members = allProcesses().filter(({ session, ended }) => session === run.pid && !ended);
  const isOurs = leader !== undefined || members.some(({ pid }) => bearsMark(pid, run, jobId));
  return new Set(isOurs ? members.map(({ group }) => group) : []);
}

function isLeader(stat: Stat, run: RunProcess): boolean {
  return stat.startTicks === run.startTicks && stat.session === run.pid;
}

/** What the script, and then the workload, were started with, or write to. A job may have cleared one of them. */
function bearsMark(pid: number, run: RunProcess, jobId: JobId): boolean {
  const environment = (orNothing(() => readFileSync(`/proc/${pid}/environ`, "utf8")) ?? "").split("\0");
  if (environment.includes(`EMX2_RUN_ID=${run.id}`) || environment.includes(`HPC_JOB_ID=${jobId}`)) return true;
  const log = `/${jobId}/.emx2/slurm-${run.id}.`;
  return [1, 2].some((fd) => orNothing(() => readlinkSync(`/proc/${pid}/fd/${fd}`))?.includes(log));
}

function allProcesses(): Stat[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statOf(Number(name)))
    .filter((stat) => stat !== undefined);
}

/** The program's name stands in parentheses, and may hold any characters: what counts comes after the last one. */
function statOf(pid: number): Stat | undefined {
  const text = orNothing(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ") ?? [];
  const [state, , group, session] = fields;
  const startTicks = fields[19];
  if (state === undefined || startTicks === undefined) return undefined;
  return { pid, ended: state === "Z" || state === "X", group: Number(group), session: Number(session), startTicks };
}

/** It has ended meanwhile, or it is somebody else's. */
function orNothing<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES", "EPERM"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}
