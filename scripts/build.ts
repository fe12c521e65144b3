/** Builds dist/emx2-hpc-daemon: one executable with the runtime, the program and its shell script inside. */
import { join } from "node:path";
import { version } from "../package.json";

const root = join(import.meta.dir, "..");

if (import.meta.main) process.exitCode = build();

/** Returns the exit code of the build. */
export function build(): number {
  const { exitCode } = Bun.spawnSync([process.execPath, ...buildArguments()], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  return exitCode;
}

function buildArguments(): string[] {
  return [
    "build",
    "--compile",
    "--minify",
    // The class names of errors are printed and compared.
    "--keep-names",
    "--sourcemap",
    "--bytecode",
    "--format=esm",
    // Both are read from the working directory, and a bunfig's `preload` runs code.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    "--define",
    `BUILD_VERSION=${JSON.stringify(version)}`,
    "--define",
    `BUILD_COMMIT=${JSON.stringify(commit())}`,
    "src/main.ts",
    "--outfile",
    "dist/emx2-hpc-daemon",
  ];
}

/** The commit that is checked out, marked where the tree differs from it; "unknown" in a tree without history. */
function commit(): string {
  if (git("rev-parse", "--show-prefix") !== "") return "unknown";
  const head = git("rev-parse", "--short=12", "HEAD");
  if (head === undefined) return "unknown";
  return git("status", "--porcelain") === "" ? head : `${head}-dirty`;
}

function git(...args: string[]): string | undefined {
  if (Bun.which("git") === null) return undefined;
  const { success, stdout } = Bun.spawnSync(["git", "-C", root, ...args], { stderr: "ignore" });
  return success ? stdout.toString().trim() : undefined;
}
