/**
 * The journal: everything that happened, in the order in which it happened. One record is one event with all that follows
 * from it (the job's new shape, an intent or its result, file rows), in one transaction: after a crash either all of it is
 * there or none.
 *
 * Two classes of durability. A durable record is on disk before the call returns. Lossy ones wait for company: an fsync
 * for each of ten thousand files would stop the event loop for seconds. Order is kept, since whatever writes takes the
 * waiting ones along first.
 */
import type { Database } from "bun:sqlite";
import type { Clock } from "../clock.ts";
import { StateError } from "../errors.ts";
import type { Effect, FileRole, FileRow, JobEvent, Result } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
import { excerptOf } from "./excerpt.ts";
import { FileHashes } from "./file-hashes.ts";
import type { Hold } from "./hold.ts";
import { openDatabase, readMeta, writeMeta } from "./schema.ts";
import { stateError } from "./state-error.ts";
import { Tables } from "./tables.ts";

/** durable: fsynced before the call returns. lossy: within 100 records or a second, in order. */
export type Durability = "durable" | "lossy";

export interface Recorded {
  readonly event: JobEvent;
  /** As it is after the event. */
  readonly job: Job;
  /** The intent of an effect that starts now. */
  readonly begin?: { readonly effectId: string; readonly effect: Effect };
  /** How an effect ended whose intent was recorded before. */
  readonly end?: { readonly effectId: string; readonly result: Result };
  /** Replace the job's rows of the same role. They may be gone afterwards, so that no record with files waits. */
  readonly files?: Iterable<FileRow>;
}

/** An effect whose intent is on disk and whose end is not. */
export interface InDoubt {
  readonly jobId: JobId;
  readonly effectId: string;
  readonly effect: Effect;
}

/** Beside these, `meta` holds the journal's own keys. */
export type KeptName = "holds" | "leftovers" | "unknown-jobs" | "unknown-leftovers";

interface JournalOptions {
  readonly clock: Clock;
  /** The program's version, kept so that an older one can say who wrote a schema that it does not know. */
  readonly version?: string;
  /** What keeps others out of it; absent: nobody else can know it. */
  readonly hold?: Pick<Hold, "check" | "hasLock" | "wasForeign">;
}

const maxPendingRecords = 100;
const flushDelayMs = 1_000;

/** `source`: the path of the file, `:memory:`, or what `serialize` gave (a journal in memory that goes on from there). */
export function openJournal(source: string | Uint8Array, options: JournalOptions): Journal {
  const path = typeof source === "string" ? source : ":memory:";
  const { hold, ...writer } = options;
  const database = openDatabase(source, { ...writer, ...hold });
  return new Journal(database, path, options.clock, hold?.check);
}

/** Every call may throw StateError; the journal is then as it was before the call. */
export class Journal {
  /** UUID of this state, made once and kept for ever. */
  readonly stateId: string;
  /** As lossy as lossy records. */
  readonly fileHashes: FileHashes;
  readonly #database: Database;
  readonly #tables: Tables;
  readonly #path: string;
  readonly #clock: Clock;
  /** Throws StateError (`lost`) once it is somebody else's: then nothing is written, nor done to the world. */
  readonly check: () => void;
  #pending: Recorded[] = [];
  #callOffFlush: (() => void) | undefined;

  constructor(database: Database, path: string, clock: Clock, check: () => void = () => {}) {
    this.#database = database;
    this.check = check;
    this.#tables = new Tables(database);
    this.fileHashes = new FileHashes(database, clock, () => this.#flushSoon());
    this.#path = path;
    this.#clock = clock;
    this.stateId = readMeta(database, "state") ?? "";
  }

  /** Jobs in the order in which they came, and the effects in doubt in the order in which they began. */
  load(): { jobs: Job[]; inDoubt: InDoubt[] } {
    this.flush();
    return this.#guarded(() => ({ jobs: this.#tables.jobs(), inDoubt: this.#tables.inDoubt() }));
  }

  record(entry: Recorded, durability: Durability): void {
    if (durability === "durable" || entry.files) {
      this.#commit([...this.#pending, entry]);
      return;
    }
    // Before it is taken, not after: a caller that gets an error must not find its record written later.
    if (this.#pending.length >= maxPendingRecords) this.flush();
    this.#pending.push(entry);
    this.#flushSoon();
  }

  /** At most `maxFiles` of them, the first with the index `from`. */
  files(jobId: JobId, role: FileRole, from: number, maxFiles: number): FileRow[] {
    return this.#guarded(() => this.#tables.files(jobId, role, from, maxFiles));
  }

  /** Of the input files from `index` on that are brought to the job directory. */
  inputBytesFrom(jobId: JobId, index: number): number {
    return this.#guarded(() => this.#tables.inputBytesFrom(jobId, index));
  }

  history(jobId: JobId): { at: number; event: JobEvent }[] {
    this.flush();
    return this.#guarded(() => this.#tables.history(jobId));
  }

  /** Removes the job, its effects and its files. Its events stay until they are pruned. */
  forget(jobId: JobId): void {
    this.#commit(this.#pending, () => this.#tables.forget(jobId));
  }

  /** What is to be known of all jobs together, by the name of whoever keeps it; null: nothing was kept. */
  kept(name: KeptName): string | null {
    return this.#guarded(() => readMeta(this.#database, name));
  }

  keep(name: KeptName, text: string): void {
    this.#commit(this.#pending, () => writeMeta(this.#database, name, text));
  }

  /** Writes the lossy records that wait. */
  flush(): void {
    if (this.#pending.length > 0 || this.fileHashes.isWaiting) this.#commit(this.#pending);
  }

  /** Removes events older than the one instant, and hashes that were last used before the other. */
  prune(eventsBeforeMs: number, hashesBeforeMs: number): void {
    this.#commit(this.#pending, () => {
      this.#tables.prune(eventsBeforeMs);
      this.fileHashes.prune(hashesBeforeMs);
    });
  }

  /** What is committed, as the bytes of a database: records that still wait are not in it. */
  serialize(): Uint8Array {
    return this.#guarded(() => this.#database.serialize());
  }

  /** The same of what a person looks at: jobs and their last events. `overview`: what is to be told beside them. */
  excerpt(overview?: string): Uint8Array {
    return this.#guarded(() => excerptOf(this.#database, overview === undefined ? {} : { overview }));
  }

  /** Closes even where the last records can not be written: then it throws when all is let go. */
  close(): void {
    try {
      this.flush();
    } finally {
      this.fileHashes.end();
      this.#callOffFlush?.();
      // Without `true`, prepared statements keep the connection and its lock until they are collected (Bun 1.4.5).
      this.#database.close(true);
    }
  }

  /** It is somebody else's by now: what waits to be written never is. */
  abandon(): void {
    this.#pending = [];
    this.fileHashes.end();
    this.#callOffFlush?.();
    this.#database.close(true);
  }

  /** Writes entries, the waiting ones among them, and whatever else is to happen in the same transaction. */
  #commit(entries: readonly Recorded[], also?: () => void): void {
    this.#guarded(() => {
      this.check();
      this.#database.transaction(() => {
        this.#tables.write(entries);
        this.fileHashes.write();
        also?.();
      })();
    });
    this.#pending = [];
    this.fileHashes.written();
    this.#callOffFlush?.();
    this.#callOffFlush = undefined;
  }

  #flushSoon(): void {
    this.#callOffFlush ??= this.#clock.timer(flushDelayMs, () => {
      this.#callOffFlush = undefined;
      try {
        this.flush();
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        // Nobody called, so nobody can be told: the records keep waiting, and the next call that must write fails aloud.
        this.#flushSoon();
      }
    });
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw stateError(error, this.#path);
    }
  }
}
