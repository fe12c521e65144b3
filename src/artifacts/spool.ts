/**
 * A private temporary database: what is listed, of which there may be a million, waits there rather than in memory. SQLite
 * keeps it in a file without a name, which is gone with whoever has it open, by whatever end; while it is small there is
 * none. Its faults are StorageErrors that name the directory: it may have no room for it.
 */
import { constants, Database, type SQLQueryBindings } from "bun:sqlite";
import { accessSync, constants as modes, statSync } from "node:fs";
import { meaningOf, StorageError } from "../errors.ts";

/** Of each spool; what is beyond it lies in the file. */
const cacheKiB = 4_096;

const { SQLITE_OPEN_CREATE, SQLITE_OPEN_READWRITE, SQLITE_OPEN_URI } = constants;

export class Spool implements Disposable {
  readonly #database: Database;

  constructor(tables: string) {
    this.#database = guarded(() => open(tables));
  }

  /** How many rows it has changed. */
  run(sql: string, ...values: SQLQueryBindings[]): number {
    return guarded(() => this.#database.query(sql).run(...values)).changes;
  }

  get<Row>(sql: string, ...values: SQLQueryBindings[]): Row | null {
    return guarded(() => this.#database.query<Row, SQLQueryBindings[]>(sql).get(...values));
  }

  /** One by one. What is read of meanwhile must not be written to. */
  *each<Row>(sql: string, ...values: SQLQueryBindings[]): Generator<Row, void> {
    const statement = guarded(() => this.#database.prepare<Row, SQLQueryBindings[]>(sql));
    try {
      const rows = guarded(() => statement.iterate(...values));
      for (let next = guarded(() => rows.next()); !next.done; next = guarded(() => rows.next())) yield next.value;
    } finally {
      statement.finalize();
    }
  }

  [Symbol.dispose](): void {
    this.#database.close(true);
  }
}

function open(tables: string): Database {
  // No name: a temporary file. Bun takes an empty name for `:memory:`, but not an empty URI.
  const database = new Database("file:", SQLITE_OPEN_CREATE | SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI);
  try {
    // Never committed: each row by itself would take twice the time.
    const settings = ["journal_mode = OFF", "synchronous = OFF", `cache_size = ${-cacheKiB}`];
    for (const sql of [...settings.map((setting) => `PRAGMA ${setting}`), tables, "BEGIN"]) database.run(sql);
    return database;
  } catch (error) {
    database.close(true);
    throw error;
  }
}

function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw faultOf(error);
  }
}

/** A used-up quota reaches us as a failed write. */
const full = /^SQLITE_(FULL|IOERR_WRITE)$/;
const failed = /^SQLITE_(IOERR|CANTOPEN|READONLY)/;

function faultOf(error: unknown): unknown {
  const said = error instanceof Error && "code" in error ? String(error.code) : "";
  const code = full.test(said) ? "ENOSPC" : failed.test(said) ? "EIO" : undefined;
  if (code === undefined) return error;
  const path = temporaryDirectory();
  const message = `a list of files can not be kept in ${path} (${said}): ${meaningOf(code)}; make room there, or name another directory in TMPDIR`;
  return new StorageError(message, { code, syscall: "list", path }, { cause: error });
}

/** Where SQLite keeps it (`unixTempFileDir` in os_unix.c). */
function temporaryDirectory(): string {
  const { SQLITE_TMPDIR, TMPDIR } = process.env;
  const places = [SQLITE_TMPDIR, TMPDIR, "/var/tmp", "/usr/tmp", "/tmp"];
  return places.find((place) => place && isUsable(place)) ?? ".";
}

function isUsable(place: string): boolean {
  try {
    accessSync(place, modes.W_OK | modes.X_OK);
    return statSync(place).isDirectory();
  } catch {
    return false;
  }
}
