import { describe, expect, test } from "bun:test";
import { type Busy, busyPauseMs, createBusy } from "../../../src/daemon/busy.ts";
import { decide } from "../../../src/job/decide.ts";
import type { Job } from "../../../src/job/job.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";
import { play, policy, startAt, toTracked } from "../job/story.ts";

/** Ready to be submitted. */
const written = play(toTracked.slice(0, -2));
const job = (id: string, profileKey = "embed/gpu"): Job => ({ ...written, id, profileKey });
const cause = "sbatch: exit 1: sbatch: error: QOSMaxSubmitJobPerUserLimit";

function stage() {
  const clock = createVirtualClock({ seed: 1, wallMs: startAt + 60_000 });
  return { clock, busy: createBusy(clock) };
}

function decided(clock: { wall(): number }, busy: Busy, of: Job, heldMs: number | null = null) {
  const held = busy.heldOf(of);
  const timeouts = { ...policy.timeouts, heldMs };
  return decide(of, { schedulerUp: true, ...(held ? { held } : {}) }, { ...policy, timeouts }, clock.wall());
}

describe("a scheduler that takes no more", () => {
  test("of a profile's jobs is not asked for any of them until the pause is over, and for others it is", async () => {
    const { clock, busy } = stage();
    busy.began(job("j1"), cause, "profile");
    const waits = decided(clock, busy, job("j2"));
    expect(waits.start).toEqual([]);
    expect(waits.why).toBe(`to be submitted: ${cause}`);
    expect(waits.wakeAt).toBe(clock.wall() + busyPauseMs);
    expect(decided(clock, busy, job("j3", "embed/cpu")).start).toMatchObject([{ kind: "Submit" }]);
    await clock.advance(busyPauseMs);
    expect(decided(clock, busy, job("j2")).start).toMatchObject([{ kind: "Submit" }]);
  });

  test("of anything is not asked for any job of its backend", () => {
    const { clock, busy } = stage();
    busy.began(job("j1"), cause, "everything");
    expect(decided(clock, busy, job("j3", "embed/cpu")).start).toEqual([]);
    expect(busy.heldOf({ ...job("j4"), backend: "shell" })).toBeUndefined();
  });

  test("and then takes one is asked for the others at once", () => {
    const { clock, busy } = stage();
    busy.began(job("j1"), cause, "everything");
    busy.began(job("j1"), cause, "profile");
    busy.taken(job("j2"));
    expect(decided(clock, busy, job("j3")).start).toMatchObject([{ kind: "Submit" }]);
  });

  test("fails nobody for waiting: held_jobs_wait is about refusals", async () => {
    const { clock, busy } = stage();
    await clock.advance(7 * 86_400_000);
    busy.began(job("j1"), cause, "profile");
    expect(decided(clock, busy, job("j2"), 86_400_000).expired).toBeUndefined();
  });

  test("does not keep a job that is to stop from its end", () => {
    const { clock, busy } = stage();
    busy.began(job("j1"), cause, "profile");
    const stop = { by: "server-cancelled", at: startAt, detail: "cancelled at EMX2" } as const;
    expect(decided(clock, busy, { ...job("j2"), stop }).why).not.toContain(cause);
  });
});
