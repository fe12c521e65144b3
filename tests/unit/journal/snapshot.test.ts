import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import { type Journal, openJournal } from "../../../src/journal/journal.ts";
import { publishSnapshot, readSnapshot } from "../../../src/journal/snapshot.ts";
import { filePut, jobOf, outputRow } from "./records.ts";

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

test("a reader sees the jobs and their history as they were when it was published", async () => {
  journal.record(filePut("job-1", 1), "durable");
  journal.record(filePut("job-2", 2), "durable");
  const before = clock.wall();
  await publishSnapshot(journal, path);
  journal.record(filePut("job-1", 3), "durable");
  const snapshot = readSnapshot(path);
  expect(snapshot?.jobs).toEqual([jobOf("job-1", 1), jobOf("job-2", 2)]);
  expect(snapshot?.history("job-1").map(({ at }) => at)).toEqual([1]);
  // The file system's clock may be a tick behind.
  expect(Math.abs((snapshot?.writtenAt ?? 0) - before)).toBeLessThan(5_000);
});

test("it is for its owner alone, replaces the one before, and leaves nothing beside it", async () => {
  writeFileSync(`${path}.new`, "left by a crash", { mode: 0o644 });
  await publishSnapshot(journal, path);
  await publishSnapshot(journal, path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir).filter((name) => name.startsWith("snapshot"))).toEqual(["snapshot.db"]);
});

test("a reader writes nothing and leaves nothing behind", async () => {
  await publishSnapshot(journal, path);
  const before = readFileSync(path);
  const names = readdirSync(dir);
  readSnapshot(path)?.history("job-1");
  expect(readFileSync(path).equals(before)).toBe(true);
  expect(readdirSync(dir)).toEqual(names);
});

test("where none was published there is none", () => {
  expect(readSnapshot(path)).toBeNull();
});

test("one that is cut short, or of a newer version, is refused by name", async () => {
  journal.record(filePut("job-1", 1), "durable");
  await publishSnapshot(journal, path);
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

test("one that can not be written leaves the one before as it was", async () => {
  await publishSnapshot(journal, path);
  const before = readFileSync(path);
  await expect(publishSnapshot(journal, join(dir, "gone", "snapshot.db"))).rejects.toThrow(StateError);
  expect(readFileSync(path).equals(before)).toBe(true);
});

test("it holds the last hundred events of each job, and neither files nor those of jobs that are gone", async () => {
  const files = Array.from({ length: 5_000 }, (_, index) => outputRow(index));
  journal.record({ ...filePut("job-1", 0), files }, "durable");
  for (let at = 1; at <= 120; at += 1) journal.record(filePut("job-1", at), "lossy");
  for (const id of ["job-2", "job-3"]) journal.record(filePut(id, 1), "durable");
  journal.forget("job-3");
  await publishSnapshot(journal, path);
  const snapshot = readSnapshot(path);
  expect(snapshot?.history("job-1").map(({ at }) => at)).toEqual(Array.from({ length: 100 }, (_, index) => index + 21));
  expect(snapshot?.history("job-2")).toHaveLength(1);
  expect(snapshot?.history("job-3")).toEqual([]);
  expect(statSync(path).size).toBeLessThan(100_000);
  expect(journal.files("job-1", "output")).toHaveLength(5_000);
});

test("what it holds is what was there when it was asked for; two at a time follow one another", async () => {
  journal.record(filePut("job-1", 1), "durable");
  const first = publishSnapshot(journal, path);
  journal.record(filePut("job-2", 2), "durable");
  const second = publishSnapshot(journal, path);
  expect(await first).toBeGreaterThan(0);
  expect(readSnapshot(path)?.jobs.length).toBeGreaterThan(0);
  await second;
  expect(readSnapshot(path)?.jobs).toHaveLength(2);
  expect(readdirSync(dir).filter((name) => name.startsWith("snapshot"))).toEqual(["snapshot.db"]);
});
