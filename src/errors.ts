/**
 * Faults that some caller treats differently, one class each. Expected outcomes are values in a union and not here;
 * whatever else is thrown is a bug of ours (stack trace, exit 70).
 */

/** The configuration cannot be used (exit 78). Carries every problem that was found, not just the first. */
export class ConfigError extends Error {
  override name = "ConfigError";
  constructor(readonly problems: readonly ConfigProblem[]) {
    super(problems.map(formatProblem).join("\n"));
  }
}

/** One fault in the configuration: where it is, what is wrong, what would be right. Lines and columns count from 1. */
export interface ConfigProblem {
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  /** Dotted path of the key, such as `worker.poll_interval_seconds`. */
  readonly path?: string;
  readonly message: string;
  readonly hint?: string;
}

export function formatProblem(problem: ConfigProblem): string {
  const where = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(":");
  const key = problem.path ? `${problem.path}: ` : "";
  const hint = problem.hint ? ` (${problem.hint})` : "";
  return `${where}${where ? ": " : ""}${key}${problem.message}${hint}`;
}

/** A refusal of the operating system (no space, no right, stale file handle), or the StorageError that stands for one. */
export function isSystemError(error: unknown): error is Error & { readonly code: string; readonly syscall: unknown } {
  return error instanceof Error && "code" in error && "syscall" in error && typeof error.code === "string";
}

/** The system's word for what went wrong (ENOENT, ENOSPC, ESTALE …); undefined where it was not the system. */
export function errnoOf(error: unknown): string | undefined {
  return isSystemError(error) ? error.code : undefined;
}

const meanings: Readonly<Record<string, string>> = {
  EACCES: "this user has no right to it",
  EDQUOT: "the disk quota is used up",
  EEXIST: "something else stands there",
  EFBIG: "the file is larger than the file system or the process limit (ulimit -f) allows",
  EIO: "the disk or the network file system failed",
  EISDIR: "a directory stands where a file should be",
  ELOOP: "a symbolic link stands in the way, or leads back to itself",
  EMFILE: "too many files are open in this process (ulimit -n)",
  ENAMETOOLONG: "the name is too long",
  ENOENT: "it is not there",
  ENOSPC: "no space is left on the file system",
  ENOTDIR: "something that is no directory stands where one should be",
  EPERM: "the system does not allow it",
  EROFS: "the file system is read-only",
  ESTALE: "the network file system has lost the file (stale handle)",
};

/** A refusal of the operating system in an operator's words, and the system's own to search for. */
export function meaningOf(code: string): string {
  return `${meanings[code] ?? "the system refused"} (${code})`;
}

/** What a failing file system has said, in our words: a StorageError has them already. */
export function storageFault(error: Error & { readonly code: string }): string {
  return error instanceof StorageError ? error.message : meaningOf(error.code);
}

/** EMX2 answered, and the answer is no (any status outside 2xx), or not what the protocol allows. */
export class ApiError extends Error {
  override name = "ApiError";
  constructor(
    message: string,
    readonly answer: {
      /** HTTP status; 200 where a success had a body that is not what the protocol says. */
      readonly status: number;
      readonly method: string;
      readonly path: string;
      readonly form?: RefusalForm;
      readonly title?: string;
      readonly detail?: string;
      readonly requestId?: string;
      /** What `Retry-After` asked for, in milliseconds. */
      readonly retryAfterMs?: number;
      /** A 401 that our clock explains: its offset from the server's, in seconds (positive: ours is ahead). */
      readonly clockOffsetS?: number;
      /** A success that is a web page: it was not EMX2 that answered. */
      readonly isPage?: true;
      /** What was sent is too long: for EMX2 or a proxy before it, which may say how long it may be. */
      readonly tooLarge?: { readonly limitBytes?: number };
    },
  ) {
    super(message);
  }
}

/**
 * How EMX2 itself says no: a problem document, the `errors` of its web framework, a HEAD's 404, which is `bare`. `unsent`: we
 * said it. `posix`: a redirect to a file on the cluster, of which EMX2 has no content. Absent where it was not EMX2 that
 * spoke (a proxy's page, an empty body, other JSON), or can not be told.
 */
export type RefusalForm = "problem" | "errors" | "bare" | "unsent" | "posix";

/** No complete answer came: refused, reset, timed out, cut off, untrusted. */
export class NetworkError extends Error {
  override name = "NetworkError";
  constructor(
    message: string,
    readonly failure: {
      readonly code: string;
      readonly method: string;
      readonly path: string;
      /** False only where the request can not have reached the server (name unknown, connection refused, TLS refused). */
      readonly maybeDelivered: boolean;
    },
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A program could not be started, failed, or did not end in time. */
export class SubprocessError extends Error {
  override name = "SubprocessError";
  constructor(
    message: string,
    readonly run: {
      readonly argv: readonly string[];
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly timedOut: boolean;
      readonly stderrTail: string;
    },
  ) {
    super(message);
  }
}

/** A Slurm command succeeded and printed what no version that we know prints. */
export class SchedulerOutputError extends Error {
  override name = "SchedulerOutputError";
  constructor(
    message: string,
    readonly output: { readonly argv: readonly string[]; readonly line: string },
  ) {
    super(message);
  }
}

/** Bytes are not what their hash or size says. `expected` and `actual` are SHA-256 in lower-case hex, or sizes in bytes. */
export class IntegrityError extends Error {
  override name = "IntegrityError";
  constructor(
    message: string,
    readonly mismatch: {
      readonly what: string;
      readonly expected: string;
      readonly actual: string;
      /** Of what was got, where its size is wrong and its hash is known all the same. */
      readonly sha256?: string;
    },
  ) {
    super(message);
  }
}

/**
 * The file system of a job directory can not take or give what was asked of it: full, over quota, gone, hung, refused.
 * Reads like the system error that it stands for (`code`, `syscall`).
 */
export class StorageError extends Error {
  override name = "StorageError";
  /** The system's word, such as ENOSPC, EDQUOT, ESTALE, EACCES; ETIMEDOUT where no answer came. */
  readonly code: string;
  /** What was being done. */
  readonly syscall: string;
  readonly path: string;
  /**
   * It lies in the files themselves (a name that EMX2 can not take, a directory of somebody else): trying again changes
   * nothing.
   */
  readonly permanent: boolean;
  constructor(
    message: string,
    failure: { readonly code: string; readonly syscall: string; readonly path: string; readonly permanent?: boolean },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = failure.code;
    this.syscall = failure.syscall;
    this.path = failure.path;
    this.permanent = failure.permanent ?? false;
  }
}

/** The state directory (journal, lock, snapshot) can not be used. Everything recorded before is still there. */
export class StateError extends Error {
  override name = "StateError";
  constructor(
    message: string,
    readonly state: {
      readonly path: string;
      readonly reason: "full" | "busy" | "newer" | "damaged" | "unusable" | "lost";
    },
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
