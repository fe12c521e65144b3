/** The executable on a terminal of a given width, by `script` of bsdutils: what a person would have got to see. */
import { systemClock } from "../../src/clock.ts";
import { executable } from "./program.ts";

export interface Shown {
  readonly exitCode: number;
  /** With every control sequence. */
  readonly raw: string;
  /** Lines without colours. */
  readonly lines: readonly string[];
}

const boundMs = 40_000;

/** `command`: sh, in which `$X` is the executable; both of its streams are the terminal unless it sends them elsewhere. */
export async function onTerminal(
  command: string,
  options: { readonly columns?: number; readonly env?: Readonly<Record<string, string>>; readonly cwd: string },
): Promise<Shown> {
  const { columns = 80, env = {}, cwd } = options;
  const { PATH = "/usr/bin:/bin" } = process.env;
  const child = Bun.spawn(["script", "-qec", `stty cols ${columns}; ${command}`, "/dev/null"], {
    env: { PATH, HOME: cwd, TERM: "xterm-256color", SHELL: "/bin/sh", TMPDIR: cwd, X: executable(), ...env },
    cwd,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const callOff = systemClock.timer(boundMs, () => child.kill("SIGKILL"));
  const raw = await new Response(child.stdout).text();
  const exitCode = await child.exited;
  callOff();
  const lines = Bun.stripANSI(raw)
    .split(/\r?\n/)
    .filter((line) => line !== "");
  return { exitCode, raw, lines };
}
