import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, lchownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sizeOfDirectory } from "../../../src/artifacts/directory-size.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-size-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("what is no directory has no size, also a link to one", async () => {
  writeFileSync(join(dir, "file"), "x");
  symlinkSync("/", join(dir, "link"));
  for (const name of ["file", "link", "absent"]) expect(await sizeOfDirectory(join(dir, name))).toBeNull();
});

test("links out of it are not followed, and names that are left out do not count", async () => {
  mkdirSync(join(dir, "in"));
  symlinkSync("/", join(dir, "in", "root"));
  writeFileSync(join(dir, "large"), Buffer.alloc(1_000_000, 1));
  const without = await sizeOfDirectory(dir, ["large"]);
  expect(without?.isWhole).toBe(true);
  expect(without?.bytes).toBeLessThan(500_000);
  expect((await sizeOfDirectory(dir))?.bytes).toBeGreaterThanOrEqual(1_000_000);
});

// Nothing is shut to root.
const another = 65_534;
test.each([0, 0o444, 0o111])("what is shut with mode %d is told as not whole", async (mode) => {
  const shut = join(dir, "shut");
  mkdirSync(shut);
  writeFileSync(join(shut, "file"), "x");
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) for (const path of [dir, shut]) lchownSync(path, another, another);
  chmodSync(shut, mode);
  if (isRoot) process.seteuid?.(another);
  try {
    expect((await sizeOfDirectory(dir))?.isWhole).toBe(false);
    expect((await sizeOfDirectory(shut))?.isWhole).toBe(false);
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(shut, 0o700);
  }
});
