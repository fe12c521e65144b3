/** The executable by itself: an empty home and working directory, and nothing in its environment but the way to programs. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Ended, startProgram } from "../integration/program.ts";

export interface Alone extends Disposable {
  readonly dir: string;
  /** Writes a file below the directory and returns its path. */
  write(name: string, content: string, mode?: number): string;
  run(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended>;
}

const boundMs = 20_000;

export function alone(): Alone {
  const dir = mkdtempSync(join(tmpdir(), "emx2-alone-"));
  const home = join(dir, "home");
  mkdirSync(home);
  const { PATH = "/usr/bin:/bin" } = process.env;
  return {
    dir,
    write(name, content, mode = 0o600) {
      const path = join(dir, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
      chmodSync(path, mode);
      return path;
    },
    run: (args, env = {}) => startProgram(args, { env: { PATH, HOME: home, ...env }, cwd: dir }).ended(boundMs),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}
