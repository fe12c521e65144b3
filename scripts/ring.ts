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
  /** Failed, and passed when they were run once more. */
  unsteady?: readonly string[];
}

export interface Ring {
  directory: string;
  /** A glob of test files that belong to another ring. */
  without?: string | undefined;
  timeoutMs?: number;
  /** How many of a file's concurrent tests run at a time; left out: Bun's 20. */
  concurrency?: number;
  /** Files at a time, each in a process of its own; left out: all in one, one after the other. */
  filesAtOnce?: number;
  /** Its tests play on real processes and real time, where a busy machine can fail what is right. */
  playsInRealTime?: boolean;
  env?: Record<string, string>;
}

export interface Judged extends Result {
  /** Full names of the tests that failed. */
  names: readonly string[];
  unallowed: readonly string[];
}

export const ci = process.env["CI"] === "true";
export const skips = readSkips(readFileSync(join(root, "tests/skips.txt"), "utf8"));

const testTimeoutMs = 30_000;
/** More than this is no busy machine. */
const mostFilesAgain = 2;

/** Where it plays in real time, the files that failed are run once more, and what passes only then is named. */
export async function runRing(ring: Ring, reports: string): Promise<Result> {
  const report = join(reports, `${ring.directory.replaceAll("/", "-")}.xml`);
  const first = await runTests(ring, [ring.directory], report);
  const files = [...new Set(first.names.map((name) => name.slice(0, name.indexOf(" > "))))];
  if (!ring.playsInRealTime || files.length === 0 || files.length > mostFilesAgain) return first;
  console.error(`once more: ${files.join(", ")}`);
  return together(first, await runTests({ ...ring, without: undefined }, files, `${report}-again`));
}

/** `again` counts for what failed in `first`, and for nothing else. */
export function together(first: Judged, again: Judged): Result {
  const unseen = first.failed - first.names.length;
  const failed = again.names.length + Math.max(unseen, again.failed - again.names.length);
  const unsteady = first.names.filter((name) => !again.names.includes(name));
  return { passed: first.passed + first.failed - failed, failed, skipped: first.skipped, unsteady };
}

async function runTests(ring: Ring, paths: readonly string[], report: string): Promise<Judged> {
  const timeoutMs = ring.timeoutMs ?? testTimeoutMs;
  const flags = ["--only-failures", `--timeout=${timeoutMs}`, "--reporter=junit", `--reporter-outfile=${report}`];
  if (ring.concurrency !== undefined) flags.push(`--max-concurrency=${ring.concurrency}`);
  if (ring.filesAtOnce !== undefined) flags.push(`--parallel=${ring.filesAtOnce}`);
  if (ring.without !== undefined) flags.push(`--path-ignore-patterns=${ring.without}`);
  const exitCode = await run(["bun", "test", ...flags, ...paths.map((path) => `./${path}`)], ring.env);
  const judged = judge(exitCode, existsSync(report) ? readFileSync(report, "utf8") : "", skips, ci);
  for (const name of judged.unallowed) console.error(`skipped, and tests/skips.txt does not allow it here: ${name}`);
  return judged;
}

/** What counts as failed beside failed tests: a skip without leave, a crash, a file that does not load, no test at all. */
export function judge(exitCode: number, junit: string, skips: readonly Skip[], ci: boolean): Judged {
  const cases = testCases(junit);
  const ended = (how: string) => cases.filter((testCase) => testCase.ended === how).map(({ name }) => name);
  const skipped = ended("skipped").map((name) => ({ what: name, why: allowance(skips, name, ci)?.why }));
  const unallowed = skipped.filter(({ why }) => why === undefined).map(({ what }) => what);
  const names = ended("failed");
  const failed = names.length + unallowed.length;
  const unseen = failed === 0 && (exitCode !== 0 || cases.length === 0) ? 1 : 0;
  return {
    passed: ended("passed").length,
    failed: failed + unseen,
    skipped: skipped.flatMap(({ what, why }) => (why === undefined ? [] : [{ what, why }])),
    names,
    unallowed,
  };
}

/** Of a whole run, by the end of what it printed: where that is not the line that closes every run, it counts as failed. */
export function closing(printed: string, exitCode: number): Result {
  const [, passed, failed] = /(?:^|\n)(\d+) passed, (\d+) failed\n$/.exec(printed) ?? [];
  if (passed === undefined || failed === undefined) return { passed: 0, failed: 1, skipped: [] };
  return { passed: Number(passed), failed: Math.max(Number(failed), exitCode === 0 ? 0 : 1), skipped: [] };
}
