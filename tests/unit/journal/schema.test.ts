import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import { Journal, openJournal } from "../../../src/journal/journal.ts";
import { openDatabase } from "../../../src/journal/schema.ts";
import { filePut, jobOf, manualClock, outputRow } from "./records.ts";

let dir = "";
let path = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-journal-"));
  path = join(dir, "journal.db");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function stateErrorFrom(act: () => unknown): StateError {
  try {
    act();
  } catch (error) {
    if (error instanceof StateError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("the file", () => {
  test("is for its owner alone, and takes up where it was left", () => {
    const first = openJournal(path, { clock });
    first.record(filePut("job-1", 1), "lossy");
    first.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const second = openJournal(path, { clock });
    expect(second.stateId).toBe(first.stateId);
    expect(second.load().jobs).toEqual([jobOf("job-1", 1)]);
    second.close();
  });

  test("is written with a rollback journal and a full fsync", () => {
    const database = openDatabase(path, { clock });
    expect(database.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "truncate" });
    expect(database.query("PRAGMA synchronous").get()).toEqual({ synchronous: 2 });
    expect(database.query("PRAGMA locking_mode").get()).toEqual({ locking_mode: "exclusive" });
    database.close(true);
  });

  test("can not be opened twice", () => {
    const journal = openJournal(path, { clock });
    const error = stateErrorFrom(() => openJournal(path, { clock }));
    expect(error.state).toEqual({ path, reason: "busy" });
    journal.record(filePut("job-1", 1), "durable");
    journal.close();
  });

  test("of a newer schema is refused by name and left untouched", () => {
    const journal = openJournal(path, { clock, version: "7.0.0" });
    journal.close();
    edit((database) => database.run("UPDATE meta SET value = '99' WHERE key = 'schema'"));
    const error = stateErrorFrom(() => openJournal(path, { clock, version: "1.0.0" }));
    expect(error.state.reason).toBe("newer");
    expect(error.message).toContain("version 7.0.0");
    expect(error.message).toContain("schema 99");
    expect(error.message).toContain("worker.state_dir");
    edit((database) => {
      const rows = database.query("SELECT value FROM meta WHERE key IN ('schema', 'written_by') ORDER BY key").values();
      expect(rows).toEqual([["99"], ["7.0.0"]]);
    });
  });

  test("of an older schema becomes one of ours, with all that is in it", () => {
    const row = outputRow(1);
    const cut: FileRow = { ...outputRow(2), cut: { diskBytes: 100, partBytes: 10 } };
    const journal = openJournal(path, { clock });
    journal.record({ ...filePut("job-1", 1), files: [row] }, "durable");
    journal.close();
    edit((database) => {
      for (const column of ["disk_bytes", "part_bytes"]) database.run(`ALTER TABLE file DROP COLUMN ${column}`);
      database.run("DROP TABLE known_hash");
      database.run("UPDATE meta SET value = '2' WHERE key = 'schema'");
    });
    const ours = openJournal(path, { clock });
    expect(ours.files("job-1", "output", 0, 9)).toEqual([row]);
    ours.record({ ...filePut("job-1", 2), files: [row, cut] }, "durable");
    expect(ours.files("job-1", "output", 0, 9)).toEqual([row, cut]);
    ours.fileHashes.remember("/data/a", "state", "hash");
    ours.flush();
    expect(ours.fileHashes.hashOf("/data/a", "state")).toBe("hash");
    ours.close();
  });

  test("that is no journal is refused", () => {
    edit((database) => database.run("CREATE TABLE recipe (name TEXT)"));
    expect(stateErrorFrom(() => openJournal(path, { clock })).message).toContain("not a journal");
    rmSync(path);
    writeFileSync(path, "this is no database, but long enough to be taken for one".repeat(40));
    expect(stateErrorFrom(() => openJournal(path, { clock })).state.reason).toBe("damaged");
  });

  test("in a directory that is not there is unusable, and the message says where", () => {
    const missing = join(dir, "gone", "journal.db");
    const error = stateErrorFrom(() => openJournal(missing, { clock }));
    expect(error.state).toEqual({ path: missing, reason: "unusable" });
    expect(error.message).toContain(missing);
  });

  function edit(change: (database: Database) => void) {
    const database = new Database(path);
    change(database);
    database.close(true);
  }
});

describe("a full disk", () => {
  test("costs the record and nothing else: after it has room again the waiting ones are written, in order", () => {
    const manual = manualClock();
    const database = openDatabase(path, { clock: manual });
    const journal = new Journal(database, path, manual);
    journal.record(filePut("job-1", 1), "durable");
    const pages = database.query<{ page_count: number }, []>("PRAGMA page_count").get()?.page_count ?? 0;
    database.run(`PRAGMA max_page_count = ${pages + 1}`);

    journal.record(filePut("job-1", 2), "lossy");
    const files = Array.from({ length: 5_000 }, (_, index) => outputRow(index));
    const error = stateErrorFrom(() => journal.record({ ...filePut("job-1", 3), files }, "durable"));
    expect(error.state).toEqual({ path, reason: "full" });
    expect(error.message).toContain("disk full or quota");

    database.run("PRAGMA max_page_count = 100000");
    journal.record(filePut("job-1", 4), "durable");
    expect(journal.history("job-1").map(({ at }) => at)).toEqual([1, 2, 4]);
    expect(journal.files("job-1", "output", 0, 9)).toEqual([]);
    journal.close();
  });

  test("refuses lossy records once 100 wait, and the timer goes on trying", () => {
    const manual = manualClock();
    const database = openDatabase(path, { clock: manual });
    const journal = new Journal(database, path, manual);
    const pages = database.query<{ page_count: number }, []>("PRAGMA page_count").get()?.page_count ?? 0;
    database.run(`PRAGMA max_page_count = ${pages}`);
    for (let at = 0; at < 100; at += 1) journal.record(filePut("job-1", at), "lossy");
    manual.advance(1_000);
    expect(stateErrorFrom(() => journal.record(filePut("job-1", 100), "lossy")).state.reason).toBe("full");
    database.run("PRAGMA max_page_count = 100000");
    manual.advance(1_000);
    const committed = openJournal(journal.serialize(), { clock: manual });
    expect(committed.history("job-1")).toHaveLength(100);
    journal.close();
  });
});
