/**
 * Pools bound what is in flight at once. Of what waits, the job that has the least in flight comes first, and of one job what
 * has waited longest: jobs share the slots alike. In the transfer pool one slot is kept from large files, so that many small
 * ones are never stuck behind a few that take hours.
 */
import type { Clock } from "../clock.ts";
import type { JobId } from "../job/run.ts";

export const poolNames = [
  ...(["control", "scripts", "submissions", "scheduler"] as const),
  ...(["lookups", "groups", "transfers", "removals"] as const),
] as const;
export type PoolName = (typeof poolNames)[number];

export interface PoolLimits {
  readonly maxInFlight: number;
  /** Starts in any minute; absent: as many as the slots allow. */
  readonly maxPerMinute?: number;
  /** From this size on a task is large, in bytes; one slot is kept from large tasks where there are two or more. */
  readonly largeBytes?: number;
}

export interface Task {
  readonly jobId: JobId;
  /** What it moves; absent: nobody knows, and it counts as large. */
  readonly bytes?: number;
  /** Of the tasks with the same one runs at a time; the others wait without a slot. */
  readonly alone?: string | undefined;
  /** Starts the work; undefined: it is no longer wanted, and takes no slot. */
  start(): Promise<void> | undefined;
}

const minuteMs = 60_000;

export class Pool {
  readonly #clock: Clock;
  readonly #limits: PoolLimits;
  readonly #waiting: Task[] = [];
  #inFlight = 0;
  readonly #inFlightOf = new Map<JobId, number>();
  readonly #aloneInFlight = new Set<string>();
  #largeInFlight = 0;
  /** When the tasks of the last minute were started, monotonic milliseconds, oldest first. */
  #starts: number[] = [];
  /** Set while it waits for the minute to pass. */
  #callOffTimer: (() => void) | undefined;
  #closed = false;

  constructor(clock: Clock, limits: PoolLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  add(task: Task): void {
    this.#waiting.push(task);
    this.#fill();
  }

  /** Starts nothing more; what runs goes on. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
    this.#callOffTimer?.();
  }

  #fill(): void {
    while (!this.#closed && this.#inFlight < this.#limits.maxInFlight && this.#waiting.length > 0) {
      const index = this.#nextIndex();
      if (index < 0 || this.#rateLimited()) return;
      const [task] = this.#waiting.splice(index, 1);
      if (task) this.#start(task);
    }
  }

  #start(task: Task): void {
    const large = this.#isLarge(task) ? 1 : 0;
    // Taken before the start, which may add further tasks to this very pool.
    this.#inFlight += 1;
    this.#largeInFlight += large;
    this.#count(task.jobId, 1);
    const { alone } = task;
    if (alone !== undefined) this.#aloneInFlight.add(alone);
    const free = () => {
      if (alone !== undefined) this.#aloneInFlight.delete(alone);
      this.#inFlight -= 1;
      this.#largeInFlight -= large;
      this.#count(task.jobId, -1);
    };
    const work = task.start();
    if (!work) {
      free();
      return;
    }
    if (this.#limits.maxPerMinute !== undefined) this.#starts.push(this.#clock.mono());
    // `work` never rejects but for a bug of ours, which is to end the daemon.
    void work.then(() => {
      free();
      this.#fill();
    });
  }

  /** -1: nothing that waits may start now. */
  #nextIndex(): number {
    let found = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const [index, task] of this.#waiting.entries()) {
      const inFlight = this.#inFlightOf.get(task.jobId) ?? 0;
      if (inFlight >= least || !this.#hasRoom(task)) continue;
      if (inFlight === 0) return index;
      found = index;
      least = inFlight;
    }
    return found;
  }

  #count(jobId: JobId, by: 1 | -1): void {
    const inFlight = (this.#inFlightOf.get(jobId) ?? 0) + by;
    if (inFlight === 0) this.#inFlightOf.delete(jobId);
    else this.#inFlightOf.set(jobId, inFlight);
  }

  #hasRoom(task: Task): boolean {
    if (task.alone !== undefined && this.#aloneInFlight.has(task.alone)) return false;
    return !this.#isLarge(task) || this.#largeInFlight < Math.max(1, this.#limits.maxInFlight - 1);
  }

  #isLarge(task: Task): boolean {
    const { largeBytes } = this.#limits;
    return largeBytes !== undefined && (task.bytes ?? Number.POSITIVE_INFINITY) >= largeBytes;
  }

  #rateLimited(): boolean {
    const { maxPerMinute } = this.#limits;
    if (maxPerMinute === undefined) return false;
    const now = this.#clock.mono();
    this.#starts = this.#starts.filter((start) => now - start < minuteMs);
    const [oldest] = this.#starts;
    if (oldest === undefined || this.#starts.length < maxPerMinute) return false;
    this.#callOffTimer ??= this.#clock.timer(oldest + minuteMs - now, () => {
      this.#callOffTimer = undefined;
      this.#fill();
    });
    return true;
  }
}
