/** Rows that wait in a temporary database: read while their record is written, and let go of then, whatever came of it. */
import { expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import type { Ending } from "../../../src/daemon/effects.ts";
import { Engine } from "../../../src/daemon/engine.ts";
import { Pool, type PoolName, poolNames } from "../../../src/daemon/pools.ts";
import { StorageError } from "../../../src/errors.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import { openJournal } from "../../../src/journal/journal.ts";
import { createLog } from "../../../src/log.ts";
import { claimedOk, offered, play, policy } from "../job/story.ts";

const row: FileRow = { role: "input", index: 0, directory: "input/a", artifactId: "a", path: "x", bytes: 1 };

function listed() {
  const seen: string[] = [];
  const files: NonNullable<Ending["files"]> = {
    *[Symbol.iterator]() {
      seen.push("read");
      yield row;
    },
    [Symbol.dispose]: () => void seen.push("let go"),
  };
  return { seen, files };
}

/** A daemon whose one effect is the listing of a job's inputs. */
function listing(files: Ending["files"]) {
  const journal = openJournal(":memory:", { clock: systemClock });
  const job = play([offered, ...claimedOk]);
  journal.record({ event: offered, job }, "durable");
  const faults: unknown[] = [];
  const ending = Promise.withResolvers<Ending>();
  const engine = new Engine({
    clock: systemClock,
    journal,
    log: createLog({ json: false, color: false, level: "error", write: () => undefined }),
    policyOf: () => policy,
    isServerDown: () => false,
    heldOf: () => undefined,
    pools: Object.fromEntries(poolNames.map((name) => [name, new Pool(systemClock, { maxInFlight: 1 })])) as Record<
      PoolName,
      Pool
    >,
    perform: {
      poolOf: () => "control",
      needsIntent: () => false,
      durability: () => "lossy",
      delayMs: (_effect, result) => (result.is === "ok" ? undefined : 60_000),
      run: (_job, { kind }) => (kind === "ListInputs" ? ending.promise : new Promise(() => undefined)),
    },
    onFault: (error) => faults.push(error),
  });
  engine.recover();
  const end = async () => {
    ending.resolve({ result: { is: "ok", value: { total: 1, bytes: 1 } }, ...(files && { files }) } as Ending);
    await Bun.sleep(0);
  };
  return { journal, engine, end, faults, job };
}

test("they are written down at once and let go of", async () => {
  const { seen, files } = listed();
  const { journal, engine, end, faults, job } = listing(files);
  await end();
  expect(seen).toEqual(["read", "let go"]);
  expect(journal.files(job.id, "input", 0, 9)).toEqual([row]);
  expect(faults).toEqual([]);
  await engine.stop(0);
});

test("where the daemon has ended meanwhile they are let go of unread", async () => {
  const { seen, files } = listed();
  const { engine, end } = listing(files);
  await engine.stop(0);
  await end();
  expect(seen).toEqual(["let go"]);
});

test("where they can not be written down they are let go of as well, and the daemon hears of it", async () => {
  const { seen, files } = listed();
  const { journal, engine, end, faults } = listing(files);
  journal.close();
  await end();
  expect(seen.at(-1)).toBe("let go");
  expect(faults).toHaveLength(1);
  await engine.stop(0);
});

test("where they can not be read again the job waits, and nothing of them is written down", async () => {
  const { seen, files } = listed();
  const full = new StorageError("kept in /tmp: full", { code: "ENOSPC", syscall: "list", path: "/tmp" });
  const broken: NonNullable<Ending["files"]> = {
    *[Symbol.iterator]() {
      yield* files;
      throw full;
    },
    [Symbol.dispose]: () => files[Symbol.dispose](),
  };
  const { journal, engine, end, faults, job } = listing(broken);
  await end();
  expect([seen, faults]).toEqual([["read", "let go"], []]);
  expect(journal.files(job.id, "input", 0, 9)).toEqual([]);
  expect(journal.load().jobs[0]?.waits.inputs).toMatchObject({ failures: 1, cause: full.message });
  await engine.stop(0);
});
