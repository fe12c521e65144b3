/** One alarm a job: when it is to be looked at again though nothing has happened. */
import type { Clock } from "../clock.ts";
import type { JobId } from "../job/run.ts";

export class Alarms {
  readonly #clock: Clock;
  readonly #ring: (jobId: JobId) => void;
  readonly #set = new Map<JobId, { readonly at: number; readonly callOff: () => void }>();

  constructor(clock: Clock, ring: (jobId: JobId) => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** Replaces the job's alarm; undefined: it needs none. `at` in wall clock milliseconds. */
  set(jobId: JobId, at: number | undefined): void {
    const alarm = this.#set.get(jobId);
    if (alarm?.at === at) return;
    alarm?.callOff();
    this.#set.delete(jobId);
    if (at === undefined) return;
    const callOff = this.#clock.timer(at - this.#clock.wall(), () => {
      this.#set.delete(jobId);
      this.#ring(jobId);
    });
    this.#set.set(jobId, { at, callOff });
  }

  /** The earliest of all; infinity where none is set. */
  next(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { at } of this.#set.values()) next = Math.min(next, at);
    return next;
  }

  callOff(): void {
    for (const { callOff } of this.#set.values()) callOff();
    this.#set.clear();
  }
}
