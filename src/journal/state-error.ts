/**
 * What SQLite's and the file system's refusals mean for the state directory, said so that an operator knows what to do.
 */
import { accessSync, constants, statSync } from "node:fs";
import { dirname } from "node:path";
import { errnoOf, meaningOf, StateError, StorageError } from "../errors.ts";

type Reason = StateError["state"]["reason"];

/**
 * A used-up quota (EDQUOT) reaches us as SQLITE_IOERR_WRITE and not as SQLITE_FULL: SQLite 3.54 knows ENOSPC alone
 * (`seekAndWrite` in os_unix.c).
 */
const reasonOf: readonly (readonly [RegExp, Reason])[] = [
  [/^(SQLITE_FULL|SQLITE_IOERR_WRITE|ENOSPC|EDQUOT)$/, "full"],
  [/^SQLITE_(BUSY|LOCKED)/, "busy"],
  [/^SQLITE_(CORRUPT|NOTADB)/, "damaged"],
  [/^(SQLITE_(IOERR|CANTOPEN|READONLY|PERM|AUTH|NOLFS)|E[A-Z0-9]+$)/, "unusable"],
];

const advice: Readonly<Record<Exclude<Reason, "unusable">, string>> = {
  full: "disk full or quota used up: make room; nothing was half written",
  busy: "another process has it open: only one daemon may use a state directory",
  newer: "use the newer version, or another worker.state_dir",
  lost: "another daemon holds it by now",
  damaged: "damaged: move the state directory aside and keep it, then compare EMX2's jobs of this worker with squeue",
};

const elsewhere = "or name another worker.state_dir";
const remedy: Readonly<Record<string, string>> = {
  EACCES: `let this user write there, ${elsewhere}`,
  EEXIST: `move it away, ${elsewhere}`,
  EISDIR: `move it away, ${elsewhere}`,
  ENOTDIR: `move it away, ${elsewhere}`,
  EROFS: `have it mounted for writing, ${elsewhere}`,
};
const usualRemedy = "check that its file system is there and that this user may write to it";

/** The StateError for what was thrown by SQLite or the file system; anything else comes back as it is. */
export function stateError(error: unknown, path: string): unknown {
  // A StorageError tells of another place already.
  if (error instanceof StorageError) return error;
  if (!(error instanceof Error) || !("code" in error) || typeof error.code === "undefined") return error;
  const code = String(error.code);
  const reason = reasonOf.find(([pattern]) => pattern.test(code))?.[1];
  if (!reason) return error;
  const text = reason === "unusable" ? unusable(code, path) : `${advice[reason]} (${code})`;
  return new StateError(`${path}: ${text}`, { path, reason }, { cause: error });
}

/** What was refused and what to do. */
function unusable(code: string, path: string): string {
  const errno = code.startsWith("SQLITE_") ? beneath(path) : code;
  if (errno === undefined) return `the database can not be used (${code}): ${usualRemedy}`;
  return `${meaningOf(errno)}: ${remedy[errno] ?? usualRemedy}`;
}

/** SQLite keeps the system's reason to itself, so the system is asked again. */
function beneath(path: string): string | undefined {
  try {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isDirectory()) return "EISDIR";
    accessSync(stats ? path : dirname(path), constants.W_OK);
    return undefined;
  } catch (error) {
    return errnoOf(error);
  }
}

export function newerSchema(path: string, found: number, known: number, writtenBy: string | null): StateError {
  const writer = writtenBy ? `version ${writtenBy}` : "a newer version";
  const message = `${path}: written by ${writer} of emx2-hpc-daemon (schema ${found}; this one knows up to ${known}): ${advice.newer}`;
  return new StateError(message, { path, reason: "newer" });
}

export function foreignFile(path: string): StateError {
  return new StateError(`${path}: a database, but not a journal of emx2-hpc-daemon: move it away`, {
    path,
    reason: "unusable",
  });
}
