/**
 * Runs jobs on this machine, without any scheduler: the batch script in a session of its own, which outlives the daemon.
 * What Slurm would do while a job runs happens here at each look: its time limit, KILL after TERM, and the end of what a
 * script has left behind. All that it needs to know lies in the job directory, so that every later daemon can go on with
 * it. The id is the lease's value and part of the log files' names, as Slurm's is; see `shell-process.ts`.
 */
import { hostname } from "node:os";
import { type Clock, steady } from "../clock.ts";
import { isSystemError } from "../errors.ts";
import { type Profile, timeLimitMs } from "../job/profile.ts";
import { duration, type RunRef, type SchedulerRow } from "../job/run.ts";
import { leaseOf } from "./lease.ts";
import type { CancelAnswer, Scheduler } from "./scheduler.ts";
import { launch, launchMs } from "./shell-launch.ts";
import { lifeOf, processOf, type RunProcess, signalRun } from "./shell-process.ts";
import { beganOf, createEndings, type Ending, type Endings, type Exit, exitOf, type Known } from "./shell-record.ts";
import { submitEnvironment } from "./slurm-format.ts";

export interface ShellOptions {
  readonly clock: Clock;
  /** The daemon's environment; a job sees of it what it would see on Slurm. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** From TERM to KILL, as Slurm's KillWait. */
  readonly killWaitMs?: number;
}

/** A script takes its lease within milliseconds after it has said that it begins; a busy machine may need more. */
const fenceMs = launchMs + 5_000;
const usualKillWaitMs = 30_000;

export function createShell({ clock: given, env, killWaitMs = usualKillWaitMs }: ShellOptions): Scheduler {
  const clock = steady(given);
  const { SLURM_CONF: _noSlurm, ...ownEnv } = submitEnvironment(env);
  const site: Site = { clock, killWaitMs, endings: createEndings(clock) };
  return {
    fenceMs,

    /** Of the profile only `time` is for a machine without a scheduler: it has no partitions, and shares out nothing. */
    submit(run, profile, signal) {
      return launch(run, { clock, env: ownEnv, record: recordOf(profile, clock), signal });
    },

    async find(run) {
      const schedulerId = (await holderOf(run, clock))?.id;
      return schedulerId === undefined ? { is: "absent" } : { is: "found", schedulerId };
    },

    async states(runs) {
      const rows = await Promise.all(
        runs.map(async (run) => [run.jobId, await unlessSilent(look(site, run))] as const),
      );
      return { is: "answered", rows: new Map(rows.filter((row): row is Answered => row[1] !== undefined)) };
    },

    cancel: (run) => cancel(site, run),
  };
}

interface Site {
  readonly clock: Clock;
  readonly killWaitMs: number;
  readonly endings: Endings;
}

type Answered = readonly [string, SchedulerRow | null];

function recordOf(profile: Profile, clock: Clock): string {
  const limitMs = profile.time === undefined ? undefined : timeLimitMs(profile.time);
  return JSON.stringify({ v: 1, startedAt: Math.floor(clock.wall()), limitMs: limitMs ?? null });
}

/** A job directory on storage that does not answer says nothing about its run, and keeps nobody from the others. */
async function unlessSilent<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return undefined;
  }
}

/** What stands in the lease may be of a job's making: an id that we could not have given is none. */
async function holderOf(run: RunRef, clock: Clock): Promise<RunProcess | undefined> {
  return processOf((await leaseOf(run, clock)) ?? "");
}

/** What is due is done, then told. */
async function look(site: Site, run: RunRef): Promise<SchedulerRow | null> {
  const leader = (await holderOf(run, site.clock)) ?? processOf(run.schedulerId ?? "");
  if (!leader) return null;
  const known = { run, id: leader.id };
  const row = { source: "squeue", schedulerId: leader.id, name: run.name, node: hostname() } as const;
  const life = lifeOf(leader, run.jobId);
  if (life === "gone" || life === "rebooted") return { ...row, ...(await endOf(site, known, life)) };
  if (life === "left") {
    // As Slurm does when a batch script has ended.
    signalRun(leader, run.jobId, "SIGKILL");
    return { ...row, state: "COMPLETING" };
  }
  const began = await beganOf(known, site.clock);
  const elapsedMs = began && site.clock.wall() - began.startedAt;
  const isOver = elapsedMs !== undefined && elapsedMs >= (began?.limitMs ?? Number.POSITIVE_INFINITY);
  const ending = (await site.endings.of(known)) ?? (isOver ? await begin(site, known, "TIMEOUT") : undefined);
  if (ending) await press(site, known, leader, ending);
  const elapsed = elapsedMs === undefined ? {} : { elapsed: duration(elapsedMs) };
  return { ...row, state: ending ? "COMPLETING" : "RUNNING", ...elapsed };
}

async function cancel(site: Site, run: RunRef): Promise<CancelAnswer> {
  try {
    const ids = new Set([(await holderOf(run, site.clock))?.id, run.schedulerId]);
    for (const id of ids) {
      const leader = processOf(id ?? "");
      if (leader) await end(site, run, leader);
    }
    return { is: "asked" };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return { is: "unavailable", cause: error.message };
  }
}

async function end(site: Site, run: RunRef, leader: RunProcess): Promise<void> {
  const life = lifeOf(leader, run.jobId);
  if (life === "left") signalRun(leader, run.jobId, "SIGKILL");
  if (life !== "running") return;
  const known = { run, id: leader.id };
  await press(site, known, leader, (await site.endings.of(known)) ?? (await begin(site, known, "CANCELLED")));
}

/** The reason is on disk before the first signal; the first one stays. */
async function begin({ clock, endings }: Site, known: Known, by: Ending["by"]): Promise<Ending> {
  const ending = { v: 1, by, at: Math.floor(clock.wall()), uid: process.getuid?.() ?? 0, termAt: null } as const;
  await endings.put(known, ending);
  return ending;
}

/** TERM once, for the script has to live to write its receipt; KILL from the end of the grace on, at each look. */
async function press(site: Site, known: Known, leader: RunProcess, ending: Ending): Promise<void> {
  const now = Math.floor(site.clock.wall());
  if (ending.termAt === null) {
    signalRun(leader, known.run.jobId, "SIGTERM");
    await site.endings.put(known, { ...ending, termAt: now });
    return;
  }
  const sinceMs = now - ending.termAt;
  // A clock that was set back must not put it off.
  if (sinceMs < 0 || sinceMs >= site.killWaitMs) signalRun(leader, known.run.jobId, "SIGKILL");
}

type End = Pick<SchedulerRow, "state" | "reason" | "elapsed" | "exitCode" | "signal" | "cancelledBy">;

/** How a run has ended. As in Slurm, one whose end was asked for has that state whatever its program returned. */
async function endOf(site: Site, known: Known, life: "gone" | "rebooted"): Promise<End> {
  const exit = await exitOf(known, site.clock);
  const ending = await site.endings.of(known);
  const elapsed = await wholeTime(site, known, exit, ending);
  // It had ended before the signal came.
  const byItself = exit?.exit === 0 && exit.signal === null;
  if (ending && !byItself) {
    const { by, uid } = ending;
    return { state: by, ...elapsed, ...(by === "CANCELLED" ? { cancelledBy: uid } : { reason: "TimeLimit" }) };
  }
  if (exit) return { state: exit.exit === 0 ? "COMPLETED" : "FAILED", exitCode: exit.exit, signal: 0, ...elapsed };
  if (life === "rebooted") return { state: "NODE_FAIL", reason: "the machine was restarted under it" };
  return { state: "FAILED", reason: "gone without a receipt" };
}

/** Of a run that was killed: until its end was asked for. */
async function wholeTime(
  site: Site,
  known: Known,
  exit: Exit | undefined,
  ending: Ending | undefined,
): Promise<Pick<SchedulerRow, "elapsed">> {
  if (exit) return { elapsed: duration((exit.end - exit.start) * 1_000) };
  const began = ending && (await beganOf(known, site.clock));
  return began ? { elapsed: duration(ending.at - began.startedAt) } : {};
}
