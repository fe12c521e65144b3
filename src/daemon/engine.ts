/**
 * The engine: the only mutator. For each event one journal transaction, then `decide`, then a start of whatever the pools
 * have room for. It holds no knowledge of what effects do (`effects.ts`) nor of when to do them (`job/decide.ts`); it
 * keeps one effect per job and lane, writes intents down before they start, and turns every end into an event.
 */
import type { Clock } from "../clock.ts";
import { StorageError } from "../errors.ts";
import { type Decision, decide, type Held, isKeptForEver, type Policy } from "../job/decide.ts";
import { type Effect, type JobEvent, laneOf } from "../job/effect.ts";
import { fold } from "../job/fold.ts";
import type { Job, Lane } from "../job/job.ts";
import type { BackendName } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import type { Durability, Journal, Recorded } from "../journal/journal.ts";
import type { Outlook } from "../journal/overview.ts";
import type { Log } from "../log.ts";
import { Alarms } from "./alarms.ts";
import type { Ending, Performer } from "./effects.ts";
import { Flights } from "./flights.ts";
import type { Pool, PoolName } from "./pools.ts";

export interface EngineParts {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly log: Log;
  policyOf(job: Job): Policy;
  isServerDown(): boolean;
  /** Set while the job's profile is held. */
  heldOf(job: Job): Held | undefined;
  readonly pools: Readonly<Record<PoolName, Pool>>;
  readonly perform: Performer;
  /** Something that no effect can answer for: the journal can not be written, or a bug of ours. The daemon has to end. */
  onFault(error: unknown): void;
  /** Called after every change, for the snapshot and for live views. `before` is undefined for a new job. */
  readonly onChange?: (job: Job, before: Job | undefined, event: JobEvent) => void;
}

export class Engine {
  readonly #parts: EngineParts;
  readonly #jobs = new Map<JobId, Job>();
  readonly #flights = new Flights();
  readonly #alarms: Alarms;
  /** When each run was last looked at. */
  readonly #lookedAt = new Map<JobId, number>();
  /** Backends that do not answer. */
  readonly #down = new Set<BackendName>();
  #only: (job: Job) => boolean = () => true;
  #stopped = false;
  /** The journal may be gone: what still ends is left in doubt. */
  #closed = false;
  readonly #idleWaiters: (() => void)[] = [];

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#alarms = new Alarms(parts.clock, (jobId) => this.#ring(jobId));
  }

  /** Takes up what the journal knows; effects that were begun and never ended are in doubt. `only`: the others stand still. */
  recover(only: (job: Job) => boolean = () => true): void {
    this.#only = only;
    const { jobs, inDoubt } = this.#parts.journal.load();
    for (const job of jobs) this.#jobs.set(job.id, job);
    for (const { jobId, effectId, effect } of inDoubt) {
      const result = { is: "doubt", cause: "the daemon ended before the answer came" } as const;
      this.#parts.log.debug("an effect was begun and its end is not known", { jobId, effect: effect.kind });
      this.#conclude(jobId, effectId, { effect, ending: { result } });
    }
    for (const id of [...this.#jobs.keys()]) this.#pump(id);
  }

  get jobs(): ReadonlyMap<JobId, Job> {
    return this.#jobs;
  }

  isSchedulerUp(backend: BackendName): boolean {
    return !this.#down.has(backend);
  }

  /** Something was observed, or a job was taken in. */
  observe(jobId: JobId, event: Exclude<JobEvent, { kind: "Begun" | "Ended" }>): void {
    if (this.#stopped) return;
    // A look that shows nothing new may still be the one that a time-out waits for.
    const isLook = event.kind === "RunObserved";
    if (isLook) this.#lookedAt.set(jobId, event.at);
    // Whoever asked for it is told that it is taken, and asks no second time.
    const durability = event.kind.endsWith("Asked") ? "durable" : "lossy";
    if (this.#apply(jobId, event, durability) || isLook) this.#pump(jobId);
  }

  setSchedulerUp(backend: BackendName, up: boolean): void {
    if (this.isSchedulerUp(backend) === up) return;
    if (up) this.#down.delete(backend);
    else this.#down.add(backend);
    for (const job of [...this.#jobs.values()]) if (job.backend === backend) this.#pump(job.id);
  }

  /** What lets jobs wait has changed: of one profile its hold, of all whether EMX2 can be asked. */
  reconsider(profileKey?: string): void {
    for (const job of [...this.#jobs.values()])
      if (profileKey === undefined || job.profileKey === profileKey) this.#pump(job.id);
  }

  /** What comes next for each job that is still to be brought to its end. */
  outlook(): Record<JobId, Outlook> {
    const open = [...this.#jobs.values()].filter(({ closed }) => !closed);
    return Object.fromEntries(open.map((job) => [job.id, this.#outlookOf(job)]));
  }

  /** Effects that are running or wait for room. */
  get inFlight(): number {
    return this.#flights.count;
  }

  /** Lanes that are in flight in any of `lanes`. */
  isBusy(lanes: readonly Lane[]): boolean {
    return this.#flights.isBusy(lanes);
  }

  /** Resolves once nothing is in flight and nothing is due within `lingerMs`. */
  async idle(lingerMs: number): Promise<void> {
    while (!this.#stopped && (this.inFlight > 0 || this.#alarms.next() <= this.#parts.clock.wall() + lingerMs)) {
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    }
  }

  /** Starts nothing more and aborts what can be aborted; what does not end in time stays in doubt in the journal. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    for (const pool of Object.values(this.#parts.pools)) pool.close();
    this.#alarms.callOff();
    this.#flights.abortAll(new DOMException("the daemon is stopping", "AbortError"));
    const patience = new AbortController();
    const deadline = this.#parts.clock.sleep(graceMs, patience.signal).catch(() => "called off");
    while (this.inFlight > 0) {
      const ended = new Promise<"ended">((resolve) => this.#idleWaiters.push(() => resolve("ended")));
      if ((await Promise.race([ended, deadline])) !== "ended") break;
    }
    patience.abort();
    this.#closed = true;
    this.#wakeIdle();
  }

  /** One event, one transaction. False where it changed nothing. */
  #apply(jobId: JobId, event: JobEvent, durability: Durability, more: Omit<Recorded, "event" | "job"> = {}): boolean {
    const before = this.#jobs.get(jobId);
    const job = fold(before, event);
    if (!job || (job === before && !more.begin && !more.end)) return false;
    this.#parts.journal.record({ event, job, ...more }, durability);
    this.#jobs.set(jobId, job);
    this.#parts.onChange?.(job, before, event);
    return true;
  }

  #pump(jobId: JobId): void {
    const job = this.#jobs.get(jobId);
    if (!job || this.#stopped || !this.#only(job)) return;
    const decision = this.#decide(job);
    if (decision.expired) {
      const { by, detail } = decision.expired;
      // Nothing can expire twice: the stop that this sets ends every other time-out.
      this.#apply(jobId, { kind: "Expired", at: this.#parts.clock.wall(), by, detail }, "durable");
      this.#pump(jobId);
      return;
    }
    for (const lane of decision.abort) {
      const flight = this.#flights.get(jobId, lane);
      if (flight?.begun) flight.abort.abort(new DOMException("no longer wanted", "AbortError"));
    }
    for (const effect of decision.start) this.#enqueue(job, effect);
    this.#alarms.set(jobId, decision.wakeAt);
    if (this.#isForgettable(job)) this.#forget(jobId);
    if (this.inFlight === 0) this.#wakeIdle();
  }

  #ring(jobId: JobId): void {
    try {
      this.#pump(jobId);
    } catch (error) {
      this.#parts.onFault(error);
    }
  }

  #decide(job: Job): Decision {
    const held = this.#parts.heldOf(job);
    const lookedAt = this.#lookedAt.get(job.id);
    return decide(
      job,
      {
        schedulerUp: this.isSchedulerUp(job.backend),
        serverDown: this.#parts.isServerDown(),
        ...(held ? { held } : {}),
        ...(lookedAt === undefined ? {} : { lookedAt }),
      },
      this.#parts.policyOf(job),
      this.#parts.clock.wall(),
    );
  }

  #outlookOf(job: Job): Outlook {
    const { why, wakeAt } = this.#decide(job);
    const lookedAt = this.#lookedAt.get(job.id);
    const begun = this.#flights.of(job.id).filter((flight) => flight.begun);
    return {
      why,
      ...(wakeAt === undefined ? {} : { wakeAt }),
      ...(lookedAt === undefined ? {} : { lookedAt }),
      doing: begun.map(({ effect }) => effect.kind),
    };
  }

  #enqueue(job: Job, effect: Effect): void {
    const lane = laneOf(effect);
    // The directory goes last: not while anything else of the job is still under way.
    const isTaken = lane === "clean" ? this.#flights.of(job.id).length > 0 : this.#flights.get(job.id, lane);
    if (isTaken) return;
    this.#flights.take(job.id, lane, effect);
    const pool = this.#parts.pools[this.#parts.perform.poolOf(effect)];
    pool.add({ jobId: job.id, start: () => this.#begin(job.id, lane) });
  }

  #begin(jobId: JobId, lane: Lane): Promise<void> | undefined {
    try {
      return this.#launch(jobId, lane);
    } catch (error) {
      this.#parts.onFault(error);
      return undefined;
    }
  }

  /** Room in the pool: is the effect still what the job wants? Then its intent first, and then the effect. */
  #launch(jobId: JobId, lane: Lane): Promise<void> | undefined {
    const flight = this.#flights.get(jobId, lane);
    const job = this.#jobs.get(jobId);
    if (!flight || !job || this.#stopped) return undefined;
    this.#parts.journal.check();
    if (!this.#decide(job).start.some((effect) => Bun.deepEquals(effect, flight.effect))) {
      this.#flights.land(jobId, lane);
      this.#pump(jobId);
      return undefined;
    }
    const { effect } = flight;
    const effectId = this.#parts.perform.needsIntent(effect) ? this.#parts.clock.uuid() : undefined;
    if (effectId !== undefined) {
      const at = this.#parts.clock.wall();
      this.#apply(jobId, { kind: "Begun", at, effect }, "durable", { begin: { effectId, effect } });
    }
    flight.begun = true;
    const current = this.#jobs.get(jobId) ?? job;
    return this.#parts.perform
      .run(current, effect, flight.abort.signal)
      .then((ending) => {
        using _files = ending.files;
        if (this.#closed) return;
        this.#flights.land(jobId, lane);
        // Cut short by our own end: whatever was begun stays in doubt, and comes back so at the next start.
        const cutShort = this.#stopped && flight.abort.signal.aborted && ending.result.is !== "ok";
        if (!cutShort) this.#conclude(jobId, effectId, { effect, ending });
        this.#pump(jobId);
        if (this.inFlight === 0) this.#wakeIdle();
      })
      .catch(this.#parts.onFault);
  }

  #conclude(jobId: JobId, effectId: string | undefined, { effect, ending }: { effect: Effect; ending: Ending }): void {
    const job = this.#jobs.get(jobId);
    if (!job) return;
    const at = this.#parts.clock.wall();
    const failures = job.waits[laneOf(effect)]?.failures ?? 0;
    const delayMs = this.#parts.perform.delayMs(effect, ending.result, failures);
    const { result, files } = ending;
    const again = delayMs === undefined ? {} : { retryAt: at + delayMs };
    const event = { kind: "Ended", at, effect, result, ...again } as JobEvent;
    const more = { ...(effectId === undefined ? {} : { end: { effectId, result } }), ...(files ? { files } : {}) };
    try {
      this.#apply(jobId, event, this.#parts.perform.durability(effect, result), more);
    } catch (error) {
      // What it has listed is out of reach by now: nothing is recorded, and it is listed anew.
      if (!(error instanceof StorageError)) throw error;
      this.#conclude(jobId, effectId, { effect, ending: { result: { is: "retry", cause: error.message } } });
    }
  }

  /** A job that never was ours leaves at once; every other when its directory is gone, or is to stay for ever. */
  #isForgettable(job: Job): boolean {
    if (job.closed === undefined || this.#flights.of(job.id).length > 0) return false;
    return job.cleaned || job.claim.stage === "refused" || isKeptForEver(job, this.#parts.policyOf(job));
  }

  #forget(jobId: JobId): void {
    this.#alarms.set(jobId, undefined);
    this.#parts.journal.forget(jobId);
    this.#jobs.delete(jobId);
    this.#lookedAt.delete(jobId);
  }

  #wakeIdle(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }
}
