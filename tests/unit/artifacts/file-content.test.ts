/** When a file was last written, as one number that all who look agree on. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashFile } from "../../../src/artifacts/file-content.ts";
import { factsOf } from "../../../src/artifacts/file-facts.ts";
import { sealOf } from "../../../src/artifacts/seal.ts";

const progress = { step: () => {}, elsewhere: <T>(work: Promise<T>) => work };
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-mtime-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** The last of the first is less than half of what a double of milliseconds can tell below the next whole one. */
test.each(["1795416373.127999890", "1795416373.999999999", "1795416373.127000000", "1795416373.000000001", "1.5"])(
  "a file written at %s is what the batch script has sealed",
  async (seconds) => {
    const path = join(dir, "f");
    await Bun.write(path, "x");
    expect(Bun.spawnSync(["touch", "-d", `@${seconds}`, path]).exitCode).toBe(0);
    const listed = Bun.spawnSync(["find", path, "-printf", "%s %T@ f\\0"]).stdout.toString();
    const seal = sealOf(Buffer.from(`${listed}${"0".repeat(64)}  ./f\0`));
    const sealed = "broken" in seal ? undefined : seal.get("f");
    if (typeof sealed !== "object") throw new Error("it is not sealed");
    const file = await open(path);
    try {
      expect((await factsOf(file)).mtimeMs).toBe(sealed.mtimeMs);
      expect((await hashFile(file, "f", progress)).mtimeMs).toBe(sealed.mtimeMs);
    } finally {
      await file.close();
    }
  },
);
