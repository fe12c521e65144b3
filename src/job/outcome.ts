/**
 * Which evidence wins. Two kinds of witness speak about a run: the scheduler's rows (squeue, sacct) and the receipts that
 * the batch script left in the job directory. They come late, twice, contradict each other, or never. `judge` reads them
 * in one fixed order, the rules below from top to bottom; the first that applies decides. Absence from the queue and
 * failed queries decide nothing: a missing row is not an answer. Nor does time: a grace is over once somebody has looked
 * after it, so that hours in which nobody could look (the daemon was down, the scheduler did not answer) end no run.
 */
import { isOwnTimeout, type Run, type Stop } from "./job.ts";
import { duration, type ExitReceipt, type Outcome, phaseOf, type SchedulerRow, type SlurmState } from "./run.ts";

export type Tracked = Extract<Run, { stage: "tracked" }>;

/** How long each kind of evidence is waited for, in milliseconds: the operator's to set. */
export interface EvidenceWaits {
  /** From the first terminal row to the receipt (network file systems show files late). */
  readonly receiptMs: number;
  /** From the exit receipt to the seal, while the scheduler still shows the run. */
  readonly sealMs: number;
  /** Unbroken healthy answers without a run whose end we asked for. */
  readonly cancelledMs: number;
  /** The same without any other run, beyond its time limit and KillWait. */
  readonly lostAfterMs: number;
}

export interface Graces extends Omit<EvidenceWaits, "lostAfterMs"> {
  /** Slurm may run it again (`--requeue`). */
  readonly mayRequeue: boolean;
  /** A run that ends well is to be sealed by its script. */
  readonly seals: boolean;
  /** Unbroken healthy answers without the run, after which it is lost: time limit, KillWait and lost_after together. */
  readonly lostMs: number;
}

export type Verdict =
  | { readonly is: "waiting"; readonly why: string }
  | { readonly is: "ended"; readonly outcome: Outcome };

/** `stop`: its end was asked for by us, for this reason. */
export function judge(run: Tracked, graces: Graces, stop?: Stop): Verdict {
  const evidence = weigh(run, graces, stop);
  for (const rule of evidenceOrder) {
    const verdict = rule.judge(evidence);
    if (verdict) return verdict;
  }
  return { is: "waiting", why: "the scheduler has not shown it yet" };
}

interface Evidence {
  readonly run: Tracked;
  /** The scheduler's row, if it is about the run that holds the lease. */
  readonly row: SchedulerRow | undefined;
  readonly phase: "pending" | "running" | "ending" | "ended" | "unknown" | "absent";
  /** The run took its lease; an old one's does not count. */
  readonly leased: boolean;
  readonly exit?: ExitReceipt | undefined;
  /** SHA-256 of the manifest; null: there is none, and will be none. */
  readonly sealed?: string | null | undefined;
  readonly graces: Graces;
  readonly stop: Stop | undefined;
}

function weigh(run: Tracked, graces: Graces, stop: Stop | undefined): Evidence {
  const { lease, exit, done } = run.receipts ?? {};
  const foreign = lease !== undefined && run.row !== undefined && run.row.schedulerId !== lease;
  // Slurm runs it again: what the run before has left says nothing about this one.
  const old = run.startsAfter !== undefined && (run.receipts?.restart ?? 0) <= run.startsAfter;
  const row = foreign ? undefined : run.row;
  const shown = row ? phaseOf[row.state] : "unknown";
  const phase = run.absentSince !== undefined && shown !== "ended" ? "absent" : shown;
  const leased = lease !== undefined && !old;
  return { run, row, phase, leased, ...(old ? {} : { exit, sealed: done?.manifestSha256 }), graces, stop };
}

interface Rule {
  readonly name: string;
  judge(evidence: Evidence): Verdict | undefined;
}

export const evidenceOrder: readonly Rule[] = [
  {
    // What a signal meant (scancel, time limit, warning) is the scheduler's to say: the next rule waits for it.
    name: "a sealed receipt of the lease's run decides, unless a signal came",
    // Where Slurm may run it again, a seal may be of the run before.
    judge: (e) =>
      typeof e.sealed === "string" && e.exit?.signal === null && !e.graces.mayRequeue
        ? ended(byReceipt(e, e.exit))
        : undefined,
  },
  {
    name: "an exit receipt decides once the scheduler shows the run no more, or the seal's time is over",
    judge(e) {
      const { exit } = e;
      // In the queue again: where Slurm may requeue it, the receipt is of the run before.
      if (!exit || (e.phase === "pending" && e.graces.mayRequeue)) return undefined;
      const over = e.phase === "ended" ? e.run.endedSince : e.phase === "absent" ? e.run.absentSince : undefined;
      const unread = unreadAfter(e, exit);
      if (over !== undefined && unread) return waitUntil(e, over, e.graces.receiptMs, unread, () => byReceipt(e, exit));
      if (e.phase === "ended" || e.phase === "absent") return ended(byReceipt(e, exit));
      const why = "the workload has ended, Slurm is still closing the job";
      return waitUntil(e, e.run.exitSince, e.graces.sealMs, why, () => byReceipt(e, exit));
    },
  },
  {
    // It never left the queue, and so it can have left nothing anywhere.
    name: "a run that was cancelled before it had a node has ended",
    judge(e) {
      const { row, run } = e;
      if (row?.state !== "CANCELLED" || row.node !== undefined || e.leased) return undefined;
      return run.receipts?.directory ? ended(byRow(e, row)) : undefined;
    },
  },
  {
    name: "a terminal row waits for its receipt, then stands",
    judge(e) {
      if (e.phase !== "ended" || !e.row) return undefined;
      const row = e.row;
      return waitUntil(e, e.run.endedSince, e.graces.receiptMs, `Slurm says ${row.state}, no receipt yet`, () =>
        byRow(e, row),
      );
    },
  },
  {
    name: "a live row is waited for",
    judge: (e) =>
      e.row && (e.phase === "pending" || e.phase === "running" || e.phase === "ending")
        ? { is: "waiting", why: e.row.reason ? `${e.row.state} (${e.row.reason})` : e.row.state }
        : undefined,
  },
  {
    name: "a run that nobody knows is lost only after a long unbroken absence",
    judge(e) {
      if (e.phase !== "absent") return undefined;
      const graceMs = e.stop ? e.graces.cancelledMs : e.graces.lostMs;
      return waitUntil(e, e.run.absentSince, graceMs, "the scheduler does not know it, and there is no receipt", () =>
        lost(e),
      );
    },
  },
  {
    name: "an unknown word is nothing at all",
    judge: (e) => (e.row?.word ? { is: "waiting", why: `unknown Slurm state ${e.row.word}` } : undefined),
  },
];

/** What may yet come after an exit receipt, although the run is over. */
function unreadAfter(e: Evidence, exit: ExitReceipt): string | undefined {
  // The receipt of a run before it may come into sight first.
  if (e.graces.mayRequeue) return "a later run's receipt may not be seen yet";
  // The exit receipt is there minutes before the seal, and outputs that this host does not see yet would not be missed.
  if (e.graces.seals && e.sealed === undefined && exit.exit === 0 && exit.signal === null)
    return "its seal may not be seen yet";
  // Who sent the signal accounting alone knows, a while later.
  if (e.phase === "absent" && hasEndedBy(exit) && !e.stop) return "accounting may yet tell what has ended it";
  return undefined;
}

function ended(outcome: Outcome): Verdict {
  return { is: "ended", outcome };
}

function waitUntil(e: Evidence, since: number | undefined, graceMs: number, why: string, then: () => Outcome): Verdict {
  const { lookedAt } = e.run;
  const over = since !== undefined && lookedAt !== undefined && lookedAt >= since + graceMs;
  return over ? ended(then()) : { is: "waiting", why };
}

/** The receipt's word on exit code and signal, qualified by the scheduler's on why. */
function byReceipt(e: Evidence, exit: ExitReceipt): Outcome {
  const state = e.phase === "ended" ? e.row?.state : undefined;
  // A child that was killed for memory leaves its parent free to exit 0 with half of the result.
  const outOfMemory = state === "OUT_OF_MEMORY" || (exit.oomKill ?? 0) > 0;
  const told = exit.how === "exit";
  const undisturbed = told && !outOfMemory && exit.exit === 0 && (!hasEndedBy(exit) || state === "COMPLETED");
  const cancelled = !undisturbed && (state === "CANCELLED" || (e.stop !== undefined && exit.signal !== null));
  const result = undisturbed ? "succeeded" : cancelled ? endOnRequest(e) : "failed";
  const assumed = {
    succeeded: "COMPLETED",
    cancelled: "CANCELLED",
    failed: outOfMemory ? "OUT_OF_MEMORY" : cancelled ? "CANCELLED" : "FAILED",
  } as const;
  const cause = outOfMemory ? outOfMemoryCause(exit) : cancelled ? cancelledBy(e) : failureCause(exit, result, state);
  return {
    elapsed: duration((exit.end - exit.start) * 1000),
    ...common(e),
    result,
    proof: "receipt",
    state: state ?? assumed[result],
    ...(told ? { exitCode: exit.exit, signal: 0 } : {}),
    ...(typeof e.sealed === "string" ? { manifestSha256: e.sealed } : {}),
    node: exit.node,
    ...(cause === undefined ? {} : { cause }),
    ...(exit.otherImage ? { imageChanged: true } : {}),
    ...(exit.unstarted === false ? { startable: true } : {}),
    ...(exit.oomKill === 0 ? { noOomKill: true } : {}),
  };
}

function outOfMemoryCause({ oomKill, exit }: Pick<ExitReceipt, "oomKill" | "exit">): string {
  const killed = `the kernel killed ${oomKill ? `${oomKill} process(es)` : "a process"} of the job for memory`;
  return exit === 0 ? `${killed}, though its program exited 0` : killed;
}

/** Where the batch script can count no kills, accounting alone may tell of one, after the receipt has decided. */
export function unlessOutOfMemory(outcome: Outcome): Outcome {
  if (outcome.result !== "succeeded" || !outcome.used?.outOfMemory) return outcome;
  const cause = outOfMemoryCause({ oomKill: null, exit: 0 });
  return { ...outcome, result: "failed", state: "OUT_OF_MEMORY", cause };
}

function failureCause(exit: ExitReceipt, result: Outcome["result"], state?: SlurmState): string | undefined {
  if (result !== "failed") return undefined;
  // The state says why the signal came.
  if (state !== undefined && state !== "FAILED" && exit.signal !== null) return undefined;
  if (exit.how === "wrapper-killed")
    return "the shell that waited for the program left no exit code: it was killed, or the job directory was full";
  return exit.signal === null ? undefined : `ended after signal ${exit.signal}`;
}

/** Seen on 22.05: a controller that was killed comes back with a run as PENDING that goes on, ends it, and starts it anew. */
export const startedTwice = "Slurm ended the run and started it a second time, which its lease refused";

/** The scheduler's word alone: the script did not live to write its receipt, or its files can not be seen. */
function byRow(e: Evidence, row: SchedulerRow): Outcome {
  const receipts = e.run.receipts;
  const leaseMissing = !e.leased && e.run.ref.unreceipted !== true;
  const missing = !receipts?.directory ? "the job directory" : leaseMissing ? "the run's lease" : undefined;
  const base = {
    ...common(e),
    proof: row.source,
    state: row.state,
    ...(row.exitCode === undefined ? {} : { exitCode: row.exitCode }),
    ...(row.signal === undefined ? {} : { signal: row.signal }),
    ...(leaseMissing && receipts?.directory ? { unbegun: true as const } : {}),
  } as const;
  if (row.state === "CANCELLED") return { ...base, result: endOnRequest(e), cause: cancelledBy(e) };
  if (e.leased && receipts?.lost.includes(row.schedulerId)) return { ...base, result: "failed", cause: startedTwice };
  if (row.state !== "COMPLETED") return { ...base, result: "failed" };
  if (missing) return { ...base, result: "failed", cause: `Slurm says COMPLETED, but ${missing} is missing` };
  return { ...base, result: "succeeded" };
}

/** USR1 warns of the time limit (`--signal=B:USR1@300`), and the script passes it on to nobody. */
function hasEndedBy({ signal }: ExitReceipt): boolean {
  return signal !== null && signal !== "USR1";
}

function lost(e: Evidence): Outcome {
  if (e.stop) return { ...common(e), result: endOnRequest(e), proof: "none", state: "CANCELLED", cause: e.stop.detail };
  const cause = e.leased
    ? "the run started and vanished without a receipt"
    : "the scheduler has forgotten the run, and it never started";
  return { ...common(e), result: "failed", proof: "none", state: "LOST", cause };
}

/** A time-out of ours fails the job; whoever else had it ended cancelled it. */
function endOnRequest({ stop }: Evidence): "failed" | "cancelled" {
  return stop && isOwnTimeout(stop.by) ? "failed" : "cancelled";
}

function cancelledBy(e: Evidence): string {
  if (e.stop) return e.stop.detail;
  return e.row?.cancelledBy === undefined
    ? "cancelled with scancel"
    : `cancelled with scancel by uid ${e.row.cancelledBy}`;
}

function common(e: Evidence): Pick<Outcome, "reason" | "node" | "elapsed" | "outputDir"> {
  const node = e.row?.node;
  // While a run lives, its row tells why it waited and how long it had been going: nothing about its end.
  const { reason, elapsed } = (e.phase === "ended" ? e.row : undefined) ?? {};
  return {
    ...(reason === undefined || reason === "None" ? {} : { reason }),
    ...(node === undefined ? {} : { node }),
    ...(elapsed === undefined ? {} : { elapsed }),
    outputDir: outputDirectory(e.run.ref.attempt, e.run.receipts?.restart ?? 0),
  };
}

/** The first run's outputs are in `output/`; later runs have their own, so that a stray can not spoil them. */
export function outputDirectory(attempt: string, restart: number): string {
  return attempt === "a1" && restart === 0 ? "output" : `output.${attempt}.${restart}`;
}
