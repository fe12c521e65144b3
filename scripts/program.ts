/** Runs the programs that checks and tests consist of, so that one signal, or the time limit, ends them all. */
import { constants } from "node:os";
import { join } from "node:path";

export const root = join(import.meta.dir, "..");

const stop = new AbortController();
let signal: NodeJS.Signals | undefined;

/** From now on, a first signal or the end of `limitMs` stops what runs and refuses what would; the caller cleans up. */
export function stopOnSignals(limitMs: number): void {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      signal ??= name;
      stop.abort();
    });
  }
  const overdue = () => {
    console.error(`stopped: not done after ${limitMs / 60_000} minutes`);
    stop.abort();
  };
  setTimeout(overdue, limitMs).unref();
}

export const stopped = () => stop.signal.aborted;

/** As a shell shows it; undefined where no signal came. */
export const signalExitCode = () => (signal === undefined ? undefined : 128 + constants.signals[signal]);

/** Returns the exit code. The program gets a group of its own, which is ended as a whole. `onOutput`: hears what it prints. */
export async function run(
  command: readonly string[],
  env: Record<string, string> = {},
  onOutput?: (bytes: Uint8Array) => void,
): Promise<number> {
  if (stopped()) return 1;
  const child = Bun.spawn([...command], {
    cwd: root,
    stdio: ["ignore", onOutput ? "pipe" : "inherit", "inherit"],
    env: { ...withoutProxy(process.env), ...env },
    detached: true,
  });
  const end = () => process.kill(-child.pid, "SIGKILL");
  stop.signal.addEventListener("abort", end);
  if (onOutput && child.stdout) for await (const bytes of child.stdout) onOutput(bytes);
  const exitCode = await child.exited;
  stop.signal.removeEventListener("abort", end);
  return exitCode;
}

/** Bun sends to HTTP_PROXY even what is meant for loopback, and the tests talk to nothing else. */
function withoutProxy(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^https?_proxy$/i.test(name)));
}
