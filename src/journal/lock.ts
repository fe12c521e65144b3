/**
 * One instance a state directory on this host: an SQLite exclusive lock on a file that holds nothing else. The kernel
 * frees it when the process ends, however it ends, so that there is no stale lock to clear by hand.
 *
 * No other module may open the lock file: POSIX drops a process's locks on a file as soon as that process closes any
 * descriptor of it. Who holds it is therefore told in a file beside it.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { isSystemError, StateError } from "../errors.ts";
import { stateError } from "./state-error.ts";

export interface Lock {
  /** `none`: the file system refuses locks, and nobody is kept out. */
  readonly is: "kernel" | "none";
  release(): void;
  /** Lets go without a word in the directory, which may be somebody else's by now. */
  abandon(): void;
}

/** `held` says by whom, for a person to read. */
export type LockAnswer = Lock | { readonly held: string };

const retryIntervalMs = 200;
const maxHolderLength = 200;

/** Handles that hold a lock: one that is garbage collected closes its file, and the lock is gone without a word. */
const holding = new Set<Database>();

/** Makes the state directory (0700) where it is missing, and waits up to `waitMs` for its lock. Throws StateError. */
export async function acquireLock(
  stateDir: string,
  options: { readonly waitMs: number; readonly clock: Clock; readonly signal?: AbortSignal },
): Promise<LockAnswer> {
  const { waitMs, clock, signal } = options;
  makeStateDir(stateDir);
  const deadline = clock.mono() + waitMs;
  for (;;) {
    const database = tryLock(join(stateDir, "lock"));
    if (database) return locked(database, stateDir, clock);
    if (!(await worksHere(stateDir, clock))) return { is: "none", release() {}, abandon() {} };
    const leftMs = deadline - clock.mono();
    if (leftMs <= 0) return { held: readHolder(stateDir) };
    await clock.sleep(Math.min(retryIntervalMs, leftMs), signal);
  }
}

function makeStateDir(stateDir: string): void {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw stateError(error, stateDir);
  }
}

/**
 * SQLite calls a lock that is held and one that the file system does not have (ENOLCK) by one name, busy. A file that nobody
 * else knows tells them apart.
 */
async function worksHere(stateDir: string, clock: Clock): Promise<boolean> {
  const path = join(stateDir, `lock.${clock.uuid()}`);
  try {
    const database = tryLock(path);
    database?.close(true);
    return database !== null;
  } finally {
    rmSync(path, { force: true });
  }
}

/** null: somebody has it, or there are no locks. */
function tryLock(path: string): Database | null {
  let database: Database | undefined;
  try {
    database = new Database(path, { strict: true, readwrite: true, create: true });
    database.run("PRAGMA locking_mode = EXCLUSIVE");
    // Else a file beside it would be removed at the end, when the directory may be somebody else's.
    database.run("PRAGMA journal_mode = MEMORY");
    database.run("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database?.close(true);
    const fault = stateError(error, path);
    if (fault instanceof StateError && fault.state.reason === "busy") return null;
    // What else fcntl(2) may say of a file system without locks: EOPNOTSUPP, ENOSYS, EINVAL.
    if (error instanceof SQLiteError && /^SQLITE_IOERR_(RD)?LOCK$/.test(error.code ?? "")) return null;
    throw fault;
  }
}

function locked(database: Database, stateDir: string, clock: Clock): Lock {
  holding.add(database);
  const abandon = () => {
    if (holding.delete(database)) database.close(true);
  };
  const release = () => {
    if (!holding.has(database)) return;
    try {
      rmSync(holderPath(stateDir), { force: true });
    } catch (error) {
      // It is there for people, and the next holder writes its own over it.
      if (!isSystemError(error)) throw error;
    } finally {
      abandon();
    }
  };
  try {
    closeToOthers(join(stateDir, "lock"));
    writeHolder(stateDir, `process ${process.pid} on ${hostname()}, since ${new Date(clock.wall()).toISOString()}`);
  } catch (error) {
    release();
    throw stateError(error, holderPath(stateDir));
  }
  return { is: "kernel", release, abandon };
}

/** What an older version or another umask left: whoever may open it can take the lock. The mode alone is touched, by name. */
function closeToOthers(path: string): void {
  const { mode, uid } = statSync(path);
  if ((mode & 0o077) !== 0 && uid === process.geteuid?.()) chmodSync(path, 0o600);
}

function holderPath(stateDir: string): string {
  return join(stateDir, "lock.holder");
}

function writeHolder(stateDir: string, text: string): void {
  const temporary = `${holderPath(stateDir)}.new`;
  writeFileSync(temporary, `${text}\n`, { mode: 0o600 });
  renameSync(temporary, holderPath(stateDir));
}

/** The holder writes its name just after it has taken the lock, so for an instant there may be none. */
function readHolder(stateDir: string): string {
  try {
    return readFileSync(holderPath(stateDir), "utf8").trim().slice(0, maxHolderLength);
  } catch {
    return "another process that has not given its name";
  }
}
