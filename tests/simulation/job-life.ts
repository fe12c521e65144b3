/**
 * What becomes of our jobs on the nodes of a simulated Slurm: started, ended in one way or another, requeued. What the
 * controller knows of it is the controller's business.
 */
import type { Clock } from "../../src/clock.ts";
import type { SlurmState } from "../../src/job/run.ts";
import { BatchScript, type NodeView } from "./batch-script.ts";
import { type Cause, type Chronicle, short } from "./chronicle.ts";
import type { Ended, SlurmJob } from "./slurm-job.ts";
import type { Fate, Weather } from "./weather.ts";

export interface Controller {
  /** It is there, and knows its jobs. */
  readonly isServing: boolean;
  readonly isQuiet: boolean;
  /** The job is in this state from now on, and accounting is told. */
  set(job: SlurmJob, state: SlurmState, facts?: { readonly node?: string }): void;
  /** The job is over, once the controller has closed it. */
  close(job: SlurmJob, state: SlurmState, ended: Ended): void;
  /** Unless something else has become of the job by then. */
  after(job: SlurmJob, ms: number, act: () => void): void;
}

export interface JobLifeParts {
  readonly clock: Clock;
  readonly nodes: NodeView;
  readonly weather: Weather;
  readonly chronicle: Chronicle;
}

const timeLimitMs = 10 * 60_000;
const retryMs = 5_000;
const killedWithinMs = 5_000;
const stragglerMs = 2 * 60_000;
const mostRestarts = 2;
const byController: ReadonlySet<Fate> = new Set<Fate>(["time limit", "scancel", "preempted", "requeue"]);

export class JobLife {
  readonly #parts: JobLifeParts;
  readonly #controller: Controller;

  constructor(parts: JobLifeParts, controller: Controller) {
    this.#parts = parts;
    this.#controller = controller;
  }

  queue(job: SlurmJob, leastMs = 0): void {
    this.#controller.after(job, leastMs + this.#upTo(this.#parts.weather.queueMs), () => this.#launch(job));
  }

  cancel(job: SlurmJob, uid: number): void {
    if (job.state !== "PENDING" && job.state !== "RUNNING") return;
    this.#parts.chronicle.say(`Slurm job ${job.id} is cancelled by ${uid}`);
    job.cancelledBy = uid;
    job.turn += 1;
    if (job.state === "RUNNING") this.#terminate(job, "CANCELLED");
    else this.#controller.close(job, "CANCELLED", { exit: 0 });
  }

  #launch(job: SlurmJob): void {
    const { clock, nodes, chronicle } = this.#parts;
    const { run } = job;
    if (!run) return;
    if (!this.#controller.isServing) {
      this.#controller.after(job, retryMs, () => this.#launch(job));
      return;
    }
    const node = `n${1 + Math.floor(clock.random() * 3)}`;
    this.#controller.set(job, "RUNNING", { node });
    const facts = { jobId: run.jobId, attempt: run.attempt, id: job.id, restart: job.restart };
    const script = new BatchScript({ ...facts, dir: run.dir, node }, nodes, () => Math.floor(clock.wall() / 1_000));
    const refused = script.begin();
    if (refused !== undefined) {
      this.#controller.close(job, "FAILED", { exit: refused });
      return;
    }
    job.script = script;
    job.start = { ...facts, result: `result of ${run.jobId} by ${job.id}.${job.restart}\n` };
    chronicle.started(job.start);
    const fate = this.#fate(job);
    const ranMs = fate === "time limit" ? timeLimitMs : this.#upTo(this.#parts.weather.runMs);
    this.#controller.after(job, ranMs, () => this.#meet(job, fate));
  }

  #fate(job: SlurmJob): Fate {
    if (job.restart >= mostRestarts || this.#controller.isQuiet) return "well";
    for (const [fate, share] of this.#parts.weather.fates) if (this.#chance(share)) return fate;
    return "well";
  }

  #meet(job: SlurmJob, drawn: Fate): void {
    const fate = byController.has(drawn) && !this.#controller.isServing ? "well" : drawn;
    const canRequeue = this.#canRequeue(job);
    const ends = !canRequeue || (fate !== "node failure" && fate !== "preempted");
    if (fate !== "well" && fate !== "requeue" && ends) this.#cause(job, fate);
    if (fate === "well") this.#exit(job, "COMPLETED", 0);
    else if (fate === "exit code") this.#exit(job, "FAILED", 3);
    else if (fate === "out of memory") this.#exit(job, "OUT_OF_MEMORY", 0, 1);
    else if (fate === "time limit") this.#terminate(job, "TIMEOUT");
    else if (fate === "scancel") this.cancel(job, 0);
    else if (fate === "node failure") this.#vanish(job, canRequeue);
    else if (canRequeue) this.#interrupt(job);
    else {
      this.#cause(job, "preempted");
      this.#terminate(job, "PREEMPTED");
    }
  }

  #vanish(job: SlurmJob, canRequeue: boolean): void {
    this.#parts.chronicle.say(`node ${job.node} of Slurm job ${job.id} fails`);
    this.#over(job, "badly");
    if (canRequeue) this.#requeue(job);
    else this.#controller.close(job, "NODE_FAIL", { exit: 1 });
  }

  /** A requeue by somebody, or for a job that goes before. It may also meet one whose workload has just ended. */
  #interrupt(job: SlurmJob): void {
    this.#parts.chronicle.say(`Slurm job ${job.id} is requeued`);
    if (this.#chance(0.3)) {
      this.#finish(job, 0, 0);
      if (this.#chance(0.5)) job.script?.seal();
    } else if (this.#chance(0.7)) {
      job.script?.signal("TERM");
      this.#finish(job, 143, 0);
    } else this.#over(job, "badly");
    this.#requeue(job);
  }

  #requeue(job: SlurmJob): void {
    if (job.start?.ended === "well") job.start.ended = "requeued";
    job.restart += 1;
    job.turn += 1;
    delete job.node;
    job.submittedAt = this.#parts.clock.wall();
    this.#controller.set(job, "PENDING");
    this.queue(job, 1_000);
  }

  /**
   * The workload has ended, and its script hashes what it has left; Slurm shows the run meanwhile, and whoever ends it then
   * takes nothing from its result.
   */
  #seal(job: SlurmJob, sealed: () => void): void {
    const { unsealed, endedInSeal, straggler, sealMs } = this.#parts.weather;
    if (!job.script?.mayBeSealed) return void sealed();
    if (this.#mayFail(unsealed)) {
      // Scripts of before say nothing of it.
      if (this.#chance(0.5)) job.script.giveUpSeal();
      return void sealed();
    }
    this.#controller.after(job, this.#upTo(sealMs), () => {
      if (this.#mayFail(endedInSeal)) return void this.#breakSeal(job);
      job.script?.seal();
      this.#parts.chronicle.say(`Slurm job ${job.id} is sealed`);
      if (this.#mayFail(straggler)) this.#straggle(job);
      sealed();
    });
  }

  #breakSeal(job: SlurmJob): void {
    this.#parts.chronicle.say(`Slurm job ${job.id} is ended before it is sealed`);
    const state = this.#controller.isServing && this.#chance(0.6) ? "TIMEOUT" : "NODE_FAIL";
    if (state === "NODE_FAIL" && this.#canRequeue(job)) this.#requeue(job);
    else this.#controller.close(job, state, { exit: 0 });
  }

  #straggle({ script, start }: SlurmJob): void {
    const { clock, chronicle } = this.#parts;
    clock.timer(this.#upTo(stragglerMs), () => {
      if (start && script?.straggle()) chronicle.cause(start.jobId, "changed after its end");
    });
  }

  /** TERM, and for some KILL before the script has written its receipt. */
  #terminate(job: SlurmJob, state: SlurmState): void {
    if (job.script?.hasEnded) return void this.#controller.close(job, state, { exit: 0 });
    job.script?.signal("TERM");
    this.#controller.set(job, "COMPLETING");
    const dies = this.#chance(0.3);
    this.#controller.after(job, this.#upTo(killedWithinMs), () => {
      if (dies) this.#over(job, "badly");
      else this.#finish(job, 143, 0);
      this.#controller.close(job, state, dies ? { exit: 0, signal: 9 } : { exit: 143 });
    });
  }

  #exit(job: SlurmJob, state: SlurmState, exit: number, oomKills = 0): void {
    this.#finish(job, exit, oomKills);
    this.#seal(job, () => this.#controller.close(job, state, { exit }));
  }

  #finish(job: SlurmJob, exit: number, oomKills: number): void {
    const well = exit === 0 && oomKills === 0;
    job.script?.leave(well ? (job.start?.result ?? "") : "half of a result\n");
    job.script?.end(exit, oomKills);
    this.#over(job, well ? "well" : "badly");
  }

  #over({ start, id }: SlurmJob, how: "well" | "badly"): void {
    if (!start) return;
    start.ended = how;
    this.#parts.chronicle.say(`${short(start.jobId)} ends ${how} in Slurm job ${id}`);
  }

  #canRequeue(job: SlurmJob): boolean {
    return job.requeues && !job.unknown && this.#controller.isServing;
  }

  #cause({ run }: SlurmJob, cause: Cause): void {
    if (run) this.#parts.chronicle.cause(run.jobId, cause);
  }

  #mayFail(share: number): boolean {
    return !this.#controller.isQuiet && this.#chance(share);
  }

  #chance(share: number): boolean {
    return this.#parts.clock.random() < share;
  }

  #upTo(ms: number): number {
    return this.#parts.clock.random() * ms;
  }
}
