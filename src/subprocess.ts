/**
 * Runs a program to its end and tells everything about it in one record, of the same shape however it ended: nothing but a
 * bug throws. The environment is what is given, and nothing of ours. A child has a process group of its own; at the time-out
 * the whole group is killed.
 */
import type { Clock } from "./clock.ts";
import { errnoOf } from "./errors.ts";

export interface RunOptions {
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Of stdout and of stderr each; what comes beyond is dropped, and `truncated` says so. */
  readonly maxOutputBytes?: number;
  readonly stdin?: Uint8Array;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
  /** What an abort does to the child: `kill` it with its group, or `leave` it to end by itself, unwatched. */
  readonly onAbort?: "kill" | "leave";
  /** Told of the end, however it was. */
  readonly onCompleted?: (completed: Completed) => void;
}

export interface Completed {
  readonly argv: readonly string[];
  /** null: it did not exit by itself, or never started. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
  readonly aborted: boolean;
  /** Why it could not be started, such as `ENOENT` (also for a working directory that is not there) or `EACCES`. */
  readonly spawnError: string | null;
  readonly truncated: boolean;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

const defaultMaxOutputBytes = 1_000_000;
/** How long pipes that a grandchild keeps open are read on after the child's end. */
const drainMs = 1_000;
/** How long a killed child is waited for. */
const killedMs = 5_000;

export async function run(argv: readonly string[], options: RunOptions): Promise<Completed> {
  const completed = await runToEnd(argv, options);
  options.onCompleted?.(completed);
  return completed;
}

async function runToEnd(argv: readonly string[], options: RunOptions): Promise<Completed> {
  const { clock, signal } = options;
  const startedAt = clock.mono();
  const blank = { argv, exitCode: null, signal: null, timedOut: false, aborted: false, spawnError: null } as const;
  const nothing = { truncated: false, stdout: "", stderr: "" };
  if (signal?.aborted) return { ...blank, ...nothing, aborted: true, durationMs: 0 };

  const child = spawn(argv, options);
  if (typeof child === "string")
    return { ...blank, ...nothing, spawnError: child, durationMs: clock.mono() - startedAt };

  const limit = options.maxOutputBytes ?? defaultMaxOutputBytes;
  const stdout = collect(child.stdout, limit);
  const stderr = collect(child.stderr, limit);
  const ended = Promise.all([child.exited, settledWithin(Promise.all([stdout.closed, stderr.closed]), child, clock)]);
  const end = await firstOf(ended, clock, options.timeoutMs, signal);
  const leave = end === "aborted" && options.onAbort === "leave";
  if (leave) child.unref();
  else if (end !== "ended") {
    killGroup(child.pid);
    // What hangs in the kernel (a dead mount) does not even die.
    if (!(await within(killedMs, child.exited, clock))) child.unref();
  }
  stdout.stop();
  stderr.stop();
  return {
    ...blank,
    exitCode: leave ? null : child.exitCode,
    signal: leave || child.signalCode === null ? null : String(child.signalCode),
    timedOut: end === "timedOut",
    aborted: end === "aborted",
    truncated: stdout.truncated() || stderr.truncated(),
    stdout: stdout.text(),
    stderr: stderr.text(),
    durationMs: clock.mono() - startedAt,
  };
}

/** Exit code 0, in time, nothing cut off. */
export function succeeded(completed: Completed): boolean {
  return completed.exitCode === 0 && !completed.timedOut && !completed.aborted && !completed.truncated;
}

/** What went wrong, in one line: `squeue: exit 1: slurm_load_jobs error: …`. */
export function failureLine(completed: Completed): string {
  const program = completed.argv[0]?.split("/").pop() ?? "program";
  const stderr = completed.stderr.trim().split("\n").slice(0, 3).join("; ").slice(0, 500);
  return `${program}: ${endOf(completed)}${stderr === "" ? "" : `: ${stderr}`}`;
}

function endOf({ spawnError, timedOut, aborted, signal, exitCode, truncated, durationMs }: Completed): string {
  if (spawnError === "ENOENT") return "not found";
  if (spawnError !== null) return `could not be started (${spawnError})`;
  if (timedOut) return `no answer within ${Math.round(durationMs / 1000)} s`;
  if (aborted) return "given up";
  if (signal !== null) return `killed by ${signal}`;
  return exitCode === 0 && truncated ? "more output than expected" : `exit ${exitCode}`;
}

type Child = Bun.Subprocess<Uint8Array | "ignore", "pipe", "pipe">;

/** Bun throws ENOENT and EACCES at once, as errors with a code. */
function spawn(argv: readonly string[], { env, cwd, stdin }: RunOptions): Child | string {
  try {
    return Bun.spawn([...argv], {
      env,
      ...(cwd === undefined ? {} : { cwd }),
      stdin: stdin ?? "ignore",
      stdout: "pipe",
      stderr: "pipe",
      detached: true,
    });
  } catch (error) {
    const code = errnoOf(error) ?? notOnPath(error);
    if (code === undefined) throw error;
    return code;
  }
}

/** Of a name that PATH does not lead to, Bun (1.4.5) says ENOENT without a system call. */
function notOnPath(error: unknown): "ENOENT" | undefined {
  return error instanceof Error && "code" in error && error.code === "ENOENT" ? "ENOENT" : undefined;
}

function firstOf(
  ended: Promise<unknown>,
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<"ended" | "timedOut" | "aborted"> {
  return new Promise((resolve, reject) => {
    const callOff = clock.timer(timeoutMs, () => settle("timedOut"));
    const onAbort = () => settle("aborted");
    const settle = (how: "ended" | "timedOut" | "aborted") => {
      callOff();
      signal?.removeEventListener("abort", onAbort);
      resolve(how);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    ended.then(() => settle("ended"), reject);
  });
}

/** Resolves when the pipes are closed, or `drainMs` after the child's end. */
async function settledWithin(closed: Promise<unknown>, child: Child, clock: Clock): Promise<void> {
  await Promise.race([closed, child.exited.then(() => within(drainMs, closed, clock))]);
}

/** False: it has not settled in time. */
function within(ms: number, work: Promise<unknown>, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const callOff = clock.timer(ms, () => resolve(false));
    void work.then(() => {
      callOff();
      resolve(true);
    });
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

function collect(stream: ReadableStream<Uint8Array>, maxBytes: number) {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const reader = stream.getReader();
  const read = async () => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const room = Math.max(0, maxBytes - bytes);
      if (room > 0) chunks.push(next.value.subarray(0, room));
      bytes += next.value.byteLength;
    }
  };
  return {
    closed: read().catch(() => undefined),
    stop: () => void reader.cancel().catch(() => undefined),
    truncated: () => bytes > maxBytes,
    text: () => Buffer.concat(chunks).toString("utf8"),
  };
}
