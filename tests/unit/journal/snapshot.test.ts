import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import type { JobEvent } from "../../../src/job/effect.ts";
import type { Job } from "../../../src/job/job.ts";
import { type Journal, openJournal, type Recorded } from "../../../src/journal/journal.ts";
import type { Overview } from "../../../src/journal/overview.ts";
import { publishSnapshot, readSnapshot } from "../../../src/journal/snapshot.ts";
import { filePut, jobOf, outputRow, progressed } from "./records.ts";

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

const closed: Job = { ...jobOf("closed"), closed: { at: 1, status: "COMPLETED", why: "reported COMPLETED" } };

function progressedIn(job: Job, at: number): Recorded {
  return { ...progressed(job.id, at), job };
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

test("what is no file is refused, and not waited for", () => {
  Bun.spawnSync(["mkfifo", path]);
  expect(() => readSnapshot(path)).toThrow("is no regular file");
});

test("a reader sees the jobs and their history as they were when it was published", async () => {
  journal.record(progressed("job-1", 1), "durable");
  journal.record(progressed("job-2", 2), "durable");
  const before = clock.wall();
  await publishSnapshot(journal, path);
  journal.record(progressed("job-1", 3), "durable");
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

test("it holds the first and the last events of each job, and says how many between are left out", async () => {
  for (let at = 1; at <= 330; at += 1) {
    journal.record(progressed("open", at), "lossy");
    journal.record(progressedIn(closed, at), "lossy");
  }
  journal.record(progressed("short", 1), "durable");
  await publishSnapshot(journal, path);
  const snapshot = readSnapshot(path);
  const told = (id: string) => snapshot?.history(id).map(({ at }) => at);
  expect(told("open")).toEqual([...range(1, 20), ...range(31, 330)]);
  expect(snapshot?.leftOut("open")).toEqual({ count: 10, after: 20 });
  expect(told("closed")).toEqual([...range(1, 20), ...range(231, 330)]);
  expect(snapshot?.leftOut("closed")).toEqual({ count: 210, after: 20 });
  expect(told("short")).toEqual([1]);
  expect(snapshot?.leftOut("short")).toBeUndefined();
});

test("files that were transferred well, however many, push nothing out of the history; one that was not is told", async () => {
  const files = Array.from({ length: 5_000 }, (_, index) => outputRow(index));
  journal.record(progressed("job-1", 1), "lossy");
  journal.record({ ...filePut("job-1", 2), files }, "durable");
  for (let at = 3; at <= 1_000; at += 1) journal.record(filePut("job-1", at), "lossy");
  const failed = filePut("job-1", 1_001);
  journal.record(
    { ...failed, event: { ...failed.event, result: { is: "retry", cause: "reset" } } as JobEvent },
    "lossy",
  );
  journal.flush();
  await publishSnapshot(journal, path);
  expect(
    readSnapshot(path)
      ?.history("job-1")
      .map(({ at }) => at),
  ).toEqual([1, 1_001]);
  expect(statSync(path).size).toBeLessThan(100_000);
  expect(journal.files("job-1", "output", 0, 10_000)).toHaveLength(5_000);
  expect(journal.history("job-1")).toHaveLength(1_001);
});

test("of jobs that are gone the history stays, of the latest two hundred", async () => {
  for (const at of range(1, 250)) {
    journal.record(progressed(`gone-${at}`, at), "lossy");
    journal.forget(`gone-${at}`);
  }
  journal.record(progressed("here", 251), "durable");
  await publishSnapshot(journal, path);
  const snapshot = readSnapshot(path);
  expect(new Set(snapshot?.forgotten)).toEqual(new Set(range(51, 250).map((at) => `gone-${at}`)));
  expect(snapshot?.history("gone-51")).toHaveLength(1);
  expect(snapshot?.history("gone-50")).toEqual([]);
  expect(snapshot?.jobs.map(({ id }) => id)).toEqual(["here"]);
});

test("what the daemon tells beside the journal comes along, and is in the snapshot alone", async () => {
  const overview: Overview = {
    at: 1_234,
    workerId: "w1",
    emx2: { url: "http://127.0.0.1", reachable: false },
    schedulers: [],
    held: [],
    jobs: { "job-1": { why: "staging", doing: ["StageFiles"] } },
  };
  await publishSnapshot(journal, path, clock, overview);
  expect(readSnapshot(path)?.overview).toEqual(overview);
  expect(readSnapshot(path)?.writtenAt).toBe(1_234);
  await publishSnapshot(journal, path);
  expect(readSnapshot(path)?.overview).toBeUndefined();
});

test("one that the first version published is read, and says what it can", () => {
  const database = new Database(path, { create: true });
  for (const table of [
    "meta (key TEXT PRIMARY KEY, value TEXT)",
    "job (id TEXT PRIMARY KEY, json TEXT)",
    "effect (id TEXT PRIMARY KEY, job TEXT, lane TEXT, kind TEXT, intent TEXT, result TEXT)",
    `file (job TEXT, role TEXT, idx INTEGER, directory TEXT, artifact_id TEXT, path TEXT, disk_path TEXT, bytes INTEGER,
      sha256 TEXT, mtime_ms REAL, PRIMARY KEY (job, role, idx))`,
    "event (id INTEGER PRIMARY KEY, job TEXT, at INTEGER, kind TEXT, json TEXT)",
  ])
    database.run(`CREATE TABLE ${table}`);
  database.run("INSERT INTO meta VALUES ('schema', '1')");
  database.run("INSERT INTO job VALUES ('job-1', ?)", [JSON.stringify(jobOf("job-1"))]);
  database.close();
  const snapshot = readSnapshot(path);
  expect(snapshot?.jobs).toEqual([jobOf("job-1")]);
  expect([snapshot?.overview, snapshot?.forgotten, snapshot?.leftOut("job-1")]).toEqual([undefined, [], undefined]);
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
