/**
 * Builds the executable with failpoints for the fault tests: the program, with two of its modules replaced by ones of
 * tests/fault that pass everything on to the real ones. So the program itself has no failpoint, switched off or not.
 * `bun scripts/build-failing.ts FILE` makes one by hand.
 */
import { join } from "node:path";
import type { BunPlugin } from "bun";
import { version } from "../package.json";
import { root } from "./program.ts";

interface Replacement {
  importer: string;
  specifier: string;
  by: string;
}

const replacements: readonly Replacement[] = [
  { importer: "src/daemon/assemble.ts", specifier: "./effects.ts", by: "tests/fault/failing-effects.ts" },
  { importer: "src/daemon/compose.ts", specifier: "../journal/journal.ts", by: "tests/fault/failing-journal.ts" },
];

if (import.meta.main) await buildFailing(process.argv[2] ?? "");

export async function buildFailing(outfile: string): Promise<void> {
  const unused = new Set(replacements);
  await Bun.build({
    entrypoints: [join(root, "src/main.ts")],
    compile: { outfile, autoloadDotenv: false, autoloadBunfig: false },
    define: { BUILD_VERSION: JSON.stringify(version), BUILD_COMMIT: '"failpoints"' },
    plugins: [replacing((used) => unused.delete(used))],
  });
  for (const { importer, specifier } of unused)
    throw new Error(`${importer} does not import ${specifier} any more: the executable would have no failpoint there`);
}

function replacing(onUse: (used: Replacement) => void): BunPlugin {
  return {
    name: "failpoints",
    setup(build) {
      build.onResolve({ filter: /\/(effects|journal)\.ts$/ }, ({ importer, path }) => {
        const found = replacements.find((known) => join(root, known.importer) === importer && known.specifier === path);
        if (found === undefined) return undefined;
        onUse(found);
        return { path: join(root, found.by) };
      });
    },
  };
}
