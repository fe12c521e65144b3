import { describe, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type RecordedExchange, replay } from "./exchange-replay.ts";

const directory = join(import.meta.dir, "../../fixtures/emx2/2026-05");

for (const file of readdirSync(directory).sort()) {
  const scenarios: Record<string, RecordedExchange[]> = JSON.parse(readFileSync(join(directory, file), "utf8"));
  describe(`as on a real 2026-05 server: ${file.replace(".json", "")}`, () => {
    for (const [name, exchanges] of Object.entries(scenarios)) test(name, () => replay(exchanges));
  });
}
