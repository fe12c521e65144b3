import { describe, expect, test } from "bun:test";
import { FileHashes } from "../../../src/journal/file-hashes.ts";
import { type Journal, openJournal } from "../../../src/journal/journal.ts";
import { openDatabase } from "../../../src/journal/schema.ts";
import { filePut, manualClock } from "./records.ts";

const dayMs = 24 * 3_600_000;
const sha256 = "ab".repeat(32);

function inMemory() {
  const clock = manualClock();
  const journal = openJournal(":memory:", { clock });
  /** What a restart after SIGKILL would find. */
  const afterKill = () => openJournal(journal.serialize(), { clock });
  return { clock, journal, hashes: journal.fileHashes, afterKill };
}

const knows = ({ fileHashes }: Journal, path: string, state = "1") => fileHashes.hashOf(path, state) !== undefined;

test("a hash is known of its path in its state alone, also before it is written", () => {
  const { journal, hashes, afterKill } = inMemory();
  hashes.remember("/data/a", "1", sha256);
  const look = ({ fileHashes }: Journal) => {
    expect(fileHashes.hashOf("/data/a", "1")).toBe(sha256);
    expect(fileHashes.hashOf("/data/a", "2")).toBeUndefined();
    expect(fileHashes.hashOf("/data/b", "1")).toBeUndefined();
  };
  look(journal);
  journal.flush();
  look(journal);
  look(afterKill());
});

test("of a path the last state counts", () => {
  const { journal, hashes } = inMemory();
  for (const state of ["1", "2"]) {
    hashes.remember("/data/a", state, sha256);
    journal.flush();
  }
  expect([knows(journal, "/data/a", "1"), knows(journal, "/data/a", "2")]).toEqual([false, true]);
});

describe("it is written", () => {
  test("within a second", () => {
    const { clock, hashes, afterKill } = inMemory();
    hashes.remember("/data/a", "1", sha256);
    expect(knows(afterKill(), "/data/a")).toBe(false);
    clock.advance(1_000);
    expect(knows(afterKill(), "/data/a")).toBe(true);
    expect(clock.timers).toBe(0);
  });

  test("with what is written anyway", () => {
    const { clock, journal, hashes, afterKill } = inMemory();
    hashes.remember("/data/a", "1", sha256);
    journal.record(filePut("job-1", 1), "durable");
    expect(knows(afterKill(), "/data/a")).toBe(true);
    expect(clock.timers).toBe(0);
  });
});

test("a journal that was closed is asked in vain, and told in vain", () => {
  const { clock, journal, hashes } = inMemory();
  hashes.remember("/data/a", "1", sha256);
  journal.close();
  expect(knows(journal, "/data/a")).toBe(false);
  hashes.remember("/data/a", "1", sha256);
  expect(clock.timers).toBe(0);
});

test("those that were not used for longest make room", () => {
  const clock = manualClock();
  const database = openDatabase(":memory:", { clock });
  const hashes = new FileHashes(database, clock, () => {}, 3);
  const write = () => {
    hashes.write();
    hashes.written();
  };
  for (const path of ["a", "b", "c"]) hashes.remember(path, "1", sha256);
  write();
  clock.advance(dayMs);
  expect(hashes.hashOf("a", "1")).toBe(sha256);
  hashes.remember("d", "1", sha256);
  write();
  const left = database.query<{ path: string }, []>("SELECT path FROM known_hash").all();
  expect(left.map(({ path }) => path).sort()).toEqual(["a", "c", "d"]);
});

test("a use is written down once a day, and what is not used any more is pruned", () => {
  const { clock, journal, hashes } = inMemory();
  for (const path of ["used", "unused"]) hashes.remember(path, "1", sha256);
  journal.flush();
  const writtenAt = clock.wall();
  clock.advance(dayMs - 1);
  expect(knows(journal, "used")).toBe(true);
  expect(clock.timers).toBe(0);
  clock.advance(1);
  expect(knows(journal, "used")).toBe(true);
  clock.advance(1_000);
  journal.prune(0, writtenAt + 1);
  expect([knows(journal, "used"), knows(journal, "unused")]).toEqual([true, false]);
});
