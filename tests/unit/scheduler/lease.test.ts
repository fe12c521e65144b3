import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { isSystemError } from "../../../src/errors.ts";
import { foreignIds, leaseOf } from "../../../src/scheduler/lease.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-lease-"));
  mkdirSync(join(dir, ".emx2"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));
const run = (attempt = "a1") => ({ jobId: "j1", attempt, name: "emx2-j1", dir, notBefore: 0 });
const link = (target: string, name: string) => symlinkSync(target, join(dir, ".emx2", name));

test("a lease is the id in it; closed, or what is no id, is none", async () => {
  expect(await leaseOf(run(), systemClock)).toBeUndefined();
  link("7", "lease.a1");
  link("closed", "lease.a2");
  link("/etc/passwd", "lease.a3");
  writeFileSync(join(dir, ".emx2", "lease.a4"), "7");
  expect(await leaseOf(run("a1"), systemClock)).toBe("7");
  for (const attempt of ["a2", "a3", "a4", "a5"]) expect(await leaseOf(run(attempt), systemClock)).toBeUndefined();
  expect(await leaseOf({ ...run(), dir: join(dir, "none") }, systemClock)).toBeUndefined();
});

test("foreign are the holders of other attempts and whoever lost a lease", async () => {
  link("7", "lease.a1");
  link("8", "lease.a2");
  writeFileSync(join(dir, ".emx2", "lost.a1.9.0"), "{}");
  expect(await foreignIds(run("a1"), systemClock)).toEqual(new Set(["8", "9"]));
});

test("a file system that does not answer ends in a system's error, and holds up nothing else", async () => {
  // Its time is over before any file system could answer.
  const impatient: Clock = {
    ...systemClock,
    timer(_ms, wake) {
      wake();
      return () => {};
    },
  };
  for (const look of [leaseOf, foreignIds]) {
    const error = await look(run(), impatient).catch((thrown: unknown) => thrown);
    expect(isSystemError(error) && error.code).toBe("ETIMEDOUT");
  }
});
