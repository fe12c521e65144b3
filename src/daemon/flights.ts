/** What is in flight: at most one effect a job and lane, from the moment it waits for room until its end is known. */
import type { Effect } from "../job/effect.ts";
import type { Lane } from "../job/job.ts";
import type { JobId } from "../job/run.ts";

interface Flight {
  readonly effect: Effect;
  readonly abort: AbortController;
  /** False while it waits for room in its pool. */
  begun: boolean;
}

export class Flights {
  readonly #byJob = new Map<JobId, Map<Lane, Flight>>();

  get(jobId: JobId, lane: Lane): Flight | undefined {
    return this.#byJob.get(jobId)?.get(lane);
  }

  of(jobId: JobId): readonly Flight[] {
    return [...(this.#byJob.get(jobId)?.values() ?? [])];
  }

  take(jobId: JobId, lane: Lane, effect: Effect): void {
    const lanes = this.#byJob.get(jobId) ?? new Map<Lane, Flight>();
    lanes.set(lane, { effect, abort: new AbortController(), begun: false });
    this.#byJob.set(jobId, lanes);
  }

  land(jobId: JobId, lane: Lane): void {
    const lanes = this.#byJob.get(jobId);
    lanes?.delete(lane);
    if (lanes?.size === 0) this.#byJob.delete(jobId);
  }

  get count(): number {
    let count = 0;
    for (const lanes of this.#byJob.values()) count += lanes.size;
    return count;
  }

  isBusy(lanes: readonly Lane[]): boolean {
    return [...this.#byJob.values()].some((flights) => lanes.some((lane) => flights.has(lane)));
  }

  /** Aborts what has begun; what still waits for room never was. */
  abortAll(reason: unknown): void {
    for (const flights of this.#byJob.values()) {
      for (const [lane, flight] of flights) {
        if (flight.begun) flight.abort.abort(reason);
        else flights.delete(lane);
      }
    }
  }
}
