/** A journal that is taken over from a host which is only suspended: what that one still writes does no harm. */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { openJournal } from "../../../src/journal/journal.ts";
import { openDatabase } from "../../../src/journal/schema.ts";

const hold = { check() {}, hasLock: false, wasForeign: true };
let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-own-copy-"));
  path = join(dir, "journal.db");
});
afterEach(() => rmSync(dir, { recursive: true }));

function isWhole(): boolean {
  const database = new Database(path, { readonly: true });
  try {
    return database.query<{ integrity_check: string }, []>("PRAGMA integrity_check").get()?.integrity_check === "ok";
  } finally {
    database.close(true);
  }
}

test("a transaction that the old holder ends after we have begun is not in our journal, which stays whole", () => {
  const journal = openJournal(path, { clock, hold: { ...hold, wasForeign: false } });
  journal.keep("holds", "before");
  const { stateId } = journal;
  journal.close();

  const old = openDatabase(path, { clock, hasLock: false });
  // Small enough a cache, so that a part of it is in the file already.
  old.run("PRAGMA cache_size = 1");
  old.run("BEGIN IMMEDIATE");
  const insert = old.query("INSERT INTO event (job, at, kind, json) VALUES (?, 0, 'Expired', ?)");
  for (let row = 0; row < 200; row += 1) insert.run(`job-${row}`, "x".repeat(1_000));

  const ours = openJournal(path, { clock, hold });
  expect(ours.stateId).toBe(stateId);
  expect(ours.kept("holds")).toBe("before");
  old.run("COMMIT");
  ours.keep("holds", "ours");
  old.close(true);
  ours.close();

  expect(isWhole()).toBe(true);
  const again = openJournal(path, { clock });
  expect(again.kept("holds")).toBe("ours");
  again.close();
});

test("a journal that is not there yet is made, and its copy is open to nobody else", () => {
  openJournal(path, { clock, hold }).close();
  openJournal(path, { clock, hold }).close();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir).filter((name) => !name.startsWith("journal.db"))).toEqual([]);
  expect(readdirSync(dir)).not.toContain("journal.db.copy");
});
