/** Leases of several hosts on one directory; each host is a process of its own name, on real files, in short real time. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import { acquireLease, type Lease, type LeaseOptions, watchLease } from "../../../src/journal/lease.ts";
import { type Process, parseHolder, textOf, thisProcess } from "../../../src/journal/lease-holder.ts";

const staleMs = 450;
let dir: string;
let held: Lease[] = [];
let said: string[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-lease-"));
  said = [];
});
afterEach(() => {
  for (const lease of held) lease.end(false);
  held = [];
  rmSync(dir, { recursive: true });
});

const host = (name: string, over: Partial<Process> = {}): Process => ({
  host: name,
  machine: `machine-of-${name}`,
  boot: `boot-of-${name}`,
  pid: 1,
  start: "5",
  startOf: () => undefined,
  ...over,
});

async function acquire(here: Process, over: Partial<LeaseOptions> = {}): Promise<Lease | { held: string }> {
  const onForeign = (what: string, who: string) => void said.push(`${what} ${who.replace(/, since.*/, "")}`);
  const lease = await acquireLease(dir, { clock, here, staleMs, waitMs: 0, hasLock: false, onForeign, ...over });
  if (!("held" in lease)) held.push(lease);
  return lease;
}

async function mine(here: Process, over: Partial<LeaseOptions> = {}): Promise<Lease> {
  const lease = await acquire(here, over);
  if ("held" in lease) throw new Error(`held by ${lease.held}`);
  return lease;
}

const holderNow = () => parseHolder(readlinkSync(join(dir, "lease")))?.host;
const never = () => {
  throw new Error("it was lost");
};

describe("a lease", () => {
  test("is taken where there is none, names its holder, and is free once it is given up", async () => {
    const lease = await mine(host("a"));
    expect(holderNow()).toBe("a");
    lease.end(true);
    expect(readdirSync(dir)).toEqual([]);
    await mine(host("b"));
    expect(said).toEqual([]);
  });

  test("that is renewed is not taken, whoever waits for it; once it is given up, whoever waits has it", async () => {
    const first = await mine(host("a"));
    first.keep(never);
    expect(await acquire(host("b"))).toEqual({ held: expect.stringContaining("process 1 on a") });
    const waiting = mine(host("c"), { waitMs: 10 * staleMs });
    await clock.sleep(staleMs);
    first.end(true);
    await waiting;
    expect(holderNow()).toBe("c");
  });

  test("that is not renewed is taken over, once it has not changed for long, and its holder finds out", async () => {
    const first = await mine(host("a"));
    const from = clock.mono();
    const second = await mine(host("b"));
    expect(clock.mono() - from).toBeGreaterThanOrEqual(staleMs);
    expect(said).toEqual(["watched process 1 on a", "taken over process 1 on a"]);
    expect(() => first.check()).toThrow(StateError);
    expect(() => first.check()).toThrow(/no longer holds its state: process 1 on b/);
    second.check();
    first.end(true);
    expect(holderNow()).toBe("b");
  });

  test("of a dead one is had by exactly one of many that come at once", async () => {
    symlinkSync(textOf({ ...host("dead"), since: 0, token: "t" }, 3), join(dir, "lease"));
    const keeping = async (here: Process) => {
      const lease = await acquire(here);
      if (!("held" in lease)) lease.keep(never);
      return lease;
    };
    const all = await Promise.all(Array.from({ length: 12 }, (_, index) => keeping(host(`h${index}`))));
    expect(all.filter((lease) => !("held" in lease))).toHaveLength(1);
    expect(readdirSync(dir)).toEqual(["lease"]);
  });

  test("that is taken over by one who died in the midst of it can be taken over still", async () => {
    symlinkSync(textOf({ ...host("dead"), since: 0, token: "t" }, 3), join(dir, "lease"));
    symlinkSync(textOf({ ...host("halfway"), since: 0, token: "u" }, 0), join(dir, "lease.next"));
    await mine(host("b"));
    expect(holderNow()).toBe("b");
  });

  test("of a holder that was only suspended stays its own where it comes back before the taker is done", async () => {
    const first = await mine(host("a"));
    const taking = acquire(host("b"));
    await clock.sleep(staleMs * 0.9);
    first.keep(never);
    first.check();
    expect(await taking).toEqual({ held: expect.stringContaining("on a") });
    expect(holderNow()).toBe("a");
  });

  test("is followed at once where its holder is known to be gone: rebooted, ended here, or without the lock that is ours", async () => {
    const dead = { ...host("a"), since: 0, token: "t" };
    const cases: [Process, Partial<LeaseOptions>][] = [
      [host("a", { boot: "the next boot" }), {}],
      [host("a", { startOf: () => "another start" }), {}],
      [host("a in a container", { boot: dead.boot }), { hasLock: true }],
    ];
    for (const [here, over] of cases) {
      rmSync(join(dir, "lease"), { force: true });
      symlinkSync(textOf(dead, 0), join(dir, "lease"));
      await mine(here, over);
      expect(said).toEqual([]);
    }
  });

  test("of a machine without an id is watched, though the host's name is ours", async () => {
    symlinkSync(textOf({ ...host("localhost", { machine: "-" }), since: 0, token: "t" }, 0), join(dir, "lease"));
    await mine(host("localhost", { machine: "-", boot: "another" }));
    expect(said[0]).toBe("watched process 1 on localhost");
  });

  test("is what somebody else wrote there: watched like any other, and told without its control characters", async () => {
    symlinkSync("rubbish \u001b[31m", join(dir, "lease"));
    await mine(host("a"));
    expect(said[0]).toBe("watched something else");
  });

  test("of a directory that holds no links is refused with the reason", async () => {
    rmSync(dir, { recursive: true });
    await expect(acquire(host("a"))).rejects.toThrow(StateError);
    mkdirSync(dir);
  });
});

describe("another state directory", () => {
  const seen = (here: Process) => watchLease(dir, { clock, here, staleMs });

  test("has no lease, a fresh one, or a stale one", async () => {
    expect(await seen(host("b"))).toBe("absent");
    const lease = await mine(host("a"));
    expect(await seen(host("b"))).toBe("stale");
    lease.keep(never);
    expect(await seen(host("b"))).toBe("fresh");
  });

  test("on this machine is told by its process at once", async () => {
    const here = thisProcess();
    symlinkSync(textOf({ ...here, since: 0, token: "t" }, 0), join(dir, "lease"));
    expect(await seen(here)).toBe("fresh");
    symlinkSync(textOf({ ...here, start: "1", since: 0, token: "t" }, 0), join(dir, "other"));
    renameSync(join(dir, "other"), join(dir, "lease"));
    expect(await seen(here)).toBe("stale");
  });

  test("that can not be looked at is unreadable", async () => {
    expect(await watchLease(join(dir, "nowhere"), { clock, here: host("a"), staleMs })).toBe("absent");
    mkdirSync(join(dir, "lease"));
    expect(await seen(host("a"))).toBe("unreadable");
  });
});

test("this process is found under its own number, with its start", () => {
  const here = thisProcess();
  expect(here.startOf(here.pid)).toBe(here.start);
  expect(here.start).toMatch(/^\d+$/);
  expect(here.startOf(2 ** 30)).toBeUndefined();
});
