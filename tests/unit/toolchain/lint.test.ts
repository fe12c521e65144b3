/** The rules of scripts/lint bite: Biome itself, with the project's own configuration, over made-up files. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "../../..");
const clockRule = "Time and chance come from a Clock";
const exitRule = "Only src/main.ts ends the process";

const forbidden: readonly (readonly [code: string, rule: string])[] = [
  ["export const now = Date.now();", clockRule],
  ["export const now = new Date();", clockRule],
  ["export const now = Date();", clockRule],
  ["export const clockOf = { wall: Date.now };", clockRule],
  ["export const now = performance.now();", clockRule],
  ["export const now = process.hrtime.bigint();", clockRule],
  ["setTimeout(() => undefined, 5);", clockRule],
  ["globalThis.setTimeout(() => undefined, 5);", clockRule],
  ["setInterval(() => undefined, 5);", clockRule],
  ["setImmediate(() => undefined);", clockRule],
  ["export const signal = AbortSignal.timeout(5);", clockRule],
  ["await Bun.sleep(5);", clockRule],
  ["export const chance = Math.random();", clockRule],
  ["export const id = crypto.randomUUID();", clockRule],
  ["export const bytes = crypto.getRandomValues(new Uint8Array(8));", clockRule],
  ['import { randomBytes } from "node:crypto";\nexport const bytes = randomBytes(8);', clockRule],
  ['import { randomUUID as newId } from "node:crypto";\nexport const id = newId();', clockRule],
  ['import * as chance from "node:crypto";\nexport const bytes = chance.randomBytes(8);', clockRule],
  ['import { setTimeout as wait } from "node:timers/promises";\nawait wait(5);', clockRule],
  ["process.exit(1);", exitRule],
  ["process.abort();", exitRule],
];

const allowed = [
  "export const later = (ms: number) => new Date(ms);",
  "export const read = (text: string) => Date.parse(text);",
  "// Date.now() and setTimeout belong to clock.ts.\nexport const advice = 'Date.now(), process.exit(1)';",
  "export const bytes = (clock: { randomBytes(count: number): Uint8Array }) => clock.randomBytes(8);",
  "export const stop = (handle: Timer) => clearTimeout(handle);",
  "process.exitCode = 1;",
];

let dir = "";
let complaints = "";

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-hpc-lint-"));
  mkdirSync(join(dir, "src"));
  cpSync(join(root, ".biome.json"), join(dir, ".biome.json"));
  cpSync(join(root, "scripts/lint"), join(dir, "scripts/lint"), { recursive: true });
  const put = (name: string, code: string) => writeFileSync(join(dir, "src", name), `${code}\n`);
  forbidden.forEach(([code], index) => {
    put(`forbidden-${index}.ts`, code);
  });
  allowed.forEach((code, index) => {
    put(`allowed-${index}.ts`, code);
  });
  put("clock.ts", "export const now = () => Date.now();");
  put("main.ts", "process.exit(0);");
  const biome = Bun.spawnSync(["biome", "lint", "--reporter=concise", "--max-diagnostics=none"], {
    cwd: dir,
    env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"]}` },
  });
  complaints = biome.stdout.toString() + biome.stderr.toString();
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

const about = (file: string) => complaints.split("\n").filter((line) => line.includes(`src/${file}:`));

describe("lint refuses outside the one file that may", () => {
  forbidden.forEach(([code, rule], index) => {
    test(code.replaceAll("\n", " "), () => expect(about(`forbidden-${index}.ts`).join("\n")).toContain(rule));
  });
});

describe("lint has nothing against", () => {
  allowed.forEach((code, index) => {
    test(code.replaceAll("\n", " "), () => expect(about(`allowed-${index}.ts`)).toEqual([]));
  });
  test("the clock in src/clock.ts and the exit in src/main.ts", () => {
    expect([...about("clock.ts"), ...about("main.ts")]).toEqual([]);
  });
});
