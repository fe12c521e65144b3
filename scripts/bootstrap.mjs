/**
 * Runs a script of this directory under Bun, on a machine that has only Node and npm: `node scripts/bootstrap.mjs
 * scripts/build.ts [ARGUMENT...]`. What bun.lock names is installed first where it is not, by the Bun that package.json
 * pins. No lifecycle script is relied on: npm may be configured to run none, and then `node_modules/.bin/bun` is a stub
 * that only complains, while the executable in Bun's platform package works.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const lockFile = join(root, "bun.lock");
/** A copy of the bun.lock that was installed. Its text counts, not its age: a checkout makes files new. */
const installedLock = join(root, "node_modules", ".installed-bun.lock");

if (!isInstalled()) install();
run(process.argv.slice(2));

function isInstalled() {
  const installed = existsSync(installedLock) && readFileSync(installedLock, "utf8") === readFileSync(lockFile, "utf8");
  return installed && findBun(root) !== undefined;
}

function install() {
  const elsewhere = mkdtempSync(join(tmpdir(), "emx2-hpc-bun-"));
  try {
    const bun = findBun(root) ?? downloadBun(elsewhere);
    must(bun, ["install", "--frozen-lockfile"], { cwd: root });
    writeFileSync(installedLock, readFileSync(lockFile));
  } finally {
    rmSync(elsewhere, { recursive: true, force: true });
  }
}

/** npm takes the platform packages that fit this machine's system, processor and C library. */
function downloadBun(directory) {
  const { bun: version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies;
  const options = ["--ignore-scripts", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  const [command, ...before] = npm === undefined ? ["npm"] : [process.execPath, npm];
  must(command, [...before, "install", "--prefix", directory, ...options, `bun@${version}`], { cwd: directory });
  const bun = findBun(directory);
  if (bun === undefined) throw new Error(`bun ${version} has no executable that runs on this machine`);
  return bun;
}

/** Bun's own postinstall moves the executable out of the platform package; of several (glibc, musl) one runs here. */
function findBun(directory) {
  const modules = join(directory, "node_modules");
  const platforms = existsSync(join(modules, "@oven")) ? readdirSync(join(modules, "@oven")) : [];
  const moved = join(modules, "bun", "bin", "bun.exe");
  const candidates = [moved, ...platforms.map((name) => join(modules, "@oven", name, "bin", "bun"))];
  return candidates.find((file) => spawnSync(file, ["--version"], { stdio: "ignore" }).status === 0);
}

function must(command, args, options) {
  const { status, error } = spawnSync(command, args, { ...options, stdio: ["ignore", "inherit", "inherit"] });
  if (status === 0) return;
  console.error(`failed: ${[command, ...args].join(" ")}${error === undefined ? "" : `: ${error.message}`}`);
  process.exit(1);
}

function run(args) {
  const bun = findBun(root);
  const PATH = [dirname(bun), join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter);
  const child = spawn(bun, args, { cwd: root, stdio: "inherit", env: { ...process.env, PATH } });
  // A terminal sends SIGINT to the whole process group; passing it on would make it two.
  process.on("SIGINT", () => {});
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
