/**
 * The controller of a simulated Slurm, which several daemons and other people share: it takes jobs, hands out ids, purges
 * what has ended, goes down, forgets what it was told in the last seconds before a crash and hands the same ids out again,
 * or comes up on an empty state. Accounting is told of all that it knows.
 */
import type { Clock } from "../../src/clock.ts";
import { phaseOf, type RunRef, type SlurmState } from "../../src/job/run.ts";
import { type Chronicle, short } from "./chronicle.ts";
import { type Controller, JobLife, type JobLifeParts } from "./job-life.ts";
import { type Ended, ourUser, type SlurmJob } from "./slurm-job.ts";
import { isWithin, type Weather } from "./weather.ts";

const savedWithinMs = 5_000;
const rebootMs = 5_000;

export class SlurmSite implements Controller {
  readonly jobs: SlurmJob[] = [];
  readonly #clock: Clock;
  readonly #weather: Weather;
  readonly #chronicle: Chronicle;
  readonly #life: JobLife;
  #nextId = 1_000;
  #downUntil = 0;

  constructor(parts: JobLifeParts) {
    this.#clock = parts.clock;
    this.#weather = parts.weather;
    this.#chronicle = parts.chronicle;
    this.#life = new JobLife(parts, this);
    const { controllerDown, amnesia } = this.#weather;
    for (const { from } of controllerDown)
      this.#clock.timer(from, () => (this.#chance(0.5) ? this.crash() : this.#chronicle.say("slurmctld stops")));
    for (const { from } of amnesia) this.#clock.timer(from, () => this.#beginAmnesia());
  }

  get isUp(): boolean {
    const now = this.#clock.mono();
    return now >= this.#downUntil && !isWithin(this.#weather.controllerDown, now);
  }

  /** It is there, and knows its jobs. */
  get isServing(): boolean {
    return this.isUp && !isWithin(this.#weather.amnesia, this.#clock.mono());
  }

  get isQuiet(): boolean {
    return this.#clock.mono() >= this.#weather.quietAt;
  }

  /** What it knows now. */
  get known(): readonly SlurmJob[] {
    return this.isServing ? this.jobs.filter(({ unknown }) => !unknown) : [];
  }

  submit(run: RunRef, requeues: boolean): SlurmJob {
    const job = this.#add(run.name, ourUser, { run, requeues });
    this.#chronicle.say(`sbatch ${short(run.jobId)} ${run.attempt} is Slurm job ${job.id}`);
    this.#life.queue(job);
    if (!this.isQuiet && this.#chance(this.#weather.crashAfterSubmit))
      this.#clock.timer(this.#upTo(savedWithinMs), () => this.crash());
    return job;
  }

  cancel(isMeant: (job: SlurmJob) => boolean, uid: number): void {
    for (const job of this.known) if (isMeant(job)) this.#life.cancel(job, uid);
  }

  /** kill -9: what was not saved yet is forgotten, running or not, and its ids are free again. */
  crash(): void {
    const since = this.#clock.wall() - savedWithinMs;
    const lost = this.jobs.filter((job) => job.submittedAt > since && job.restart === 0 && !job.unknown);
    this.#downUntil = this.#clock.mono() + rebootMs;
    this.#chronicle.say(`slurmctld is killed, and forgets ${lost.map(({ id }) => id).join(" ") || "nothing"}`);
    for (const job of lost) this.#forget(job);
    if (lost.length === 0 || this.#chance(0.4)) return;
    const [name, user] = this.#chance(0.5) ? (["interactive", ourUser] as const) : (["theirs", "other"] as const);
    this.#clock.timer(rebootMs, () => this.#stranger(name, user));
  }

  /** Something of ours waits or runs, known or not. */
  isLive(job: SlurmJob): boolean {
    if (job.run === undefined) return false;
    return job.unknown ? job.state === "RUNNING" : phaseOf[job.state] !== "ended";
  }

  set(job: SlurmJob, state: SlurmState, facts: Ended & { readonly node?: string } = {}): void {
    Object.assign(job, { state, ...facts });
    this.#tell(job);
    this.#chronicle.say(`Slurm job ${job.id} is ${state}${job.unknown ? " (nobody knows)" : ""}`);
  }

  close(job: SlurmJob, state: SlurmState, ended: Ended): void {
    job.turn += 1;
    this.set(job, "COMPLETING");
    const over = () => {
      if (!this.isServing) return void this.after(job, rebootMs, over);
      this.set(job, state, ended);
      this.after(job, this.#weather.minJobAgeMs, () => {
        job.unknown = true;
      });
    };
    this.after(job, this.#upTo(this.#weather.completingMs), over);
  }

  after(job: SlurmJob, ms: number, act: () => void): void {
    const { turn } = job;
    this.#clock.timer(ms, () => {
      if (job.turn === turn) act();
    });
  }

  /** Accounting keeps for ever what it was told, or was not told of it yet. */
  #forget(job: SlurmJob): void {
    this.#nextId = Math.min(this.#nextId, Number(job.id));
    job.unknown = true;
    job.isForgotten = true;
    if (this.#chance(0.7)) job.told.length = 0;
    if (job.state !== "PENDING") return;
    job.turn += 1;
    if (job.run) this.#chronicle.cause(job.run.jobId, "forgotten before it started");
  }

  #beginAmnesia(): void {
    this.#chronicle.say("slurmctld starts on an empty state");
    for (const job of this.jobs.filter(({ unknown }) => !unknown)) {
      job.isForgotten = true;
      if (job.run && job.state === "PENDING") this.#chronicle.cause(job.run.jobId, "forgotten before it started");
    }
  }

  #add(name: string, user: string, more: Pick<SlurmJob, "requeues"> & { run?: RunRef }): SlurmJob {
    const lagMs = this.#upTo(this.#weather.accountingLagMs);
    const job: SlurmJob = {
      ...{ id: String(this.#nextId), name, user, ...more, lagMs, submittedAt: this.#clock.wall(), told: [] },
      ...{ restart: 0, state: "PENDING", unknown: false, isForgotten: false, turn: 0 },
    };
    this.#nextId += 1;
    this.jobs.push(job);
    this.#tell(job);
    return job;
  }

  /** Somebody else's job; it ends as it likes. */
  #stranger(name: string, user: string): void {
    const job = this.#add(name, user, { requeues: false });
    this.#chronicle.say(`Slurm job ${job.id} is ${name} of ${user}`);
    const ends = ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"] as const;
    const end = ends[Math.floor(this.#clock.random() * ends.length)] ?? "FAILED";
    this.after(job, this.#upTo(20_000), () => this.set(job, "RUNNING", { node: "n9" }));
    this.after(job, 20_000 + this.#upTo(60_000), () => this.close(job, end, { exit: 0 }));
  }

  #tell(job: SlurmJob): void {
    if (job.unknown) return;
    const { id, name, user, state, submittedAt, ...rest } = job;
    const { node, exit, signal, cancelledBy } = rest;
    const more = Object.entries({ node, exit, signal, cancelledBy }).filter(([, value]) => value !== undefined);
    job.told.push({ at: this.#clock.mono(), job: { id, name, user, state, submittedAt, ...Object.fromEntries(more) } });
  }

  #chance(share: number): boolean {
    return this.#clock.random() < share;
  }

  #upTo(ms: number): number {
    return this.#clock.random() * ms;
  }
}
