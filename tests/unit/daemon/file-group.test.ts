/** A group of files on its way: several at once in the slots that all jobs share, and what is known of it afterwards. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { moveGroup } from "../../../src/daemon/file-group.ts";
import { Pool } from "../../../src/daemon/pools.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";

const row = (index: number): FileRow => ({ role: "output", index, directory: "output", path: `f${index}`, bytes: 10 });
const rows = (count: number) => Array.from({ length: count }, (_, index) => row(index));
const never = new AbortController().signal;

function slotsOf(maxInFlight: number) {
  const clock = createVirtualClock({ seed: 1 });
  return { clock, slots: { pool: new Pool(clock, { maxInFlight }), perJob: maxInFlight } };
}

test("each file is moved once, no more of them at a time than there are slots", async () => {
  const { clock, slots } = slotsOf(4);
  const moved: number[] = [];
  let now = 0;
  let most = 0;
  const moving = moveGroup("j1", rows(25), slots, never, async ({ index }) => {
    most = Math.max(most, ++now);
    await clock.sleep(1 + (index % 7));
    now -= 1;
    moved.push(index);
    return { is: "ok" };
  });
  await clock.advance(1_000);
  expect(await moving).toEqual({ is: "ok", value: { files: 25, bytes: 250 } });
  expect(moved.sort((a, b) => a - b)).toEqual(rows(25).map(({ index }) => index));
  expect(most).toBe(4);
});

test("two groups share the slots, whichever came first", async () => {
  const { clock, slots } = slotsOf(2);
  const order: string[] = [];
  const move = (job: string) =>
    moveGroup(job, rows(6), slots, never, async ({ path }) => {
      order.push(`${job} ${path}`);
      await clock.sleep(10);
      return { is: "ok" };
    });
  const both = Promise.all([move("a"), move("b")]);
  await clock.advance(1_000);
  await both;
  expect(order.slice(0, 6).filter((name) => name.startsWith("b")).length).toBeGreaterThanOrEqual(2);
});

test("of jobs that read the same reference one does, and the slots are everybody else's", async () => {
  const { clock, slots } = slotsOf(3);
  const reference: FileRow = { ...row(0), role: "input", directory: "/ref" };
  const order: string[] = [];
  const move = (job: string, rows: readonly FileRow[]) =>
    moveGroup(job, rows, slots, never, async ({ path }) => {
      order.push(`${job} ${path}`);
      await clock.sleep(100);
      return { is: "ok" };
    });
  const all = Promise.all(["a", "b", "c", "d"].map((job) => move(job, [reference])));
  const other = move("e", rows(2));
  await clock.advance(1_000);
  await Promise.all([all, other]);
  expect(order).toEqual(["a f0", "e f0", "e f1", "b f0", "c f0", "d f0"]);
});

describe("where some fail", () => {
  test("what arrived before the first of them counts, and none is begun after it", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 30 }),
        fc.uniqueArray(fc.nat({ max: 29 }), { maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 30, maxLength: 30 }),
        async (inFlight, count, bad, tookMs) => {
          const { clock, slots } = slotsOf(inFlight);
          const begun: number[] = [];
          let failedAt = Number.POSITIVE_INFINITY;
          const moving = moveGroup("j1", rows(count), slots, never, async ({ index }) => {
            expect(clock.mono()).toBeLessThanOrEqual(failedAt);
            begun.push(index);
            await clock.sleep(tookMs[index] ?? 1);
            if (!bad.includes(index)) return { is: "ok" };
            failedAt = Math.min(failedAt, clock.mono());
            throw new Error(`no ${index}`);
          }).catch((error: Error) => error.message);
          await clock.advance(1_000);
          const first = Math.min(...bad.filter((index) => begun.includes(index)), count);
          const ended = await moving;
          if (first === 0) expect(ended).toBe("no 0");
          else expect(ended).toEqual({ is: "ok", value: { files: first, bytes: 10 * first } });
        },
      ),
      { numRuns: 200 },
    );
  });

  test("a refusal of the first is the group's own", async () => {
    const { slots } = slotsOf(2);
    const no = { is: "refused", cause: "too large" } as const;
    expect(await moveGroup("j1", rows(3), slots, never, async () => no)).toEqual(no);
  });
});

test("an abort ends the wait for a slot, and a pool that is closed keeps nobody", async () => {
  const { clock, slots } = slotsOf(1);
  slots.pool.add({ jobId: "other", start: () => new Promise(() => undefined) });
  const abort = new AbortController();
  const moving = moveGroup("j1", rows(3), slots, abort.signal, async () => ({ is: "ok" })).catch(
    (error: Error) => error.message,
  );
  await clock.settle();
  slots.pool.close();
  abort.abort(new Error("the daemon is stopping"));
  expect(await moving).toBe("the daemon is stopping");
});
