/**
 * Worlds by their seeds: `bun run simulate --seeds N` (1 to N), `--seed S` (that one alone, with its chronicle kept),
 * `--stop-at-first`; `--part 2/4` takes each fourth seed from the second on. Of a world that breaks a promise it prints the
 * end of its chronicle, the seed, the promise, and the file that has the whole of it.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Ended, simulate } from "./world.ts";

const shownLines = 200;

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seeds: { type: "string", default: "2000" },
      part: { type: "string", default: "1/1" },
      seed: { type: "string" },
      "stop-at-first": { type: "boolean", default: false },
    },
  });
  const seeds = values.seed === undefined ? seedsOf(Number(values.seeds), values.part) : [Number(values.seed)];
  if (seeds.some((seed) => !Number.isSafeInteger(seed)) || seeds.length === 0) {
    console.error("usage: simulate [--seeds N] [--part I/OF] [--seed S] [--stop-at-first]");
    return 2;
  }
  const ends: Ended[] = [];
  for (const seed of seeds) {
    const ended = await simulate(seed);
    ends.push({ ...ended, lines: [] });
    if (ended.broken !== undefined || values.seed !== undefined) tell(ended);
    if (ended.broken !== undefined && values["stop-at-first"]) break;
  }
  const failed = ends.filter(({ broken }) => broken !== undefined).length;
  const byStatus = Map.groupBy(
    ends.flatMap(({ statuses }) => statuses),
    (status) => status,
  );
  const counts = [...byStatus].map(([status, all]) => `${all.length} ${status}`).sort();
  console.log(`${ends.length} worlds, ${failed} with a broken promise; jobs: ${counts.join(", ")}`);
  return failed === 0 ? 0 : 1;
}

function seedsOf(count: number, part: string): number[] {
  const [, first, step] = /^(\d+)\/(\d+)$/.exec(part) ?? [];
  const all = Array.from({ length: count }, (_, index) => index + 1);
  return all.filter((seed) => (seed - Number(first)) % Number(step) === 0);
}

function tell({ seed, weather, lines, broken }: Ended): void {
  const file = join(mkdtempSync(join(tmpdir(), "emx2-simulation-")), `seed-${seed}.log`);
  const faults = JSON.stringify(weather, (_, value: unknown) => (value instanceof Map ? [...value] : value));
  writeFileSync(file, `${faults}\n${lines.join("\n")}\n`);
  if (broken !== undefined) console.log(lines.slice(-shownLines).join("\n"));
  console.log(`seed ${seed}: ${broken ?? "all promises are kept"}; the whole of it: ${file}`);
}
