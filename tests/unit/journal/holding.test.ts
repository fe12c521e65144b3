import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { holdingOf } from "../../../src/journal/holding.ts";
import { textOf } from "../../../src/journal/lease-holder.ts";
import { acquireLock } from "../../../src/journal/lock.ts";

const minuteMs = 60_000;
let stateDir = "";
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "emx2-holding-"));
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

/** As the lock writes it. */
function left(pid: number, host: string): string {
  const holder = `process ${pid} on ${host}, since 2026-03-01T00:00:00.000Z`;
  writeFileSync(join(stateDir, "lock.holder"), `${holder}\n`);
  return holder;
}

test("who holds the lock is seen without touching it, and gone when it is released", async () => {
  expect(holdingOf(stateDir, 0)).toEqual({ is: "nobody" });
  const lock = await acquireLock(stateDir, { waitMs: 0, clock });
  if (!("release" in lock)) throw new Error(`held by ${lock.held}`);
  const holder = expect.stringContaining(`process ${process.pid} on ${hostname()}`);
  expect(holdingOf(stateDir, minuteMs)).toEqual({ is: "held", holder });
  lock.release();
  expect(holdingOf(stateDir, minuteMs)).toEqual({ is: "nobody" });
});

test("a process of this host that is gone holds nothing, whatever it has left behind", async () => {
  const child = Bun.spawn(["true"]);
  await child.exited;
  left(child.pid, hostname());
  expect(holdingOf(stateDir, 0)).toEqual({ is: "nobody" });
});

test("of another host its last sign of life tells, and long silence leaves it unsure", () => {
  const holder = left(process.pid, "another-host");
  expect(holdingOf(stateDir, minuteMs)).toEqual({ is: "held", holder });
  expect(holdingOf(stateDir, 60 * minuteMs)).toEqual({ is: "unsure", holder });
});

test("without locks the lease tells", () => {
  const holder = {
    host: "another-host",
    machine: "-",
    boot: "b",
    pid: 7,
    start: "1",
    since: 1_772_323_200,
    token: "t",
  };
  symlinkSync(textOf(holder), join(stateDir, "lease"));
  const words = "process 7 on another-host, since 2026-03-01T00:00:00.000Z";
  expect(holdingOf(stateDir, minuteMs)).toEqual({ is: "held", holder: words });
});
