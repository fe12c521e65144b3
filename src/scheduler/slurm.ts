/**
 * Slurm by its commands. A row counts as a run's by name, user and id together: ids are handed out twice after a
 * controller's crash, and fresh rows of sacct carry other names and users for up to 90 s. Queries that fail say nothing.
 * sbatch is never killed by us: its request may be on the way, and timeout(1) bounds it even where we are killed ourselves.
 */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { SchedulerOutputError } from "../errors.ts";
import { phaseOf, type RunRef, type SchedulerRow } from "../job/run.ts";
import { type Completed, failureLine, run as runProgram, succeeded } from "../subprocess.ts";
import { foreignIds, leaseOf } from "./lease.ts";
import { readSbatch } from "./sbatch-answer.ts";
import type { CancelAnswer, Scheduler } from "./scheduler.ts";
import {
  parseRows,
  type QueueRow,
  queryEnvironment,
  sacctArgv,
  sacctBatch,
  sbatchArgv,
  scancelArgv,
  squeueArgv,
  submitEnvironment,
  unwritableLogs,
} from "./slurm-format.ts";

export interface SlurmOptions {
  readonly clock: Clock;
  /** Where the commands are, if they are not on PATH. */
  readonly binDir?: string;
  /** The daemon's environment; Slurm's commands see only what they need of it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The name of the user who submits. */
  readonly user: string;
  readonly limits?: Partial<SlurmLimits>;
}

export interface SlurmLimits {
  /** sbatch's own time. It waits up to 10 s for a controller, and longer for one that is busy. */
  readonly submitMs: number;
  readonly queryMs: number;
  /** How long a message that sbatch has sent may still take effect. */
  readonly messageMs: number;
  /** How long accounting may show a new job without its name. */
  readonly accountingLagMs: number;
}

const usualLimits: SlurmLimits = { submitMs: 60_000, queryMs: 60_000, messageMs: 30_000, accountingLagMs: 90_000 };
const killAfterS = 5;
const shortestFenceMs = 120_000;
/** How far the controller's clock and ours may differ; munge allows 5 minutes, but refuses jobs long before people do. */
const clockSkewS = 60;
/** sacct shows what was alive since then; further back than the intent, for the same reason. */
const sacctMarginS = 600;
/** 100,000 jobs of one user, with room. */
const maxQueueBytes = 32_000_000;

export function createSlurm(options: SlurmOptions): Scheduler {
  const { clock, user } = options;
  const limits = { ...usualLimits, ...options.limits };
  // cron sets no USER.
  const env = { ...options.env, USER: user, LOGNAME: user };
  const forSubmit = submitEnvironment(env);
  const forQuery = queryEnvironment(env);

  const located = ([program = "", ...rest]: readonly string[]) => [
    options.binDir === undefined ? program : join(options.binDir, program),
    ...rest,
  ];
  const query = (argv: readonly string[], signal: AbortSignal) =>
    runProgram(located(argv), {
      clock,
      env: forQuery,
      signal,
      timeoutMs: limits.queryMs,
      maxOutputBytes: maxQueueBytes,
    });

  async function queue(signal: AbortSignal): Promise<Answer> {
    const completed = await query(squeueArgv(user), signal);
    return succeeded(completed) ? readRows("squeue", completed) : failed(completed);
  }

  /** Without accounting the answer is known: no rows. */
  async function accounting(runs: readonly RunRef[], signal: AbortSignal): Promise<Answer> {
    const rows: QueueRow[] = [];
    for (const argv of sacctCalls(runs, clock.wall())) {
      const completed = await query(argv, signal);
      if (/accounting storage is disabled/.test(completed.stderr)) return { is: "answered", rows: [] };
      const answer = succeeded(completed) ? readRows("sacct", completed) : failed(completed);
      if (answer.is === "unavailable") return answer;
      rows.push(...answer.rows);
    }
    return { is: "answered", rows };
  }

  return {
    fenceMs: Math.max(
      shortestFenceMs,
      limits.submitMs + killAfterS * 1_000 + limits.messageMs + limits.accountingLagMs,
    ),

    async submit(run, profile, signal) {
      const cause = unwritableLogs(run.dir);
      if (cause !== undefined) return { is: "refused", cause };
      const bound = ["timeout", "-k", String(killAfterS), String(Math.ceil(limits.submitMs / 1_000))];
      const completed = await runProgram([...bound, ...located(sbatchArgv(run, profile))], {
        clock,
        env: forSubmit,
        signal,
        onAbort: "leave",
        timeoutMs: limits.submitMs + 2 * killAfterS * 1_000,
      });
      return readSbatch({ ...completed, argv: completed.argv.slice(bound.length) });
    },

    async find(run, signal) {
      const holder = leaseOf(run);
      if (holder !== undefined) return { is: "found", schedulerId: holder };
      const { schedulerId: _, ...byName } = run;
      const queued = await queue(signal);
      if (queued.is === "unavailable") return queued;
      const inQueue = rowOf(byName, queued.rows, user);
      if (inQueue) return { is: "found", schedulerId: inQueue.schedulerId };
      const accounted = await accounting([byName], signal);
      if (accounted.is === "unavailable") return accounted;
      const row = rowOf(byName, accounted.rows, user);
      return row ? { is: "found", schedulerId: row.schedulerId } : { is: "absent" };
    },

    /**
     * Where squeue answers and sacct fails, the runs that only sacct could know are left out: nothing is known of them. Of
     * cancelled ones sacct alone tells by whom.
     */
    async states(runs, signal) {
      const rows = new Map<string, SchedulerRow | null>();
      if (runs.length === 0) return { is: "answered", rows };
      const queued = await queue(signal);
      if (queued.is === "unavailable") return queued;
      const left: RunRef[] = [];
      for (const run of runs) {
        const row = rowOf(run, queued.rows, user);
        if (row) rows.set(run.jobId, row);
        if (row === undefined || row.state === "CANCELLED") left.push(run);
      }
      const accounted = await accounting(left, signal);
      if (accounted.is === "unavailable") return rows.size > 0 ? { is: "answered", rows } : accounted;
      for (const run of left) {
        const row = rowOf(run, accounted.rows, user);
        const inQueue = rows.get(run.jobId);
        // Accounting can be behind the queue, which then stands.
        if (inQueue === undefined || row?.state === "CANCELLED") rows.set(run.jobId, row ?? null);
      }
      return { is: "answered", rows };
    },

    async cancel(run, signal): Promise<CancelAnswer> {
      const completed = await query(scancelArgv(user, run), signal);
      // What has ended, or is forgotten, is "Invalid job id specified" (exit 1) where a name is asked for as well.
      const over = /Invalid job id specified|already completing or completed/.test(completed.stderr);
      return succeeded(completed) || over ? { is: "asked" } : failed(completed);
    },
  };
}

type Unavailable = { readonly is: "unavailable"; readonly cause: string };
type Answer = { readonly is: "answered"; readonly rows: readonly QueueRow[] } | Unavailable;

function failed(completed: Completed): Unavailable {
  return { is: "unavailable", cause: failureLine(completed) };
}

function readRows(source: "squeue" | "sacct", completed: Completed): Answer {
  try {
    return { is: "answered", rows: parseRows(source, completed.stdout, completed.argv) };
  } catch (error) {
    if (error instanceof SchedulerOutputError) return { is: "unavailable", cause: error.message };
    throw error;
  }
}

function sacctCalls(runs: readonly RunRef[], nowMs: number): string[][] {
  const calls: string[][] = [];
  const ids = runs.flatMap((run) => run.schedulerId ?? []);
  const names = runs.flatMap((run) => (run.schedulerId === undefined ? [run.name] : []));
  const oldestMs = runs.reduce((oldest, run) => Math.min(oldest, run.notBefore), nowMs);
  const sinceS = (nowMs - oldestMs) / 1_000 + sacctMarginS;
  for (let at = 0; at < ids.length; at += sacctBatch)
    calls.push(sacctArgv({ ids: ids.slice(at, at + sacctBatch) }, sinceS));
  for (let at = 0; at < names.length; at += sacctBatch)
    calls.push(sacctArgv({ names: names.slice(at, at + sacctBatch) }, sinceS));
  return calls;
}

/**
 * The run's row. While its id is not known: one submitted since the intent that is nobody else's, a live one before an
 * ended one, the newest first.
 */
function rowOf(run: RunRef, rows: readonly QueueRow[], user: string): SchedulerRow | undefined {
  const named = rows.filter((row) => row.name === run.name && row.user === user);
  const candidates =
    run.schedulerId === undefined
      ? eligible(run, named).sort(
          (a, b) => liveFirst(a) - liveFirst(b) || Number(b.schedulerId) - Number(a.schedulerId),
        )
      : named.filter((row) => row.schedulerId === run.schedulerId);
  const found = candidates[0];
  if (found === undefined) return undefined;
  const { user: _user, submittedAt: _submittedAt, ...row } = found;
  return row;
}

function eligible(run: RunRef, rows: QueueRow[]): QueueRow[] {
  if (rows.length === 0) return [];
  const foreign = foreignIds(run);
  const earliestS = run.notBefore / 1_000 - clockSkewS;
  return rows.filter((row) => !foreign.has(row.schedulerId) && (row.submittedAt ?? earliestS) >= earliestS);
}

function liveFirst(row: QueueRow): number {
  return phaseOf[row.state] === "ended" ? 1 : 0;
}
