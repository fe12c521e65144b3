/** Real runs of the shell backend, whose clock can be put forward. Whatever a test has started is ended after it. */
import { afterEach, beforeEach } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { errnoOf } from "../../../src/errors.ts";
import type { Profile } from "../../../src/job/profile.ts";
import type { RunRef, SchedulerRow } from "../../../src/job/run.ts";
import type { Scheduler } from "../../../src/scheduler/scheduler.ts";
import { createShell } from "../../../src/scheduler/shell.ts";
import { processOf, signalRun } from "../../../src/scheduler/shell-process.ts";
import { hostProfile, writeRun } from "../../contract/scheduler/suite.ts";
import { until } from "../../integration/until.ts";

export const never = new AbortController().signal;
export const killWaitMs = 60_000;
const boundMs = 15_000;
/** The daemon's own. */
const env = {
  ...{ PATH: process.env["PATH"], HOME: "/nowhere", USER: "jo", LOGNAME: "jo" },
  ...{ SLURM_CONF: "/etc/slurm.conf", LC_ALL: "C", TOKEN: "secret" },
};

export type Submitted = RunRef & { readonly schedulerId: string };

export interface ShellStage {
  /** As after a restart of the daemon. */
  daemon(): Scheduler;
  /** Puts the clock forward. */
  pass(ms: number): void;
  run(program: string): RunRef;
  /** Ends it after the test. */
  endAfterwards(run: Submitted): void;
  submitted(program: string, profile?: Partial<Profile>): Promise<Submitted>;
  row(run: RunRef, by?: Scheduler): Promise<SchedulerRow | null | undefined>;
  /** The row once it has this state. */
  rowIn(state: SchedulerRow["state"], run: RunRef, by?: Scheduler): Promise<SchedulerRow>;
  /** The process id that the program has written to this file of its working directory. */
  pidIn(run: RunRef, file: string): Promise<number>;
  until<T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>>;
}

export function shellStage(): ShellStage {
  let base = "";
  let passedMs = 0;
  let started: Submitted[] = [];
  const clock: Clock = {
    ...systemClock,
    wall: () => systemClock.wall() + passedMs,
    mono: () => systemClock.mono() + passedMs,
  };
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "emx2-shell-"));
    started = [];
    passedMs = 0;
  });
  afterEach(async () => {
    for (const run of started) {
      const leader = processOf(run.schedulerId);
      if (leader) signalRun(leader, run.jobId, "SIGKILL");
    }
    rmSync(base, { recursive: true, force: true });
  });

  const subject = { name: "shell", patienceMs: boundMs, setUp: () => stage.daemon };
  const stage: ShellStage = {
    daemon: () => createShell({ clock, env, killWaitMs }),
    pass: (ms) => {
      passedMs += ms;
    },
    run: (program) => writeRun(subject, base, program),
    endAfterwards: (run) => void started.push(run),
    async submitted(program, profile = {}) {
      const run = stage.run(program);
      const answer = await stage.daemon().submit(run, { ...hostProfile, ...profile }, never);
      if (answer.is !== "submitted") throw new Error(`${answer.is}: ${answer.cause}`);
      const submitted = { ...run, schedulerId: answer.schedulerId };
      stage.endAfterwards(submitted);
      return submitted;
    },
    async row(run, by = stage.daemon()) {
      const answer = await by.states([run], never);
      return answer.is === "answered" ? answer.rows.get(run.jobId) : undefined;
    },
    rowIn: (state, run, by) =>
      stage.until(`${run.name} is ${state}`, async () => {
        const row = await stage.row(run, by);
        return row?.state === state ? row : undefined;
      }),
    pidIn: (run, file) =>
      stage.until(`the program has written ${file}`, () => {
        const path = join(run.dir, "work", file);
        return existsSync(path) ? Number(readFileSync(path, "utf8")) : undefined;
      }),
    until: (what, look) => until(what, look, boundMs),
  };
  return stage;
}

/** It runs: what only waits for its parent does not. */
export function isAlive(pid: number): boolean {
  return statOf(pid) !== undefined;
}

/** Process ids in the session that the run leads, or led. */
export function sessionOf(run: Submitted): number[] {
  const leader = run.schedulerId.split("-")[0];
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => statOf(pid)?.[3] === leader);
}

/** What follows the program's name. */
function statOf(pid: number): string[] | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields;
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}
