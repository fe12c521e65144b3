/** The compiled executable as a process: started with arguments and an environment, listened to, ended by its pid. */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { systemClock } from "../../src/clock.ts";

/** Another user to run as, where the test runs as root. */
export interface Account {
  readonly user: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

export interface StartOptions {
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly as?: Account;
  /** Ends itself there: the executable with failpoints is started (tests/fault/failpoint.ts). */
  readonly failpoint?: string;
}

export interface Program {
  readonly pid: number;
  /** What it has printed so far. */
  stdout(): string;
  stderr(): string;
  /** undefined: it runs. Ended by signal N: 128 + N. */
  exitCode(): number | undefined;
  kill(signal?: NodeJS.Signals): void;
  /** Waits for its end, and throws if there is none in time. */
  ended(boundMs?: number): Promise<Ended>;
  /** The most memory that it ever held, in bytes. */
  peakBytes(): number;
  /** What it has read so far from files and sockets, and from disks alone. */
  readBytes(): { readonly all: number; readonly disk: number };
  /** Processor time so far, without that of its children. */
  cpuSeconds(): number;
}

export interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly afterMs: number;
}

const usualEndMs = 20_000;
/** Of /proc on every Linux of today (USER_HZ). */
const ticksPerSecond = 100;
const signalNumbers: Readonly<Record<string, number>> = { SIGKILL: 9, SIGTERM: 15, SIGINT: 2, SIGHUP: 1, SIGPIPE: 13 };

/** `$EMX2_TEST_EXECUTABLE`, or what the build makes. */
export function executable(): string {
  const { EMX2_TEST_EXECUTABLE: named } = process.env;
  const path = named || resolve(import.meta.dir, "../../dist/emx2-hpc-daemon");
  if (!existsSync(path)) throw new Error(`${path} does not exist: build it first (npm run build)`);
  return path;
}

/** `$EMX2_TEST_FAILING_EXECUTABLE`, made by scripts/build-failing.ts. */
export function failingExecutable(): string {
  const { EMX2_TEST_FAILING_EXECUTABLE: path } = process.env;
  if (!path) throw new Error("EMX2_TEST_FAILING_EXECUTABLE names no executable: bun scripts/build-failing.ts FILE");
  return path;
}

export function startProgram(args: readonly string[], { env, cwd, as, failpoint }: StartOptions): Program {
  const program = failpoint === undefined ? executable() : failingExecutable();
  const prefix = as ? ["setpriv", `--reuid=${as.uid}`, `--regid=${as.gid}`, "--clear-groups", "--"] : [];
  const begun = systemClock.mono();
  const child = Bun.spawn([...prefix, program, ...args], {
    env: { ...env, ...(failpoint === undefined ? {} : { EMX2_FAILPOINT: failpoint }) },
    cwd,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const stdout = listen(child.stdout);
  const stderr = listen(child.stderr);
  const codeOf = () =>
    child.exitCode ?? (child.signalCode === null ? undefined : 128 + (signalNumbers[child.signalCode] ?? 0));
  return {
    pid: child.pid,
    stdout: stdout.text,
    stderr: stderr.text,
    exitCode: codeOf,
    kill: (signal = "SIGTERM") => child.kill(signal),
    async ended(boundMs = usualEndMs) {
      const late = new AbortController();
      const bound = systemClock.sleep(boundMs, late.signal).then(
        () => "late",
        () => "over",
      );
      const first = await Promise.race([child.exited, bound]);
      late.abort();
      if (first === "late") throw new Error(`${args.join(" ")}: no end within ${boundMs} ms\n${stderr.text()}`);
      // A job of the shell backend may hold nothing of ours, so that both streams end with the process.
      await Promise.all([stdout.closed, stderr.closed]);
      const afterMs = systemClock.mono() - begun;
      return { exitCode: codeOf() ?? -1, stdout: stdout.text(), stderr: stderr.text(), afterMs };
    },
    peakBytes() {
      const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1];
      return Number(kilobytes) * 1_024;
    },
    readBytes() {
      const io = readFileSync(`/proc/${child.pid}/io`, "utf8");
      const bytes = (key: string) => Number(new RegExp(`^${key}: (\\d+)$`, "m").exec(io)?.[1]);
      return { all: bytes("rchar"), disk: bytes("read_bytes") };
    },
    cpuSeconds() {
      const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
      const [user, system] = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .slice(11, 13);
      return (Number(user) + Number(system)) / ticksPerSecond;
    },
  };
}

function listen(stream: ReadableStream<Uint8Array>): { text(): string; readonly closed: Promise<void> } {
  const decoder = new TextDecoder();
  let text = "";
  const read = async () => {
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
  };
  return { text: () => text, closed: read() };
}
