import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import { type Journal, openJournal } from "../../../src/journal/journal.ts";
import { publishSnapshot, readSnapshot } from "../../../src/journal/snapshot.ts";
import { filePut, jobOf } from "./records.ts";

let dir = "";
let path = "";
let journal: Journal;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-snapshot-"));
  path = join(dir, "snapshot.db");
  journal = openJournal(join(dir, "journal.db"), { clock });
});
afterEach(() => {
  journal.close();
  rmSync(dir, { recursive: true, force: true });
});

test("a reader sees the jobs and their history as they were when it was published", () => {
  journal.record(filePut("job-1", 1), "durable");
  journal.record(filePut("job-2", 2), "durable");
  const before = clock.wall();
  publishSnapshot(journal, path);
  journal.record(filePut("job-1", 3), "durable");
  const snapshot = readSnapshot(path);
  expect(snapshot?.jobs).toEqual([jobOf("job-1", 1), jobOf("job-2", 2)]);
  expect(snapshot?.history("job-1").map(({ at }) => at)).toEqual([1]);
  // The file system's clock may be a tick behind.
  expect(Math.abs((snapshot?.writtenAt ?? 0) - before)).toBeLessThan(5_000);
});

test("it is for its owner alone, replaces the one before, and leaves nothing beside it", () => {
  writeFileSync(`${path}.new`, "left by a crash", { mode: 0o644 });
  publishSnapshot(journal, path);
  publishSnapshot(journal, path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir).filter((name) => name.startsWith("snapshot"))).toEqual(["snapshot.db"]);
});

test("a reader writes nothing and leaves nothing behind", () => {
  publishSnapshot(journal, path);
  const before = readFileSync(path);
  const names = readdirSync(dir);
  readSnapshot(path)?.history("job-1");
  expect(readFileSync(path).equals(before)).toBe(true);
  expect(readdirSync(dir)).toEqual(names);
});

test("where none was published there is none", () => {
  expect(readSnapshot(path)).toBeNull();
});

test("one that is cut short, or of a newer version, is refused by name", () => {
  journal.record(filePut("job-1", 1), "durable");
  publishSnapshot(journal, path);
  const whole = readFileSync(path);
  writeFileSync(path, whole.subarray(0, 3_000));
  expect(() => readSnapshot(path)).toThrow(StateError);
  writeFileSync(path, "<html>");
  expect(() => readSnapshot(path)).toThrow(StateError);
  writeFileSync(path, whole);
  const database = new Database(path);
  database.run("UPDATE meta SET value = '2000' WHERE key = 'schema'");
  database.close();
  expect(() => readSnapshot(path)).toThrow("schema 2000");
});

test("one that can not be written leaves the one before as it was", () => {
  publishSnapshot(journal, path);
  const before = readFileSync(path);
  expect(() => publishSnapshot(journal, join(dir, "gone", "snapshot.db"))).toThrow(StateError);
  expect(readFileSync(path).equals(before)).toBe(true);
});
