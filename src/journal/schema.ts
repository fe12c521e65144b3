/**
 * The journal's tables, and how a file of an older schema becomes one of ours: numbered migrations, all in one
 * transaction. A schema that is newer than ours is refused before anything is written to it.
 */
import { constants, Database } from "bun:sqlite";
import { closeSync, existsSync, openSync } from "node:fs";
import type { Clock } from "../clock.ts";
import { putOwnCopy } from "./own-copy.ts";
import { foreignFile, newerSchema, stateError } from "./state-error.ts";

/** Migration n brings schema n to schema n + 1. Released ones never change. */
const migrations: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE job (id TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;
  CREATE TABLE effect (
    id TEXT PRIMARY KEY, job TEXT NOT NULL, lane TEXT NOT NULL, kind TEXT NOT NULL,
    intent TEXT NOT NULL, result TEXT
  ) STRICT;
  CREATE INDEX effect_of_job ON effect (job);
  CREATE TABLE file (
    job TEXT NOT NULL, role TEXT NOT NULL, idx INTEGER NOT NULL, directory TEXT NOT NULL, artifact_id TEXT,
    path TEXT NOT NULL, disk_path TEXT, bytes INTEGER NOT NULL, sha256 TEXT, mtime_ms REAL,
    PRIMARY KEY (job, role, idx)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE event (
    id INTEGER PRIMARY KEY, job TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, json TEXT NOT NULL
  ) STRICT;
  CREATE INDEX event_of_job ON event (job, id);
  CREATE INDEX event_at ON event (at);
  `,
  // One file after another of a large job is nothing to look back at.
  "CREATE INDEX told_event ON event (job, id) WHERE kind <> 'FileDone'",
  // Logs that are too large to go whole.
  "ALTER TABLE file ADD COLUMN disk_bytes INTEGER; ALTER TABLE file ADD COLUMN part_bytes INTEGER",
  // Numbered by last use. State is a text, since nanoseconds and inodes are beyond what a number holds.
  `
  CREATE TABLE known_hash (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, state TEXT NOT NULL, sha256 TEXT NOT NULL, used_at INTEGER NOT NULL
  ) STRICT;
  `,
];

const schemaVersion = migrations.length;

interface Writer {
  readonly clock: Clock;
  readonly version?: string;
  /** False: its file system refuses locks. */
  readonly hasLock?: boolean;
  /** Its last writer may only be suspended, on another host. */
  readonly wasForeign?: boolean;
}

/** Opens or makes the database and brings it to our schema. `source`: path, `:memory:`, or the bytes of a database. */
export function openDatabase(source: string | Uint8Array, writer: Writer): Database {
  const path = typeof source === "string" ? source : ":memory:";
  const { hasLock = true, wasForeign = false } = writer;
  let database: Database | undefined;
  try {
    if (wasForeign) putOwnCopy(path, () => takeBack(path, hasLock));
    database = connect(source, hasLock);
    configure(database);
    migrate(database, path, writer);
    return database;
  } catch (error) {
    database?.close(true);
    throw stateError(error, path);
  }
}

/** Bytes of a journal of any schema up to ours, in memory and without a trace on disk. */
export function openBytes(bytes: Uint8Array, path: string): Database {
  let database: Database | undefined;
  try {
    database = Database.deserialize(bytes, { strict: true });
    runMigrations(database, versionOf(database, path));
    return database;
  } catch (error) {
    database?.close(true);
    throw stateError(error, path);
  }
}

export function readMeta(database: Database, key: string): string | null {
  const row = database.query<{ value: string }, [string]>("SELECT value FROM meta WHERE key = ?").get(key);
  return row?.value ?? null;
}

/**
 * Without `strict` a parameter that is missing would be stored as NULL. Every integer here was a JavaScript number
 * before, so that none is beyond what a number can hold, and `safeIntegers` has nothing to guard.
 */
function connect(source: string | Uint8Array, hasLock: boolean): Database {
  if (typeof source !== "string") return Database.deserialize(source, { strict: true });
  if (source !== ":memory:" && !existsSync(source)) closeSync(openSync(source, "wx", 0o600));
  if (hasLock) return new Database(source, { strict: true, readwrite: true, create: true });
  return unlocked(source);
}

/** Where the file system refuses locks: the lease has to keep others out. Flags take the place of options in Bun's API. */
function unlocked(path: string): Database {
  const { SQLITE_OPEN_CREATE, SQLITE_OPEN_READWRITE, SQLITE_OPEN_URI } = constants;
  const name = encodeURI(path).replace(/[?#]/g, encodeURIComponent);
  return new Database(`file:${name}?nolock=1`, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI);
}

/** Reading it takes back a transaction that was cut off. */
function takeBack(path: string, hasLock: boolean): void {
  const database = connect(path, hasLock);
  try {
    configure(database);
    database.query("SELECT count(*) FROM sqlite_schema").get();
  } finally {
    database.close(true);
  }
}

function configure(database: Database): void {
  // A second opener is refused at once, for as long as this process lives.
  database.run("PRAGMA locking_mode = EXCLUSIVE");
  database.run("PRAGMA journal_mode = TRUNCATE");
  database.run("PRAGMA synchronous = FULL");
}

function migrate(database: Database, path: string, writer: Writer): void {
  database.transaction(() => {
    const from = versionOf(database, path);
    runMigrations(database, from);
    if (from === 0) writeMeta(database, "state", writer.clock.uuid());
    if (from !== schemaVersion) writeMeta(database, "schema", String(schemaVersion));
    const version = writer.version ?? "";
    if (readMeta(database, "written_by") !== version) writeMeta(database, "written_by", version);
  })();
}

function runMigrations(database: Database, from: number): void {
  for (const migration of migrations.slice(from)) database.run(migration);
}

/** 0: an empty database. */
function versionOf(database: Database, path: string): number {
  const names = database.query<{ name: string }, []>("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  if (names.length === 0) return 0;
  const found = names.some(({ name }) => name === "meta") ? Number(readMeta(database, "schema")) : 0;
  if (!Number.isInteger(found) || found < 1) throw foreignFile(path);
  if (found > schemaVersion) throw newerSchema(path, found, schemaVersion, readMeta(database, "written_by"));
  return found;
}

export function writeMeta(database: Database, key: string, value: string): void {
  database.query("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)").run(key, value);
}
