/**
 * All checks and tests, from the fastest to the real thing; `npm test unit contract` runs the named ones. A ring without
 * a test fails, and so does a skipped test that tests/skips.txt does not allow. The last line is always
 * `N passed, N failed`. What takes too long for every day runs only where it is named: `large`, and, without CLUSTER2=1,
 * `cluster2`.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildFailing } from "./build-failing.ts";
import { root, run, signalExitCode, stopOnSignals, stopped } from "./program.ts";
import { ci, closing, type Result, runRing, skips } from "./ring.ts";
import { allowance } from "./skips.ts";
import {
  decide,
  findApptainer,
  imagesFor,
  installSlurm,
  secondDebian,
  startCluster,
  thisMachine,
  variants,
} from "./slurm-ring.ts";

const withSecondCluster = process.env["CLUSTER2"] === "1";
const wholeLimitMs = (withSecondCluster ? 36 : 24) * 60_000;
const slurmTestTimeoutMs = 120_000;
/** These mostly wait too; more at once would play too slowly where there are two processors. */
const filesOfIntegrationAtOnce = 2;
/** Most of these wait, some of them for minutes. */
const faultsAtOnce = 8;
/** As tests/skips.txt calls the tests of the Slurm ring that run jobs in images. */
const imageTests = "slurm: images";
/** What tests/integration/large.test.ts plays in small. */
const inFull = { EMX2_TEST_LARGE_BYTES: String(4 * 1024 ** 3), EMX2_TEST_LARGE_FILES: "10000" };
/** In characters, of a line that tells of a ring as a whole. */
const longestLine = 100;
const failure: Result = { passed: 0, failed: 1, skipped: [] };
const reports = mkdtempSync(join(tmpdir(), "emx2-hpc-test-"));

/** In this order; of what stands side by side, faults mostly wait, for minutes, and leave room. */
const course = [
  [["format", "lint", "types", "unit", "contract", "build"]],
  [["integration"], ["fault", "simulation"]],
  [["smoke", "slurm", "large", "cluster2"]],
] as const;
type Step = (typeof course)[number][number][number];

const steps: Readonly<Record<Step, () => Promise<Result>>> = {
  format: () => check("biome", "check", "--linter-enabled=false"),
  lint: () => check("biome", "lint", "--error-on-warnings"),
  types: () => check("tsc", "-p", "."),
  unit: () => runRing({ directory: "tests/unit" }, reports),
  contract: () => runRing({ directory: "tests/contract" }, reports),
  build: () => check("bun", "scripts/build.ts"),
  integration: () =>
    runRing(
      {
        directory: "tests/integration",
        without: "tests/integration/slurm/**",
        filesAtOnce: filesOfIntegrationAtOnce,
        playsInRealTime: true,
      },
      reports,
    ),
  fault,
  simulation: () => runRing({ directory: "tests/simulation" }, reports),
  smoke: () => runRing({ directory: "tests/smoke" }, reports),
  slurm,
  large: () => runRing({ directory: "tests/integration/large.test.ts", env: inFull }, reports),
  cluster2,
};
const everyDay = course.flat(2).filter((name) => name !== "large" && (name !== "cluster2" || withSecondCluster));
/** These run the compiled executable. */
const needBuild = ["integration", "fault", "smoke", "slurm", "large"];

process.exitCode = await main(process.argv.slice(2));

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter((name) => !(name in steps));
  if (unknown.length > 0) {
    console.error(`no such ring: ${unknown.join(", ")}; there are ${Object.keys(steps).join(", ")}`);
    return 2;
  }
  const chosen = new Set<string>(names.length === 0 ? everyDay : names);
  if (needBuild.some((name) => chosen.has(name))) chosen.add("build");
  stopOnSignals(wholeLimitMs);
  try {
    const results: Result[] = [];
    const runInTurn = async (names: readonly Step[]) => {
      for (const name of names) if (chosen.has(name)) results.push(await timed(name, steps[name]));
    };
    for (const sideBySide of course) await Promise.all(sideBySide.map(runInTurn));
    return conclude(results);
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
}

async function timed(name: string, step: () => Promise<Result>): Promise<Result> {
  const start = performance.now();
  const result = await step().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    return failure;
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const skipped = result.skipped.length === 0 ? "" : `, ${result.skipped.length} skipped`;
  console.log(`== ${name.padEnd(11)} ${result.passed} passed, ${result.failed} failed${skipped} (${seconds} s)`);
  return result;
}

function conclude(results: readonly Result[]): number {
  for (const { what, why } of results.flatMap((result) => result.skipped)) console.log(`skipped: ${what}: ${why}`);
  for (const name of results.flatMap((result) => result.unsteady ?? []))
    console.log(`passed at the second try: ${name}`);
  const total = (key: "passed" | "failed") => results.reduce((sum, result) => sum + result[key], 0);
  console.log(`${total("passed")} passed, ${total("failed")} failed`);
  return signalExitCode() ?? (total("failed") === 0 ? 0 : 1);
}

async function check(...command: string[]): Promise<Result> {
  return (await run(command)) === 0 ? { passed: 1, failed: 0, skipped: [] } : failure;
}

async function fault(): Promise<Result> {
  return runRing(
    { directory: "tests/fault", concurrency: faultsAtOnce, playsInRealTime: true, env: await withFailpoints() },
    reports,
  );
}

/** How the tests find the executable with failpoints. */
async function withFailpoints(): Promise<Record<string, string>> {
  const executable = join(reports, "emx2-hpc-daemon-failing");
  if (!existsSync(executable)) await buildFailing(executable);
  return { EMX2_TEST_FAILING_EXECUTABLE: executable };
}

async function slurm(): Promise<Result> {
  const decision = decide(thisMachine());
  if (!decision.run) {
    if (allowance(skips, "slurm", ci) === undefined) throw new Error(`the Slurm ring must run here: ${decision.why}`);
    return { passed: 0, failed: 0, skipped: [{ what: "slurm", why: decision.why }] };
  }
  if (stopped()) return failure;
  if (decision.install) installSlurm();
  const apptainer = findApptainer();
  if ("why" in apptainer && allowance(skips, imageTests, ci) === undefined)
    throw new Error(`the tests of images must run here: ${apptainer.why}`);
  const failpoints = await withFailpoints();
  const results: Result[] = [];
  for (const variant of variants) {
    if (stopped()) return failure;
    await using cluster = await startCluster(variant);
    const images = "why" in apptainer ? {} : imagesFor(cluster, apptainer.program);
    const env = { ...cluster.env, ...images, ...failpoints };
    const rings = [variant, ...variant.beside.map((file) => ({ directory: file }))];
    const runs = rings.map((ring) =>
      runRing({ ...ring, timeoutMs: slurmTestTimeoutMs, playsInRealTime: true, env }, reports),
    );
    results.push(...(await Promise.all(runs)));
  }
  const total = (key: "passed" | "failed") => results.reduce((sum, result) => sum + result[key], 0);
  const without = "why" in apptainer ? [{ what: imageTests, why: apptainer.why }] : [];
  const skipped = [...without, ...results.flatMap((result) => result.skipped)];
  const unsteady = results.flatMap((result) => result.unsteady ?? []);
  return { passed: total("passed"), failed: total("failed"), skipped, unsteady };
}

/** The Slurm ring once more, in a second Debian with a later Slurm. */
async function cluster2(): Promise<Result> {
  let last = "";
  const ring = ["env", "EMX2_INSTALL_SLURM=1", "bun", "scripts/test.ts", "slurm"];
  // It ends also where this process is killed, which no signal tells it.
  const withThisProcess = ["setpriv", "--pdeathsig", "KILL"];
  const exitCode = await run(
    [...withThisProcess, secondDebian.script, secondDebian.root, root, ...ring],
    {},
    (bytes) => {
      process.stdout.write(bytes);
      last = (last + new TextDecoder().decode(bytes)).slice(-longestLine);
    },
  );
  return closing(last, exitCode);
}
