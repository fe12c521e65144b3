/**
 * Walks jobs through a scheduler's states without starting anything. Each cycle moves every run one step on, from PENDING
 * (as submitted) to RUNNING to COMPLETED, with the lease, receipts and a made-up output that a real run would leave. All of
 * it lies in the job directory, so that the next process goes on where this one ended.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { outputDirectory } from "../job/outcome.ts";
import type { RunRef, SchedulerRow } from "../job/run.ts";
import { leaseOf } from "./lease.ts";
import type { Scheduler } from "./scheduler.ts";

type Step = "PENDING" | "RUNNING" | "COMPLETED" | "CANCELLED";

const next: Readonly<Record<Step, Step>> = {
  PENDING: "RUNNING",
  RUNNING: "COMPLETED",
  COMPLETED: "COMPLETED",
  CANCELLED: "CANCELLED",
};

export function createSimulate({ clock }: { readonly clock: Clock }): Scheduler {
  return {
    fenceMs: 0,

    async submit(run) {
      if (stepOf(run) === undefined) record(run, "PENDING");
      return { is: "submitted", schedulerId: idOf(run) };
    },

    async find(run) {
      return stepOf(run) === undefined ? { is: "absent" } : { is: "found", schedulerId: idOf(run) };
    },

    async states(runs) {
      return { is: "answered", rows: await advanceAll(runs, clock) };
    },

    async cancel(run) {
      const step = stepOf(run);
      if (step === "PENDING" || step === "RUNNING") record(run, "CANCELLED");
      return { is: "asked" };
    },
  };
}

async function advanceAll(runs: readonly RunRef[], clock: Clock): Promise<Map<string, SchedulerRow | null>> {
  const rows = new Map<string, SchedulerRow | null>();
  for (const run of runs) rows.set(run.jobId, await advance(run, clock));
  return rows;
}

async function advance(run: RunRef, clock: Clock): Promise<SchedulerRow | null> {
  const before = stepOf(run);
  if (before === undefined) return null;
  const step = next[before];
  if (step !== before) {
    const nowS = Math.floor(clock.wall() / 1_000);
    if (step === "RUNNING" && (await leaseOf(run, clock)) === undefined) take(run);
    if (step === "RUNNING") writeReceipt(run, "start", { pid: 0, start: nowS });
    if (step === "COMPLETED") finish(run, nowS);
    record(run, step);
  }
  return { source: "squeue", schedulerId: idOf(run), name: run.name, state: step, reason: "SIMULATED" };
}

function take(run: RunRef): void {
  symlinkSync(idOf(run), control(run, `lease.${run.attempt}`));
}

/** What the workload and, after it, `job.sh` write. */
function finish(run: RunRef, nowS: number): void {
  const elsewhere = control(run, "output-base");
  const base = existsSync(elsewhere) ? readFileSync(elsewhere, "utf8").trimEnd() : run.dir;
  const output = join(base, outputDirectory(run.attempt, 0));
  mkdirSync(output, { recursive: true });
  const line = `SIMULATED: no program ran for job ${run.jobId}\n`;
  writeWhole(join(output, "SIMULATED.txt"), line);
  writeWhole(control(run, `slurm-${idOf(run)}.out`), line);
  const end = { how: "exit", exit: 0, signal: null, signal_at: 0, oom_kill: null };
  writeReceipt(run, "exit", { start: nowS, end: nowS, ...end });
}

function writeReceipt(run: RunRef, kind: "start" | "exit", rest: object): void {
  const head = { v: 1, attempt: run.attempt, job: idOf(run), restart: 0, node: "simulated" };
  writeWhole(control(run, `${kind}.${run.attempt}.0`), `${JSON.stringify({ ...head, ...rest })}\n`);
}

function stepOf(run: RunRef): Step | undefined {
  const path = control(run, `simulated.${run.attempt}`);
  if (!existsSync(path)) return undefined;
  const word = readFileSync(path, "utf8").trim();
  return Object.keys(next).find((step): step is Step => step === word);
}

function record(run: RunRef, step: Step): void {
  writeWhole(control(run, `simulated.${run.attempt}`), `${step}\n`);
}

function idOf(run: RunRef): string {
  return `simulated-${run.attempt}`;
}

function control(run: RunRef, name: string): string {
  return join(run.dir, ".emx2", name);
}

function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.part`, text);
  renameSync(`${path}.part`, path);
}
