/** Leases of several hosts on one real directory, in virtual time. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import { acquireLease, type LeaseOptions, watchLease } from "../../../src/journal/lease.ts";
import { type Process, parseHolder, textOf, thisProcess } from "../../../src/journal/lease-holder.ts";
import type { Lease } from "../../../src/journal/lease-keeper.ts";
import { createVirtualClock, type VirtualClock } from "../../simulation/virtual-clock.ts";

const staleMs = 180_000;
const settleMs = 40_000;
const longMs = 24 * 3_600_000;
let clock: VirtualClock;
let dir: string;
let said: string[] = [];

beforeEach(() => {
  clock = createVirtualClock({ seed: 1 });
  dir = mkdtempSync(join(tmpdir(), "emx2-lease-"));
  said = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

const host = (name: string, over: Partial<Process> = {}): Process => ({
  host: name,
  machine: `machine-of-${name}`,
  boot: `boot-of-${name}`,
  pid: 1,
  start: "5",
  startOf: () => undefined,
  ...over,
});

function begin(here: Process, over: Partial<LeaseOptions> = {}) {
  const onForeign = (what: string, who: string) => void said.push(`${what} ${who.replace(/, since.*/, "")}`);
  return acquireLease(dir, { clock, here, staleMs, waitMs: 0, hasLock: false, onForeign, ...over });
}

/** Moves time on until it is there. */
async function inTime<T>(promise: Promise<T>): Promise<T> {
  let isDone = false;
  const done = () => {
    isDone = true;
  };
  promise.then(done, done);
  if (!(await clock.runUntil(() => isDone, longMs))) throw new Error("it came to no end");
  return promise;
}

async function mine(here: Process, over: Partial<LeaseOptions> = {}): Promise<Lease> {
  const acquired = await inTime(begin(here, over));
  if ("held" in acquired) throw new Error(`held by ${acquired.held}`);
  return acquired.lease;
}

/** Left by a process that is no more. */
function dead(holder: Process, token: string, turn?: number): void {
  symlinkSync(textOf({ ...holder, since: 0, token }), join(dir, "lease"));
  if (turn !== undefined) symlinkSync(String(turn), join(dir, `lease.${token}`));
}

const holderNow = () => parseHolder(readlinkSync(join(dir, "lease")))?.host;
const never = () => {
  throw new Error("it was lost");
};

describe("a lease", () => {
  test("is taken where there is none, names its holder, and is free once it is given up", async () => {
    const lease = await mine(host("a"));
    expect(holderNow()).toBe("a");
    expect(lease.give()).toBe(true);
    expect(readdirSync(dir)).toEqual([]);
    await mine(host("b"));
    expect(clock.mono()).toBe(0);
    expect(said).toEqual([]);
  });

  test("that is renewed is not taken, and whoever does not wait knows it before the next turn is over", async () => {
    const first = await mine(host("a"));
    first.keep(never);
    const from = clock.mono();
    expect(await inTime(begin(host("b")))).toEqual({ held: expect.stringContaining("process 1 on a") });
    expect(clock.mono() - from).toBeLessThanOrEqual(30_000);
  });

  test("that is given up is had by whoever waits for it", async () => {
    const first = await mine(host("a"));
    first.keep(never);
    const waiting = begin(host("c"), { waitMs: 10 * staleMs });
    await clock.advance(3 * staleMs);
    expect(first.give()).toBe(true);
    await inTime(waiting);
    expect(holderNow()).toBe("c");
    expect(said).toEqual(["watched process 1 on a"]);
  });

  test("that is waited for is not waited for any more once a signal says so", async () => {
    const first = await mine(host("a"));
    first.keep(never);
    const stop = new AbortController();
    const waiting = begin(host("b"), { waitMs: longMs, signal: stop.signal });
    await clock.advance(1_000);
    stop.abort(new Error("stop"));
    await expect(waiting).rejects.toThrow("stop");
  });

  test("that is not renewed is taken over, and nobody acts before the old holder has stopped", async () => {
    const first = await mine(host("a"));
    const second = await mine(host("b"));
    expect(clock.mono()).toBeGreaterThanOrEqual(staleMs + settleMs);
    expect(said).toEqual(["watched process 1 on a", "taken over process 1 on a"]);
    expect(() => first.check()).toThrow(StateError);
    expect(() => first.check()).toThrow(/no longer holds its state: process 1 on b/);
    second.check();
    expect(first.give()).toBe(false);
    expect(holderNow()).toBe("b");
  });

  test("is put in its place once: no renewal touches it, however late", async () => {
    const first = await mine(host("a"));
    const text = readlinkSync(join(dir, "lease"));
    renameSync(join(dir, "lease"), join(dir, "kept"));
    symlinkSync("somebody else", join(dir, "lease"));
    let lost: StateError | undefined;
    first.keep((error) => {
      lost = error;
    });
    await clock.advance(staleMs);
    expect(lost?.state.reason).toBe("lost");
    expect(readlinkSync(join(dir, "lease"))).toBe("somebody else");
    expect(readlinkSync(join(dir, "kept"))).toBe(text);
  });

  test("that was replaced just after a look counts no longer when its successor begins", async () => {
    const lease = await mine(host("a"));
    rmSync(join(dir, "lease"));
    dead(host("b"), "t", 0);
    await clock.advance(settleMs - 5_000);
    expect(() => lease.check()).toThrow(/process 1 on b/);
  });

  test("is looked at after a time in which the monotonic clock stood still", async () => {
    let isAsleep = false;
    const asleep: Clock = { ...clock, mono: () => (isAsleep ? 0 : clock.mono()) };
    const lease = await mine(host("a"), { clock: asleep });
    isAsleep = true;
    rmSync(join(dir, "lease"));
    await clock.advance(settleMs);
    expect(() => lease.check()).toThrow(/somebody removed it/);
  });

  test("counts from before a look: storage that answers after minutes proves nothing", async () => {
    let looks = 0;
    let isSlow = false;
    /** A minute and more passes after a check has begun its look. */
    const slow: Clock = { ...clock, mono: () => clock.mono() + (isSlow ? (looks++ < 2 ? 100_000 : 200_000) : 0) };
    const lease = await mine(host("a"), { clock: slow });
    isSlow = true;
    expect(() => lease.check()).toThrow(/answers too slowly/);
  });

  test("of a dead one is had by exactly one of many that come at once, and nothing of the others is left", async () => {
    dead(host("dead"), "t", 3);
    const all = Array.from({ length: 12 }, async (_, index) => {
      const acquired = await begin(host(`h${index}`));
      if (!("held" in acquired)) acquired.lease.keep(never);
      return acquired;
    });
    const ends = await inTime(Promise.all(all));
    expect(ends.filter((end) => !("held" in end))).toHaveLength(1);
    const { token = "" } = parseHolder(readlinkSync(join(dir, "lease"))) ?? {};
    expect(readdirSync(dir).sort()).toEqual(["lease", `lease.${token}`]);
  });

  test("is told from one whose holder is gone: rebooted, ended here, or without the lock that is ours", async () => {
    const cases: [Process, Partial<LeaseOptions>][] = [
      [host("a", { boot: "next-boot" }), {}],
      [host("a", { startOf: () => "6" }), {}],
      [host("a-container", { boot: "boot-of-a" }), { hasLock: true }],
    ];
    for (const [here, over] of cases) {
      rmSync(join(dir, "lease"), { force: true });
      rmSync(join(dir, "lease.t"), { force: true });
      dead(host("a"), "t", 7);
      const acquired = await inTime(begin(here, over));
      expect(acquired).toMatchObject({ wasForeign: false });
      expect(clock.mono()).toBe(0);
      expect(said).toEqual([]);
    }
  });

  test("whose holder is gone has one heir that need not wait; the others give way", async () => {
    dead(host("a"), "t", 7);
    const heirs = [1, 2, 3].map(async (pid) => {
      const acquired = await begin(host("a", { boot: "next-boot", pid, startOf: () => "5" }));
      if (!("held" in acquired)) acquired.lease.keep(never);
      return { acquired, at: clock.mono() };
    });
    const ends = await inTime(Promise.all(heirs));
    expect(ends.filter(({ acquired }) => !("held" in acquired))).toEqual([expect.objectContaining({ at: 0 })]);
  });

  test("of one who took over and died before it began is not had at once: who was before may go on still", async () => {
    dead(host("a"), "t");
    expect(await inTime(begin(host("a", { boot: "next-boot" })))).toMatchObject({ wasForeign: true });
    expect(clock.mono()).toBeGreaterThanOrEqual(settleMs);
  });

  test("of a machine without an id is watched, though the host's name is ours", async () => {
    dead(host("localhost", { machine: "-" }), "t", 7);
    await mine(host("localhost", { machine: "-", boot: "another" }));
    expect(said[0]).toBe("watched process 1 on localhost");
  });

  test("is what somebody else wrote there: watched like any other, and told without its control characters", async () => {
    symlinkSync("rubbish \u001b[31m", join(dir, "lease"));
    await mine(host("a"));
    expect(said[0]).toBe("watched something else");
  });

  test("is no way out of its directory", () => {
    const text = textOf({ ...host("a"), since: 0, token: "../../etc/passwd" });
    expect(parseHolder(text)).toBeUndefined();
  });

  test("of a directory that holds no links is refused with the reason", async () => {
    rmSync(dir, { recursive: true });
    await expect(begin(host("a"))).rejects.toThrow(StateError);
    mkdirSync(dir);
  });
});

describe("storage that fails", () => {
  /** The directory can not be reached under its name. */
  const away = () => renameSync(dir, `${dir}.away`);
  const back = () => renameSync(`${dir}.away`, dir);

  test("takes no lease away, but for longer than a look counts nothing is done", async () => {
    const lease = await mine(host("a"));
    lease.keep(never);
    away();
    symlinkSync(dir, dir); // ELOOP
    await clock.advance(25_000);
    lease.check();
    await clock.advance(25_000);
    expect(() => lease.check()).toThrow(StateError);
    rmSync(dir);
    back();
    lease.check();
    await clock.advance(staleMs);
    lease.check();
  });

  test("keeps nobody from letting go of what is not in that directory", async () => {
    const lease = await mine(host("a"));
    away();
    symlinkSync(dir, dir);
    expect(() => lease.give()).toThrow(StateError);
    rmSync(dir);
    back();
  });
});

describe("another state directory", () => {
  const seen = (here: Process) => inTime(watchLease(dir, { clock, here, staleMs }));

  test("has no lease, a fresh one, or a stale one", async () => {
    expect(await seen(host("b"))).toBe("absent");
    const lease = await mine(host("a"));
    expect(await seen(host("b"))).toBe("stale");
    lease.keep(never);
    expect(await seen(host("b"))).toBe("fresh");
  });

  test("on this machine is told by its process at once", async () => {
    const here = thisProcess();
    dead(here, "t", 1);
    expect(await seen(here)).toBe("fresh");
    rmSync(join(dir, "lease"));
    dead({ ...here, start: "1" }, "t");
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
