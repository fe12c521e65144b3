/** One ring of tests: `bun test` over a directory, and what its report says. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { testCases } from "./junit.ts";
import { root, run } from "./program.ts";
import { allowance, readSkips, type Skip } from "./skips.ts";

export interface Result {
  passed: number;
  failed: number;
  skipped: readonly { what: string; why: string }[];
}

export interface Ring {
  directory: string;
  /** A glob of test files that belong to another ring. */
  without?: string;
  timeoutMs?: number;
  /** How many of a file's concurrent tests run at a time; left out: Bun's 20. */
  concurrency?: number;
  env?: Record<string, string>;
}

export const ci = process.env["CI"] === "true";
export const skips = readSkips(readFileSync(join(root, "tests/skips.txt"), "utf8"));

const testTimeoutMs = 30_000;

export async function runRing(ring: Ring, reports: string): Promise<Result> {
  const report = join(reports, `${ring.directory.replaceAll("/", "-")}.xml`);
  const timeoutMs = ring.timeoutMs ?? testTimeoutMs;
  const flags = ["--only-failures", `--timeout=${timeoutMs}`, "--reporter=junit", `--reporter-outfile=${report}`];
  if (ring.concurrency !== undefined) flags.push(`--max-concurrency=${ring.concurrency}`);
  if (ring.without !== undefined) flags.push(`--path-ignore-patterns=${ring.without}`);
  const exitCode = await run(["bun", "test", ...flags, `./${ring.directory}`], ring.env);
  const { unallowed, ...result } = judge(exitCode, existsSync(report) ? readFileSync(report, "utf8") : "", skips, ci);
  for (const name of unallowed) console.error(`skipped, and tests/skips.txt does not allow it here: ${name}`);
  return result;
}

/** What counts as failed beside failed tests: a skip without leave, a crash, a file that does not load, no test at all. */
export function judge(
  exitCode: number,
  junit: string,
  skips: readonly Skip[],
  ci: boolean,
): Result & { unallowed: readonly string[] } {
  const cases = testCases(junit);
  const ended = (how: string) => cases.filter((testCase) => testCase.ended === how).map(({ name }) => name);
  const skipped = ended("skipped").map((name) => ({ what: name, why: allowance(skips, name, ci)?.why }));
  const unallowed = skipped.filter(({ why }) => why === undefined).map(({ what }) => what);
  const failed = ended("failed").length + unallowed.length;
  const unseen = failed === 0 && (exitCode !== 0 || cases.length === 0) ? 1 : 0;
  return {
    passed: ended("passed").length,
    failed: failed + unseen,
    skipped: skipped.flatMap(({ what, why }) => (why === undefined ? [] : [{ what, why }])),
    unallowed,
  };
}
