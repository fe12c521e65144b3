import { describe, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { generations } from "../../../src/emulator/generation.ts";
import { type RecordedExchange, replay } from "./exchange-replay.ts";

for (const { name: generation } of Object.values(generations)) {
  const directory = join(import.meta.dir, "../../fixtures/emx2", generation);
  for (const file of readdirSync(directory).sort()) {
    const scenarios: Record<string, RecordedExchange[]> = JSON.parse(readFileSync(join(directory, file), "utf8"));
    describe(`as on a real ${generation} server: ${file.replace(".json", "")}`, () => {
      for (const [name, exchanges] of Object.entries(scenarios)) test(name, () => replay(exchanges, generation));
    });
  }
}
