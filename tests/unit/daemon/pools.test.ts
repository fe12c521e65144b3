import { describe, expect, test } from "bun:test";
import { Pool, type Task } from "../../../src/daemon/pools.ts";
import { createVirtualClock } from "../../simulation/virtual-clock.ts";

/** Work that ends when the test says so, and the order in which it was started. */
function workshop() {
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  const task = (name: string, bytes?: number, jobId = name, alone?: string): Task => ({
    jobId,
    alone,
    ...(bytes === undefined ? {} : { bytes }),
    start() {
      started.push(name);
      const { promise, resolve } = Promise.withResolvers<void>();
      ends.set(name, resolve);
      return promise;
    },
  });
  return { started, task, end: (name: string) => ends.get(name)?.() };
}

describe("Pool", () => {
  test("has no more in flight than its limit, and starts what waited first as soon as there is room", async () => {
    const clock = createVirtualClock({ seed: 1 });
    const pool = new Pool(clock, { maxInFlight: 2 });
    const { started, task, end } = workshop();
    for (const name of ["a", "b", "c", "d"]) pool.add(task(name));
    expect(started).toEqual(["a", "b"]);
    expect(pool.inFlight).toBe(2);
    end("b");
    await clock.settle();
    expect(started).toEqual(["a", "b", "c"]);
    end("a");
    end("c");
    await clock.settle();
    expect(started).toEqual(["a", "b", "c", "d"]);
    expect(pool.inFlight).toBe(1);
  });

  test("jobs take turns: a job's next file queues up behind everybody else's", async () => {
    const clock = createVirtualClock({ seed: 1 });
    const pool = new Pool(clock, { maxInFlight: 1 });
    const order: string[] = [];
    const addFile = (job: string, file: number): void => {
      if (file > 3) return;
      const work = async () => {
        order.push(`${job}${file}`);
        await clock.sleep(10);
        addFile(job, file + 1);
      };
      pool.add({ jobId: job, start: work });
    };
    for (const job of ["a", "b", "c"]) addFile(job, 1);
    await clock.advance(1_000);
    expect(order).toEqual(["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]);
  });

  test("a job whose many files wait has no more slots than one that comes later", async () => {
    const clock = createVirtualClock({ seed: 1 });
    const pool = new Pool(clock, { maxInFlight: 2 });
    const { started, task, end } = workshop();
    for (const name of ["a1", "a2", "a3", "a4"]) pool.add(task(name, 1, "a"));
    for (const name of ["b1", "b2"]) pool.add(task(name, 1, "b"));
    end("a1");
    await clock.settle();
    expect(started).toEqual(["a1", "a2", "b1"]);
    end("a2");
    await clock.settle();
    expect(started).toEqual(["a1", "a2", "b1", "a3"]);
    end("a3");
    await clock.settle();
    expect(started).toEqual(["a1", "a2", "b1", "a3", "a4"]);
    end("b1");
    await clock.settle();
    expect(started.at(-1)).toBe("b2");
  });

  test("keeps one slot from large tasks, and lets small ones pass them", () => {
    const pool = new Pool(createVirtualClock({ seed: 1 }), { maxInFlight: 3, largeBytes: 100 });
    const { started, task } = workshop();
    for (const name of ["L1", "L2", "L3"]) pool.add(task(name, 100));
    expect(started).toEqual(["L1", "L2"]);
    pool.add(task("of a size that nobody knows"));
    pool.add(task("s1", 99));
    pool.add(task("s2", 0));
    expect(started).toEqual(["L1", "L2", "s1"]);
  });

  test("a large task frees a large slot", async () => {
    const clock = createVirtualClock({ seed: 1 });
    const pool = new Pool(clock, { maxInFlight: 2, largeBytes: 100 });
    const { started, task, end } = workshop();
    pool.add(task("L1", 500));
    pool.add(task("L2", 500));
    expect(started).toEqual(["L1"]);
    end("L1");
    await clock.settle();
    expect(started).toEqual(["L1", "L2"]);
  });

  test("runs one at a time of those that are to be alone, and none of the others waits in a slot", async () => {
    const clock = createVirtualClock({ seed: 1 });
    const pool = new Pool(clock, { maxInFlight: 3 });
    const { started, task, end } = workshop();
    for (const name of ["a", "b", "c"]) pool.add(task(name, 1, name, "/ref"));
    pool.add(task("other", 1, "d", "/other"));
    pool.add(task("usual", 1));
    expect(started).toEqual(["a", "other", "usual"]);
    end("a");
    await clock.settle();
    expect(started).toEqual(["a", "other", "usual", "b"]);
    end("b");
    end("other");
    await clock.settle();
    expect(started.at(-1)).toBe("c");
  });

  test("with a single slot large tasks run all the same", () => {
    const pool = new Pool(createVirtualClock({ seed: 1 }), { maxInFlight: 1, largeBytes: 100 });
    const { started, task } = workshop();
    pool.add(task("L1", 500));
    expect(started).toEqual(["L1"]);
  });

  test("starts no more in any minute than it may", async () => {
    const clock = createVirtualClock({ seed: 1 });
    const pool = new Pool(clock, { maxInFlight: 5, maxPerMinute: 3 });
    const startedAt: number[] = [];
    const add = () =>
      pool.add({
        jobId: "a",
        start() {
          startedAt.push(clock.mono());
          return Promise.resolve();
        },
      });
    add();
    await clock.advance(40_000);
    for (let count = 0; count < 9; count += 1) add();
    expect(await clock.runUntilIdle(600_000)).toBe(true);
    expect(startedAt).toEqual([0, 40_000, 40_000, 60_000, 100_000, 100_000, 120_000, 160_000, 160_000, 180_000]);
  });

  test("what is no longer wanted takes neither a slot nor a share of the minute", () => {
    const pool = new Pool(createVirtualClock({ seed: 1 }), { maxInFlight: 1, maxPerMinute: 1 });
    const { started, task } = workshop();
    pool.add({ jobId: "a", start: () => undefined });
    pool.add({ jobId: "a", start: () => undefined });
    expect(pool.inFlight).toBe(0);
    pool.add(task("a"));
    expect(started).toEqual(["a"]);
  });

  test("a task that adds another to the same pool while it starts or is dropped does not exceed the limit", () => {
    const pool = new Pool(createVirtualClock({ seed: 1 }), { maxInFlight: 1 });
    const { started, task } = workshop();
    pool.add({
      jobId: "a",
      start() {
        pool.add(task("replacement"));
        return undefined;
      },
    });
    expect(started).toEqual(["replacement"]);
    pool.add(task("later"));
    expect(started).toEqual(["replacement"]);
    expect(pool.inFlight).toBe(1);
  });

  test("closed, it starts nothing more and waits for no minute; what runs goes on", async () => {
    const clock = createVirtualClock({ seed: 1 });
    const pool = new Pool(clock, { maxInFlight: 2, maxPerMinute: 1 });
    const { started, task, end } = workshop();
    for (const name of ["a", "b"]) pool.add(task(name));
    expect(clock.pending).toBe(1);
    pool.close();
    expect(clock.pending).toBe(0);
    end("a");
    pool.add(task("c"));
    await clock.advance(120_000);
    expect(started).toEqual(["a"]);
    expect(pool.inFlight).toBe(0);
  });
});
