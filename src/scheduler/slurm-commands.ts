/**
 * Slurm's commands as questions with one of two answers: rows, or nothing at all. What fails, hangs or prints what is no
 * row says nothing about any run. sbatch is never killed by us: its request may be on the way, and timeout(1) bounds it
 * even where we are killed ourselves.
 */
import type { Clock } from "../clock.ts";
import { SchedulerOutputError } from "../errors.ts";
import type { Profile } from "../job/profile.ts";
import type { RunRef } from "../job/run.ts";
import type { Usage } from "../job/usage.ts";
import { type Completed, failureLine, type RunOptions, run as runProgram, succeeded } from "../subprocess.ts";
import { readSbatch } from "./sbatch-answer.ts";
import type { CancelAnswer, SubmitAnswer } from "./scheduler.ts";
import {
  located,
  parseRows,
  type QueueRow,
  queryEnvironment,
  sacctArgv,
  sacctBatch,
  sbatchArgv,
  scancelArgv,
  squeueArgv,
  submitEnvironment,
} from "./slurm-format.ts";
import { readUsage, usageArgv } from "./slurm-usage.ts";

export interface CommandOptions {
  readonly clock: Clock;
  /** Where the commands are, if they are not on PATH. */
  readonly binDir?: string;
  /** The daemon's environment; Slurm's commands see only what they need of it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The name of the user who submits. */
  readonly user: string;
  /** Called before each command; throws where none may be given any more. */
  readonly beforeCommand?: () => void;
  /** Told of each command that has ended. */
  readonly onCommand?: (completed: Completed) => void;
  /** sbatch's own time. It waits up to 10 s for a controller, and longer for one that is busy. */
  readonly submitMs: number;
  readonly queryMs: number;
}

/** `slowDown`: it was answered, and its limit on requests was reached meanwhile. */
export type RowsAnswer =
  | { readonly is: "answered"; readonly rows: readonly QueueRow[]; readonly slowDown?: string }
  | { readonly is: "unavailable"; readonly cause: string };

export type UsedAnswer =
  | { readonly is: "answered"; readonly used: ReadonlyMap<string, Usage> }
  | { readonly is: "unavailable"; readonly cause: string };

export interface SlurmCommands {
  submit(run: RunRef, profile: Profile, signal: AbortSignal): Promise<SubmitAnswer>;
  queue(signal: AbortSignal): Promise<RowsAnswer>;
  /** Without accounting the answer is known: no rows. */
  accounting(runs: readonly RunRef[], signal: AbortSignal): Promise<RowsAnswer>;
  /** What the ended ones of these runs have used, by Slurm's id. */
  usage(runs: readonly RunRef[], signal: AbortSignal): Promise<UsedAnswer>;
  /** With `ids` those of the name alone. */
  cancel(name: string, ids: readonly string[] | undefined, signal: AbortSignal): Promise<CancelAnswer>;
}

const disabled = /accounting storage is disabled/;
const unaccounted = { is: "unavailable", cause: "there is no accounting" } as const;
/** From sbatch's TERM to its KILL. */
export const killAfterS = 5;
/** sacct shows what was alive since then; further back than the intent, since clocks differ. */
const sacctMarginS = 600;
/** 100,000 jobs of one user, with room. */
const maxQueueBytes = 32_000_000;

export function createCommands(options: CommandOptions): SlurmCommands {
  const { clock, user, binDir, queryMs, beforeCommand, onCommand } = options;
  // cron sets no USER.
  const env = { ...options.env, USER: user, LOGNAME: user };
  const always = { clock, ...(onCommand ? { onCompleted: onCommand } : {}) };
  const forQuery = { ...always, env: queryEnvironment(env), timeoutMs: queryMs, maxOutputBytes: maxQueueBytes };
  const query = (argv: readonly string[], signal: AbortSignal) => {
    beforeCommand?.();
    return runProgram(located(binDir, argv), { ...forQuery, signal });
  };

  /** It is asked once in a daemon's life where there is none. */
  let isUnaccounted = false;

  return {
    async submit(run, profile, signal) {
      beforeCommand?.();
      const argv = located(binDir, sbatchArgv(run, profile));
      return await sbatch(argv, options.submitMs, { ...always, env: submitEnvironment(env), signal });
    },

    async queue(signal) {
      return rowsOf("squeue", await query(squeueArgv(user), signal));
    },

    async accounting(runs, signal) {
      const rows: QueueRow[] = [];
      for (const argv of sacctCalls(runs, clock.wall())) {
        const completed = await query(argv, signal);
        if (disabled.test(completed.stderr)) return { is: "answered", rows: [] };
        const answer = rowsOf("sacct", completed);
        if (answer.is === "unavailable") return answer;
        rows.push(...answer.rows);
      }
      return { is: "answered", rows };
    },

    async usage(runs, signal) {
      if (isUnaccounted) return unaccounted;
      const ids = runs.flatMap((run) => run.schedulerId ?? []);
      const sinceS = sinceOldest(runs, clock.wall());
      const used = new Map<string, Usage>();
      for (let at = 0; at < ids.length; at += sacctBatch) {
        const completed = await query(usageArgv(ids.slice(at, at + sacctBatch), sinceS), signal);
        isUnaccounted = disabled.test(completed.stderr);
        if (isUnaccounted) return unaccounted;
        if (!succeeded(completed)) return failed(completed);
        for (const [id, usage] of readUsage(completed.stdout, runs, user)) used.set(id, usage);
      }
      return { is: "answered", used };
    },

    async cancel(name, ids, signal) {
      const completed = await query(scancelArgv(user, name, ids), signal);
      // Of a job that ends between scancel's look and its request it says so, and exits 1.
      const over = /Invalid job id specified|already completing or completed/.test(completed.stderr);
      return succeeded(completed) || over ? { is: "asked" } : failed(completed);
    },
  };
}

async function sbatch(
  argv: readonly string[],
  submitMs: number,
  options: Omit<RunOptions, "timeoutMs" | "onAbort">,
): Promise<SubmitAnswer> {
  const bound = ["timeout", "-k", String(killAfterS), String(Math.ceil(submitMs / 1_000))];
  const timeoutMs = submitMs + 2 * killAfterS * 1_000;
  const completed = await runProgram([...bound, ...argv], { ...options, onAbort: "leave", timeoutMs });
  return readSbatch({ ...completed, argv: completed.argv.slice(bound.length) });
}

function rowsOf(source: "squeue" | "sacct", completed: Completed): RowsAnswer {
  if (!succeeded(completed)) return failed(completed);
  try {
    const rows = parseRows(source, completed.stdout, completed.argv);
    // The client waits and asks again by itself: mostly it shows in the time that a query takes.
    const slowDown = /^.*\brate.?limit.*$/im.exec(completed.stderr)?.[0].slice(0, 200);
    return { is: "answered", rows, ...(slowDown === undefined ? {} : { slowDown }) };
  } catch (error) {
    if (error instanceof SchedulerOutputError) return { is: "unavailable", cause: error.message };
    throw error;
  }
}

function failed(completed: Completed): { readonly is: "unavailable"; readonly cause: string } {
  return { is: "unavailable", cause: failureLine(completed) };
}

function sacctCalls(runs: readonly RunRef[], nowMs: number): string[][] {
  const calls: string[][] = [];
  const ids = runs.flatMap((run) => run.schedulerId ?? []);
  const names = runs.flatMap((run) => (run.schedulerId === undefined ? [run.name] : []));
  const sinceS = sinceOldest(runs, nowMs);
  for (let at = 0; at < ids.length; at += sacctBatch)
    calls.push(sacctArgv({ ids: ids.slice(at, at + sacctBatch) }, sinceS));
  for (let at = 0; at < names.length; at += sacctBatch)
    calls.push(sacctArgv({ names: names.slice(at, at + sacctBatch) }, sinceS));
  return calls;
}

function sinceOldest(runs: readonly RunRef[], nowMs: number): number {
  const oldestMs = runs.reduce((oldest, run) => Math.min(oldest, run.notBefore), nowMs);
  return (nowMs - oldestMs) / 1_000 + sacctMarginS;
}
