/** What a job may have put in place of the shell's own files. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import type { RunRef } from "../../../src/job/run.ts";
import { createShell } from "../../../src/scheduler/shell.ts";

const never = new AbortController().signal;
const shell = createShell({ clock: systemClock, env: {} });
/** An id of ours whose process is gone: this process began at another tick. */
const gone = `${process.pid}-1`;

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-shell-"));
  mkdirSync(join(dir, ".emx2"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));
const control = (name: string) => join(dir, ".emx2", name);
const run = (): RunRef => ({ jobId: "j1", attempt: "a1", name: "emx2-j1", dir, notBefore: 0 });

async function rowOf(ref: RunRef) {
  const answer = await shell.states([ref], never);
  return answer.is === "answered" ? answer.rows.get("j1") : undefined;
}

test.each(["abc", "7", "-1", "0-1", "7-1-2", "closed"])("a lease that says %s is none", async (text) => {
  symlinkSync(text, control("lease.a1"));
  expect(await rowOf(run())).toBeNull();
  expect(await shell.find(run(), never)).toEqual({ is: "absent" });
  expect(await shell.cancel({ ...run(), schedulerId: text }, never)).toEqual({ is: "asked" });
});

test.each([
  ["no JSON", (path: string) => writeFileSync(path, "{")],
  ["null", (path: string) => writeFileSync(path, "null")],
  ["an exit code that is none", (path: string) => writeFileSync(path, '{"exit":"0"}')],
  ["too long", (path: string) => writeFileSync(path, " ".repeat(100_000))],
  ["a directory", (path: string) => mkdirSync(path)],
  ["a link", (path: string) => symlinkSync("/proc/self/environ", path)],
  ["a FIFO", (path: string) => void Bun.spawnSync(["mkfifo", path])],
])("a receipt that is %s counts as none", async (_, put) => {
  symlinkSync(gone, control("lease.a1"));
  put(control("exit.a1.0"));
  expect(await rowOf(run())).toMatchObject({ state: "FAILED", reason: "gone without a receipt" });
});

test("a receipt tells the exit code", async () => {
  symlinkSync(gone, control("lease.a1"));
  writeFileSync(control("exit.a1.0"), '{"v":1,"exit":3}');
  expect(await rowOf(run())).toMatchObject({ state: "FAILED", exitCode: 3 });
});
