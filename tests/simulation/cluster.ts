/**
 * A simulated Slurm over virtual time and job directories in memory. It plays the batch script too: lease, receipts,
 * outputs, and a ledger with one line for each workload that ever started. What goes wrong is drawn from the clock's chance.
 */
import type { Clock } from "../../src/clock.ts";
import { type RunRef, runName, type SchedulerRow, type SlurmState } from "../../src/job/run.ts";
import type { Scheduler } from "../../src/scheduler/scheduler.ts";
import type { MemoryFiles } from "./memory-files.ts";

export interface Faults {
  /** Chances in [0, 1] that sbatch's answer is lost, and that the job was submitted all the same. */
  readonly lostSubmit: number;
  readonly lostSubmitArrives: number;
  /** A query fails. */
  readonly unavailable: number;
}

export interface SimulatedJob {
  readonly id: string;
  readonly run: RunRef;
  state: SlurmState;
  cancelled: boolean;
}

const waitMs = { least: 500, most: 20_000 } as const;
const runMs = { least: 1_000, most: 60_000 } as const;
const answerMs = 30;

export interface SimulatedCluster extends Scheduler {
  readonly jobs: readonly SimulatedJob[];
  /** Job ids, one line for each start of a workload. */
  readonly ledger: readonly string[];
  /** Queries of the queue. */
  readonly queries: number;
}

export function createCluster(clock: Clock, files: MemoryFiles, faults: Faults): SimulatedCluster {
  const jobs: SimulatedJob[] = [];
  const ledger: string[] = [];
  let queries = 0;
  const chance = (share: number) => clock.random() < share;
  const between = ({ least, most }: { least: number; most: number }) => least + clock.random() * (most - least);

  function accept(run: RunRef): SimulatedJob {
    const job: SimulatedJob = { id: String(1_000 + jobs.length), run, state: "PENDING", cancelled: false };
    jobs.push(job);
    clock.timer(between(waitMs), () => start(job));
    return job;
  }

  /** What job.sh does until the workload runs. */
  function start(job: SimulatedJob): void {
    if (job.cancelled) return;
    const { dir, attempt } = job.run;
    const holder = files.linkAt(dir, `.emx2/lease.${attempt}`);
    if (holder !== undefined) {
      const lost = { v: 1, attempt, job: job.id, restart: 0, node: "sim", holder, at: seconds() };
      files.put(dir, `.emx2/lost.${attempt}.${job.id}.0`, JSON.stringify(lost));
      job.state = "FAILED";
      return;
    }
    files.symlink(dir, `.emx2/lease.${attempt}`, job.id);
    files.symlink(dir, `.emx2/lease.${attempt}.0`, `${job.id}.0.sim.1`);
    files.put(dir, `.emx2/start.${attempt}.0`, JSON.stringify({ ...head(job), pid: 1, start: seconds() }));
    job.state = "RUNNING";
    ledger.push(job.run.jobId);
    clock.timer(between(runMs), () => end(job));
  }

  function end(job: SimulatedJob): void {
    if (job.cancelled) return;
    const { dir } = job.run;
    files.put(dir, "output/result.txt", `result of ${job.run.jobId}\n`);
    files.put(dir, `.emx2/slurm-${job.id}.out`, "done\n");
    files.put(dir, `.emx2/slurm-${job.id}.err`, "");
    finish(job, 0, null);
    job.state = "COMPLETED";
  }

  function finish(job: SimulatedJob, exit: number, signal: string | null): void {
    const receipt = {
      ...head(job),
      start: seconds(),
      end: seconds(),
      how: "exit",
      exit,
      signal,
      signal_at: 0,
      oom_kill: 0,
    };
    files.put(job.run.dir, `.emx2/exit.${job.run.attempt}.0`, JSON.stringify(receipt));
  }

  const seconds = () => Math.floor(clock.wall() / 1000);
  const head = (job: SimulatedJob) => ({ v: 1, attempt: job.run.attempt, job: job.id, restart: 0, node: "sim" });
  const rowOf = ({ id, run, state }: SimulatedJob): SchedulerRow => ({
    source: "squeue",
    schedulerId: id,
    name: run.name,
    state,
    node: "sim",
  });

  return {
    jobs,
    ledger,
    fenceMs: 120_000,
    get queries() {
      return queries;
    },
    async submit(run, _profile, signal) {
      const lost = chance(faults.lostSubmit);
      const job = !lost || chance(faults.lostSubmitArrives) ? accept(run) : undefined;
      await clock.sleep(answerMs, signal);
      return lost || !job
        ? { is: "doubt", cause: "simulated: sbatch's answer was lost" }
        : { is: "submitted", schedulerId: job.id };
    },
    async find(run, signal) {
      await clock.sleep(answerMs, signal);
      if (chance(faults.unavailable)) return { is: "unavailable", cause: "simulated: no answer" };
      const holder = files.linkAt(run.dir, `.emx2/lease.${run.attempt}`);
      const found = holder ?? jobs.find((job) => job.run.name === runName(run.jobId))?.id;
      return found === undefined ? { is: "absent" } : { is: "found", schedulerId: found };
    },
    async states(runs, signal) {
      queries += 1;
      await clock.sleep(answerMs, signal);
      if (chance(faults.unavailable)) return { is: "unavailable", cause: "simulated: no answer" };
      const rows = new Map(
        runs.map((run) => {
          const job =
            jobs.find(({ id }) => id === run.schedulerId) ?? jobs.find((other) => other.run.name === run.name);
          return [run.jobId, job ? rowOf(job) : null] as const;
        }),
      );
      return { is: "answered", rows };
    },
    async cancel(run, signal) {
      await clock.sleep(answerMs, signal);
      for (const job of jobs) {
        if (job.run.name !== run.name || (job.state !== "PENDING" && job.state !== "RUNNING")) continue;
        if (job.state === "RUNNING") finish(job, 143, "TERM");
        job.cancelled = true;
        job.state = "CANCELLED";
      }
      return { is: "asked" };
    },
  };
}
