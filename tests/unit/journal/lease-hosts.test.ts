/**
 * Several hosts on one state directory for hours of virtual time: they are suspended, killed, rebooted and stopped in order, at
 * random. Never may two of them act at the same time, and never for long none.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, sleepOn } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import { acquireLease } from "../../../src/journal/lease.ts";
import type { Lease } from "../../../src/journal/lease-keeper.ts";
import { createVirtualClock, type VirtualClock } from "../../simulation/virtual-clock.ts";

const staleMs = 180_000;
const hoursMs = 3_600_000;
const lookMs = 1_000;
/** Whoever wakes up has much to do, and comes to its timers late. */
const latestMs = 20_000;
const longestAbsenceMs = 400_000;
/** A dead holder is watched, and whoever follows it settles; another may come between, and all may be away. */
const longestIdleMs = longestAbsenceMs + 3 * (staleMs + 40_000);

/** One daemon on one host; it starts again after each end. */
class Host {
  lease: Lease | undefined;
  readonly clock: Clock;
  #boots = 0;
  #lives = 0;
  #suspendedUntil = 0;
  #suspendedMs = 0;

  constructor(
    readonly name: string,
    readonly world: VirtualClock,
    readonly dir: string,
  ) {
    const timer = (ms: number, wake: () => void): (() => void) => {
      const life = this.#lives;
      let callOff = () => {};
      const fire = () => {
        if (life !== this.#lives) return;
        if (this.isSuspended)
          callOff = world.timer(this.#suspendedUntil - world.mono() + world.random() * latestMs, fire);
        else wake();
      };
      callOff = world.timer(ms, fire);
      return () => callOff();
    };
    this.clock = {
      ...world,
      mono: () => world.mono() - this.#suspendedMs,
      timer,
      sleep: (ms, signal) => sleepOn({ ...world, timer }, ms, signal),
    };
  }

  get isSuspended(): boolean {
    return this.#suspendedUntil > this.world.mono();
  }

  suspend(ms: number): void {
    if (this.isSuspended) return;
    this.#suspendedUntil = this.world.mono() + ms;
    // The monotonic clock stands still meanwhile.
    this.#suspendedMs += ms;
  }

  /** SIGKILL, perhaps with the machine. */
  kill(reboots: boolean, forMs: number): void {
    this.#lives += 1;
    this.lease = undefined;
    if (reboots) this.#boots += 1;
    this.world.timer(forMs, () => void this.live());
  }

  /** An orderly end. */
  stop(forMs: number): void {
    if (this.isSuspended) return;
    this.lease?.give();
    this.kill(false, forMs);
  }

  async live(): Promise<void> {
    this.#lives += 1;
    const life = this.#lives;
    const here = {
      ...{ host: this.name, machine: this.name, boot: `${this.name}-${this.#boots}` },
      ...{ pid: life, start: "5", startOf: (pid: number) => (pid === this.#lives ? "5" : undefined) },
    };
    const { clock, dir } = this;
    const again = () => {
      if (life === this.#lives) this.kill(false, 10_000);
    };
    try {
      const acquired = await acquireLease(dir, {
        ...{ clock, here, staleMs },
        ...{ waitMs: hoursMs, hasLock: true, onForeign() {} },
      });
      if ("held" in acquired || life !== this.#lives) return again();
      this.lease = acquired.lease;
      acquired.lease.keep(again);
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      again();
    }
  }

  /** Does it hold itself for the holder? */
  acts(): boolean {
    if (this.isSuspended || !this.lease) return false;
    try {
      this.lease.check();
      return true;
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      return false;
    }
  }
}

test.each([1, 2, 3, 4, 5, 6])("of several hosts one acts at a time, whatever befalls them (seed %p)", async (seed) => {
  const world = createVirtualClock({ seed });
  const dir = mkdtempSync(join(tmpdir(), "emx2-hosts-"));
  const hosts = ["a", "b", "c"].map((name) => new Host(name, world, dir));
  const chance = (most: number) => Math.floor(world.random() * most);
  let actedAt = 0;
  let changes = 0;
  let last: Host | undefined;
  try {
    for (const host of hosts) void host.live();
    while (world.mono() < 2 * hoursMs) {
      await world.advance(lookMs);
      const acting = hosts.filter((host) => host.acts());
      expect(acting.map(({ name }) => name).slice(1)).toEqual([]);
      const [one] = acting;
      if (one) actedAt = world.mono();
      if (one && one !== last) {
        changes += 1;
        last = one;
      }
      expect(world.mono() - actedAt).toBeLessThan(longestIdleMs);
      const victim = chance(120) === 0 ? (one ?? hosts[chance(hosts.length)]) : undefined;
      const forMs = chance(longestAbsenceMs);
      if (victim)
        [() => victim.suspend(forMs), () => victim.kill(chance(2) === 0, forMs), () => victim.stop(forMs)][
          chance(3)
        ]?.();
    }
    expect(changes).toBeGreaterThan(5);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
