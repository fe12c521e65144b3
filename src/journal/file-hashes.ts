/**
 * Hashes of files that were read before, with the state that each file was in. Losing some costs a reading, so they are
 * written when something else is, or with the next group. Rows are numbered by their last use: those that were not used
 * for longest make room.
 */
import type { Database } from "bun:sqlite";
import type { KnownHashes } from "../artifacts/known-hashes.ts";
import type { Clock } from "../clock.ts";

const maxHashes = 200_000;
/** What comes while so many wait to be written is read again one day. */
const maxWaiting = 10_000;
/** A use is written down no more often, so that ten thousand files that are known cost no write at all. */
const useCountsAfterMs = 24 * 3_600_000;

interface Known {
  readonly state: string;
  readonly sha256: string;
  readonly usedAt: number;
}

export class FileHashes implements KnownHashes {
  readonly #clock: Clock;
  readonly #sql: ReturnType<typeof prepare>;
  readonly #onWaiting: () => void;
  readonly #max: number;
  readonly #waiting = new Map<string, Known>();
  #isOver = false;

  /** `onWaiting`: there is something to write, some time. */
  constructor(database: Database, clock: Clock, onWaiting: () => void, max = maxHashes) {
    this.#clock = clock;
    this.#sql = prepare(database);
    this.#onWaiting = onWaiting;
    this.#max = max;
  }

  hashOf(path: string, state: string): string | undefined {
    if (this.#isOver) return undefined;
    const known = this.#waiting.get(path) ?? this.#sql.find.get(path);
    if (known?.state !== state) return undefined;
    if (this.#clock.wall() >= known.usedAt + useCountsAfterMs) this.remember(path, state, known.sha256);
    return known.sha256;
  }

  remember(path: string, state: string, sha256: string): void {
    if (this.#isOver || this.#waiting.size >= maxWaiting) return;
    this.#waiting.set(path, { state, sha256, usedAt: this.#clock.wall() });
    this.#onWaiting();
  }

  /** The database is closed. A file may still be read, and asks in vain from now on. */
  end(): void {
    this.#isOver = true;
    this.#waiting.clear();
  }

  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** To be called within a transaction; `written` when that is done. */
  write(): void {
    if (!this.isWaiting) return;
    for (const [path, { state, sha256, usedAt }] of this.#waiting) this.#sql.put.run(path, state, sha256, usedAt);
    this.#sql.bound.run(this.#max);
  }

  written(): void {
    this.#waiting.clear();
  }

  /** To be called within a transaction. */
  prune(beforeMs: number): void {
    this.#sql.prune.run(beforeMs);
  }
}

function prepare(database: Database) {
  return {
    find: database.prepare<Known, [string]>("SELECT state, sha256, used_at AS usedAt FROM known_hash WHERE path = ?"),
    // REPLACE: the row gets the next number.
    put: database.prepare("INSERT OR REPLACE INTO known_hash (path, state, sha256, used_at) VALUES (?, ?, ?, ?)"),
    bound: database.prepare("DELETE FROM known_hash WHERE id <= (SELECT max(id) FROM known_hash) - ?"),
    prune: database.prepare("DELETE FROM known_hash WHERE used_at < ?"),
  };
}
