/**
 * The program as if its host's clock were set wrong: an executable of the same sources, which starts by moving its own
 * wall clock (all of the program reads it in one place). Slurm's commands, and so the cluster, keep the machine's.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../../package.json";

export interface MovedClock extends Disposable {
  /** Of programs whose clock this is. */
  readonly env: Readonly<Record<string, string>>;
  /** For programs that start from now on, in seconds ahead of this machine. */
  set(seconds: number): void;
}

/** Until it is disposed of, the tests start this executable. */
export async function moveClock(): Promise<MovedClock> {
  // Not TMPDIR, which may be closed to the ordinary user.
  const dir = mkdtempSync("/tmp/emx2-clock-");
  chmodSync(dir, 0o755);
  const [program, file] = [join(dir, "emx2-hpc-daemon"), join(dir, "seconds")];
  await Bun.build({
    entrypoints: [join(import.meta.dir, "moved-clock-main.ts")],
    compile: { outfile: program, autoloadDotenv: false, autoloadBunfig: false },
    define: { BUILD_VERSION: JSON.stringify(version), BUILD_COMMIT: '"moved-clock"' },
  });
  const { EMX2_TEST_EXECUTABLE: usual } = process.env;
  process.env["EMX2_TEST_EXECUTABLE"] = program;
  return {
    env: { EMX2_TEST_CLOCK_FILE: file },
    set: (seconds) => writeFileSync(file, `${seconds}\n`),
    [Symbol.dispose]() {
      if (usual === undefined) delete process.env["EMX2_TEST_EXECUTABLE"];
      else process.env["EMX2_TEST_EXECUTABLE"] = usual;
      rmSync(dir, { recursive: true });
    },
  };
}
