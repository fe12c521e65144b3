/** Records, jobs and file rows as the engine would hand them to the journal, and a clock whose timers are rung by hand. */
import { type Clock, sleepOn, systemClock } from "../../../src/clock.ts";
import type { Effect, FileRow, JobEvent } from "../../../src/job/effect.ts";
import type { Job } from "../../../src/job/job.ts";
import type { RunRef } from "../../../src/job/run.ts";
import type { Recorded } from "../../../src/journal/journal.ts";

export function jobOf(id: string, offeredAt = 0): Job {
  return {
    id,
    processor: "text-embedding:v3",
    serverProfile: null,
    profileKey: "text-embedding:v3/gpu-medium",
    backend: "simulate",
    dir: `/scratch/${id}`,
    workerId: "hpc-headnode-01",
    traceId: `trace-${id}`,
    submitUser: "alice",
    inputRefs: [],
    timeoutSeconds: null,
    offeredAt,
    server: { status: "CLAIMED", doubt: false },
    claim: { stage: "wanted" },
    inputs: { stage: "unlisted" },
    run: { stage: "none" },
    logs: { stage: "waiting" },
    outputs: { stage: "waiting" },
    outbox: [],
    announced: "CLAIMED",
    cleaned: false,
    waits: {},
  };
}

export function refOf(jobId: string): RunRef {
  return { jobId, attempt: "a1", name: `emx2-${jobId}`, dir: `/scratch/${jobId}`, notBefore: 1_000 };
}

/** A file of the job has been put; `at` numbers the record. */
export function filePut(jobId: string, at: number): Recorded {
  const effect = { kind: "PutFiles", role: "output", from: at } as const;
  const event: JobEvent = { kind: "Ended", at, effect, result: { is: "ok", value: { files: 1, bytes: 10 } } };
  return { event, job: jobOf(jobId, at) };
}

/** The workload has said something of itself; `at` numbers the record. */
export function progressed(jobId: string, at: number): Recorded {
  return { event: { kind: "Progressed", at, progress: { message: `step ${at}` } }, job: jobOf(jobId, at) };
}

export function begun(jobId: string, effectId: string, effect: Effect): Recorded {
  return { event: { kind: "Begun", at: 1, effect }, job: jobOf(jobId), begin: { effectId, effect } };
}

export function outputRow(index: number): FileRow {
  return { role: "output", index, directory: "output", path: `part-${index}.bin`, bytes: index };
}

export interface ManualClock extends Clock {
  advance(ms: number): void;
  readonly timers: number;
}

export function manualClock(): ManualClock {
  let now = 1_700_000_000_000;
  const timers = new Map<() => void, number>();
  const clock: ManualClock = {
    ...systemClock,
    wall: () => now,
    mono: () => now,
    sleep: (ms, signal) => sleepOn(clock, ms, signal),
    timer(ms, wake) {
      const ring = () => wake();
      timers.set(ring, now + ms);
      return () => timers.delete(ring);
    },
    advance(ms) {
      now += ms;
      for (const [ring, due] of [...timers]) {
        if (due > now) continue;
        timers.delete(ring);
        ring();
      }
    },
    get timers() {
      return timers.size;
    },
  };
  return clock;
}
