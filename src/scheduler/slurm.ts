/**
 * Slurm by its commands. A row counts as a run's by name, user and id together: ids are handed out twice after a
 * controller's crash, and fresh rows of sacct carry other names and users for up to 90 s. Whoever asks at the same time
 * shares one squeue and one sacct.
 */
import type { Clock } from "../clock.ts";
import { type JobId, phaseOf, type RunRef, type SchedulerRow, type StatesAnswer } from "../job/run.ts";
import { createEndDetails, type EndDetails } from "./end-details.ts";
import { type Leases, leasesOnDisk } from "./lease.ts";
import type { FindAnswer, Scheduler } from "./scheduler.ts";
import { sharedQuery, type Unavailable } from "./shared-query.ts";
import {
  type CommandOptions,
  createCommands,
  killAfterS,
  type RowsAnswer,
  type SlurmCommands,
} from "./slurm-commands.ts";
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
  return slurmOver({ clock, commands, leases: leasesOnDisk(clock), user, limits });
}

export interface SlurmParts {
  readonly clock: Clock;
  readonly commands: SlurmCommands;
  readonly leases: Leases;
  readonly user: string;
  readonly limits?: Partial<SlurmLimits>;
}

/** Slurm over whatever runs its commands and holds the job directories: the simulation hands in its own. */
export function slurmOver({ clock, commands, leases, user, limits: given }: SlurmParts): Scheduler {
  const limits = { ...usualLimits, ...given };
  const site = {
    leases,
    queue: sharedQuery(clock, async (_, signal) => oursIn(await commands.queue(signal), user)),
    accounting: sharedQuery(clock, async (runs, signal) => oursIn(await commands.accounting(runs, signal), user)),
    ends: createEndDetails(clock),
  };
  const used = sharedQuery(clock, (runs, signal) => commands.usage(runs, signal));
  const delayMs = limits.submitMs + killAfterS * 1_000 + limits.messageMs + limits.accountingLagMs;
  return {
    fenceMs: Math.max(shortestFenceMs, delayMs),
    async submit(run, profile, signal) {
      const cause = unwritableLogs(run.dir);
      return cause === undefined ? commands.submit(run, profile, signal) : { is: "refused", cause };
    },
    find: (run, signal) => find(site, run, signal),
    states: (runs, signal) => states(site, runs, signal),
    async usage(run, signal) {
      const answer = await used([run], signal);
      if (answer.is === "unavailable") return { is: "nothing" };
      const usage = answer.used.get(run.schedulerId ?? "");
      return usage === undefined ? { is: "pending" } : { is: "known", usage };
    },
    cancel: (run, signal, ids) => commands.cancel(run.name, ids, signal),
  };
}

interface Site {
  readonly leases: Leases;
  readonly queue: Ask;
  readonly accounting: Ask;
  readonly ends: EndDetails;
}

type Ask = (runs: readonly RunRef[], signal: AbortSignal) => Promise<Ours | Unavailable>;

/** Our user's rows under our names, by name. */
interface Ours {
  readonly is: "answered";
  readonly rows: ReadonlyMap<string, readonly QueueRow[]>;
  readonly slowDown?: string;
}

/** No row is ours that is a task of an array or a part of a heterogeneous job: neither is ever submitted here. */
function oursIn(answer: RowsAnswer, user: string): Ours | Unavailable {
  if (answer.is === "unavailable") return answer;
  const ours = answer.rows.filter((row) => row.user === user && /^\d+$/.test(row.schedulerId));
  const { slowDown } = answer;
  const rows = Map.groupBy(ours, ({ name }) => name);
  return { is: "answered", rows, ...(slowDown === undefined ? {} : { slowDown }) };
}

async function find(site: Site, run: RunRef, signal: AbortSignal): Promise<FindAnswer> {
  const holder = await site.leases.holderOf(run);
  if (holder !== undefined) return { is: "found", schedulerId: holder };
  const { schedulerId: _, ...byName } = run;
  for (const ask of [site.queue, site.accounting]) {
    const answer = await ask([byName], signal);
    if (answer.is === "unavailable") return ask === site.queue ? answer : { ...answer, queueAnswers: true };
    const row = await rowOf(site, byName, answer);
    if (row) return { is: "found", schedulerId: row.schedulerId };
  }
  return { is: "absent" };
}

/**
 * Where squeue answers and sacct fails, the runs that only sacct could know are left out: nothing is known of them. Of
 * an end that was none of the program's own sacct alone tells exit code, signal and who cancelled it.
 */
async function states(site: Site, runs: readonly RunRef[], signal: AbortSignal): Promise<StatesAnswer> {
  const { ends } = site;
  ends.forgetOthers(runs);
  if (runs.length === 0) return { is: "answered", rows: new Map() };
  const queued = await site.queue([], signal);
  if (queued.is === "unavailable") return queued;
  const inQueue = await rowsOf(site, runs, queued);
  const left = runs.filter((run) => {
    const row = inQueue.get(run.jobId);
    return row === undefined || ends.areWanted(run, row);
  });
  const accounted = left.length === 0 ? undefined : await site.accounting(left, signal);
  const inAccounting = accounted?.is === "answered" ? await rowsOf(site, left, accounted) : undefined;

  const rows = new Map<JobId, SchedulerRow | null>();
  for (const run of runs) {
    const [queuedRow, accountedRow] = [inQueue.get(run.jobId), inAccounting?.get(run.jobId)];
    if (queuedRow) rows.set(run.jobId, ends.added(run, queuedRow, accountedRow));
    else if (inAccounting) rows.set(run.jobId, accountedRow ?? null);
  }
  const { slowDown } = queued;
  return { is: "answered", rows, live: liveOf(queued), ...(slowDown === undefined ? {} : { slowDown }) };
}

async function rowsOf(site: Site, runs: readonly RunRef[], ours: Ours): Promise<Map<JobId, SchedulerRow>> {
  const rows = new Map<JobId, SchedulerRow>();
  for (const run of runs) {
    const row = await rowOf(site, run, ours);
    if (row) rows.set(run.jobId, row);
  }
  return rows;
}

/** The run's row. While its id is not known: a live one before an ended one, the newest first. */
async function rowOf({ leases }: Site, run: RunRef, { rows }: Ours): Promise<SchedulerRow | undefined> {
  const named = rows.get(run.name) ?? [];
  if (run.schedulerId !== undefined) return plain(named.find((row) => row.schedulerId === run.schedulerId));
  const candidates = await eligible(run, named, leases);
  return plain(
    candidates.sort((a, b) => liveFirst(a) - liveFirst(b) || Number(b.schedulerId) - Number(a.schedulerId))[0],
  );
}

/** Submitted since the intent, and nobody else's. A requeue makes the time of submission later, never earlier. */
async function eligible(run: RunRef, rows: readonly QueueRow[], leases: Leases): Promise<QueueRow[]> {
  if (rows.length === 0) return [];
  const foreign = await leases.foreignIds(run);
  const earliestS = run.notBefore / 1_000 - clockSkewS;
  // One that is still there is the job's whatever a clock said when the script was written: it may have been hours ahead.
  const isOurs = (row: QueueRow) => phaseOf[row.state] !== "ended" || (row.submittedAt ?? earliestS) >= earliestS;
  return rows.filter((row) => !foreign.has(row.schedulerId) && isOurs(row));
}

function liveOf({ rows }: Ours): Map<string, SchedulerRow[]> {
  const live = new Map<string, SchedulerRow[]>();
  for (const [name, named] of rows) {
    const going = named.filter(({ state }) => phaseOf[state] === "pending" || phaseOf[state] === "running");
    if (going.length > 0)
      live.set(
        name,
        going.flatMap((row) => plain(row) ?? []),
      );
  }
  return live;
}

function plain(row: QueueRow | undefined): SchedulerRow | undefined {
  if (row === undefined) return undefined;
  const { user: _, ...rest } = row;
  return rest;
}

function liveFirst(row: QueueRow): number {
  return phaseOf[row.state] === "ended" ? 1 : 0;
}
