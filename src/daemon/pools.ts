/**
 * Pools bound what is in flight at once. A pool starts what waits first; since a job has at most one effect per lane in a
 * pool, its next file queues up behind everybody else's: jobs take turns. In the transfer pool one slot is kept from large
 * files, so that many small ones are never stuck behind a few that take hours.
 */
import type { Clock } from "../clock.ts";

export const poolNames = ["control", "submissions", "scheduler", "lookups", "transfers", "removals"] as const;
export type PoolName = (typeof poolNames)[number];

export interface PoolLimits {
  readonly maxInFlight: number;
  /** Starts in any minute; absent: as many as the slots allow. */
  readonly maxPerMinute?: number;
  /** From this size on a task is large, in bytes; one slot is kept from large tasks where there are two or more. */
  readonly largeBytes?: number;
}

export interface Task {
  /** What it moves, where that is known beforehand. */
  readonly bytes?: number;
  /** Starts the work; undefined: it is no longer wanted, and takes no slot. */
  start(): Promise<void> | undefined;
}

const minuteMs = 60_000;

export class Pool {
  readonly #clock: Clock;
  readonly #limits: PoolLimits;
  readonly #waiting: Task[] = [];
  #inFlight = 0;
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
      const index = this.#waiting.findIndex((task) => this.#hasRoom(task));
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
    const free = () => {
      this.#inFlight -= 1;
      this.#largeInFlight -= large;
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

  #hasRoom(task: Task): boolean {
    return !this.#isLarge(task) || this.#largeInFlight < Math.max(1, this.#limits.maxInFlight - 1);
  }

  #isLarge(task: Task): boolean {
    return (task.bytes ?? 0) >= (this.#limits.largeBytes ?? Number.POSITIVE_INFINITY);
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
