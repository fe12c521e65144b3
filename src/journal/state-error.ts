/**
 * What SQLite's and the file system's refusals mean for the state directory, said so that an operator knows what to do.
 */
import { StateError } from "../errors.ts";

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

const advice: Readonly<Record<Reason, string>> = {
  full: "disk full or quota used up: make room; nothing was half written",
  busy: "another process has it open: only one daemon may use a state directory",
  newer: "use the newer version, or another worker.state_dir",
  damaged: "damaged: move the state directory aside and keep it, then compare EMX2's jobs of this worker with squeue",
  unusable: "check that the file system is there and that this user may write to it",
};

/** The StateError for what was thrown by SQLite or the file system; anything else comes back as it is. */
export function stateError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code === "undefined") return error;
  const code = String(error.code);
  const reason = reasonOf.find(([pattern]) => pattern.test(code))?.[1];
  if (!reason) return error;
  return new StateError(`${path}: ${advice[reason]} (${code}: ${error.message})`, { path, reason }, { cause: error });
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
