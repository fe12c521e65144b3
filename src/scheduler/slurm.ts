/**
 * Slurm by its commands. A row counts as a run's by name, user and id together: ids are handed out twice after a
 * controller's crash, and fresh rows of sacct carry other names and users for up to 90 s.
 */
import type { Clock } from "../clock.ts";
import { phaseOf, type RunRef, type SchedulerRow, type StatesAnswer } from "../job/run.ts";
import { foreignIds, leaseOf } from "./lease.ts";
import type { FindAnswer, Scheduler } from "./scheduler.ts";
import { type CommandOptions, createCommands, killAfterS, type SlurmCommands } from "./slurm-commands.ts";
import { type QueueRow, unwritableLogs } from "./slurm-format.ts";

export interface SlurmOptions extends Omit<CommandOptions, "submitMs" | "queryMs"> {
  readonly limits?: Partial<SlurmLimits>;
}

export interface SlurmLimits extends Pick<CommandOptions, "submitMs" | "queryMs"> {
  /** How long a message that sbatch has sent may still take effect. */
  readonly messageMs: number;
  /** How long accounting may show a new job without its name. */
  readonly accountingLagMs: number;
}

const usualLimits: SlurmLimits = { submitMs: 60_000, queryMs: 60_000, messageMs: 30_000, accountingLagMs: 90_000 };
const shortestFenceMs = 120_000;
/** How far the controller's clock and ours may differ; munge allows 5 minutes, but refuses jobs long before people do. */
const clockSkewS = 60;

export function createSlurm({ limits: given, ...options }: SlurmOptions): Scheduler {
  const { clock, user } = options;
  const limits = { ...usualLimits, ...given };
  const commands = createCommands({ ...options, submitMs: limits.submitMs, queryMs: limits.queryMs });
  const site = { clock, user, commands };
  const delayMs = limits.submitMs + killAfterS * 1_000 + limits.messageMs + limits.accountingLagMs;
  return {
    fenceMs: Math.max(shortestFenceMs, delayMs),
    async submit(run, profile, signal) {
      const cause = unwritableLogs(run.dir);
      return cause === undefined ? commands.submit(run, profile, signal) : { is: "refused", cause };
    },
    find: (run, signal) => find(site, run, signal),
    states: (runs, signal) => states(site, runs, signal),
    cancel: (run, signal) => commands.cancel(run.name, signal),
  };
}

interface Site {
  readonly clock: Clock;
  readonly user: string;
  readonly commands: SlurmCommands;
}

async function find(site: Site, run: RunRef, signal: AbortSignal): Promise<FindAnswer> {
  const holder = await leaseOf(run, site.clock);
  if (holder !== undefined) return { is: "found", schedulerId: holder };
  const { schedulerId: _, ...byName } = run;
  for (const ask of [site.commands.queue, (stop: AbortSignal) => site.commands.accounting([byName], stop)]) {
    const answer = await ask(signal);
    if (answer.is === "unavailable") return answer;
    const row = await rowOf(site, byName, answer.rows);
    if (row) return { is: "found", schedulerId: row.schedulerId };
  }
  return { is: "absent" };
}

/**
 * Where squeue answers and sacct fails, the runs that only sacct could know are left out: nothing is known of them. Of
 * an end that was none of the program's own sacct alone tells exit code, signal and who cancelled it.
 */
async function states(site: Site, runs: readonly RunRef[], signal: AbortSignal): Promise<StatesAnswer> {
  const rows = new Map<string, SchedulerRow | null>();
  if (runs.length === 0) return { is: "answered", rows };
  const queued = await site.commands.queue(signal);
  if (queued.is === "unavailable") return queued;
  const left: RunRef[] = [];
  for (const run of runs) {
    const row = await rowOf(site, run, queued.rows);
    if (row) rows.set(run.jobId, row);
    if (row === undefined || endedBadly(row)) left.push(run);
  }
  const accounted = await site.commands.accounting(left, signal);
  if (accounted.is === "unavailable") return { is: "answered", rows };
  for (const run of left) {
    const row = await rowOf(site, run, accounted.rows);
    const inQueue = rows.get(run.jobId);
    rows.set(run.jobId, inQueue ? { ...inQueue, ...endOf(row, inQueue) } : (row ?? null));
  }
  return { is: "answered", rows };
}

/**
 * The run's row. While its id is not known: one submitted since the intent that is nobody else's, a live one before an
 * ended one, the newest first.
 */
async function rowOf({ user, clock }: Site, run: RunRef, rows: readonly QueueRow[]): Promise<SchedulerRow | undefined> {
  const named = rows.filter((row) => row.name === run.name && row.user === user);
  const candidates =
    run.schedulerId === undefined
      ? (await eligible(run, named, clock)).sort(
          (a, b) => liveFirst(a) - liveFirst(b) || Number(b.schedulerId) - Number(a.schedulerId),
        )
      : named.filter((row) => row.schedulerId === run.schedulerId);
  const found = candidates[0];
  if (found === undefined) return undefined;
  const { user: _user, ...row } = found;
  return row;
}

async function eligible(run: RunRef, rows: QueueRow[], clock: Clock): Promise<QueueRow[]> {
  if (rows.length === 0) return [];
  const foreign = await foreignIds(run, clock);
  const earliestS = run.notBefore / 1_000 - clockSkewS;
  return rows.filter((row) => !foreign.has(row.schedulerId) && (row.submittedAt ?? earliestS) >= earliestS);
}

function endedBadly({ state }: SchedulerRow): boolean {
  return phaseOf[state] === "ended" && state !== "COMPLETED";
}

/** What accounting adds to the queue's row. It can be behind, and then has nothing to say of the end. */
function endOf(accounted: SchedulerRow | undefined, { state }: SchedulerRow): Partial<SchedulerRow> {
  if (accounted?.state !== state) return {};
  const { exitCode, signal, cancelledBy } = accounted;
  return {
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(cancelledBy === undefined ? {} : { cancelledBy }),
  };
}

function liveFirst(row: QueueRow): number {
  return phaseOf[row.state] === "ended" ? 1 : 0;
}
