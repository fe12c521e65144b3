/** The program's entry in an executable whose clock is apart from this machine's: see moved-clock.ts. */
import { readFileSync } from "node:fs";

const aheadMs = 1_000 * Number(readFileSync(process.env["EMX2_TEST_CLOCK_FILE"] ?? "", "utf8"));
const ofThisMachine = Date.now;
Date.now = () => ofThisMachine() + aheadMs;
await import("../../../src/main.ts");
