/**
 * Who holds a state directory, seen from every host that mounts it. The kernel's lock (`lock.ts`) keeps out a second instance
 * on one host; network file systems may not carry it to another, or refuse it altogether. So the holder also keeps a lease:
 * a symbolic link `lease` that names host, boot, process and a token, and `lease.<token>` beside it, whose turn changes with
 * each renewal.
 *
 * Nobody compares clocks of two hosts, nor a file's time with now: a lease is alive if it is seen to change while one's own
 * monotonic clock runs (`watchLease`). With the usual 180 s a turn comes every 20 s, and no attribute cache is older than 60 s.
 *
 * A dead one is taken over by a rename onto `lease`, which several may do. The last one has it, since
 *   - a holder acts only for 30 s (1.5 renewals) after the start of a look at `lease` that showed its own name, and
 *   - a taker acts only after 40 s (2 renewals) from the end of its rename, when `lease` still shows its own name.
 * Whoever was replaced, suspended or not, has thus stopped before its successor begins. A name is put there once and never
 * again, however late storage carries it out. Where the old holder is known to be gone (its reboot says so, or the lock that is
 * ours), its heir need not wait: one process alone, who makes `lease.<token>.heir`. A holder that never showed a turn has no
 * heir, for it may itself have been waiting for another to stop.
 */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { StateError } from "../errors.ts";
import { describe, type Holder, isGoneHere, type Process, parseHolder, textOf } from "./lease-holder.ts";
import { keepLease, type Lease, renewalsPerStale, turnPath } from "./lease-keeper.ts";
import { makeLink, namesIn, readLink, removeLink, renameLink } from "./links.ts";

export interface WatchOptions {
  readonly clock: Clock;
  readonly here: Process;
  /** A foreign lease that has not changed for so long is dead. */
  readonly staleMs: number;
  readonly signal?: AbortSignal;
}

export interface LeaseOptions extends WatchOptions {
  /** How long to wait for a holder that is alive. */
  readonly waitMs: number;
  /** The kernel's lock is ours, and works: whoever held it on this machine is gone. */
  readonly hasLock: boolean;
  /** Told before a foreign lease is watched, and before one is taken over. */
  readonly onForeign: (what: "watched" | "taken over", who: string) => void;
}

export interface Acquired {
  readonly lease: Lease;
  /** The holder before may only be suspended: what it has begun to write can still arrive. */
  readonly wasForeign: boolean;
}

/** Renewals' time, beyond the 1.5 for which a holder trusts a look. */
const settleRenewals = 2;
const looksPerRenewal = 4;
/** Some come at once, one has it. So long the others may go on disputing before they leave it to them. */
const maxDisputes = 3;

/** Throws StateError where the directory can not hold links; `held` says by whom, for a person to read. */
export async function acquireLease(
  stateDir: string,
  options: LeaseOptions,
): Promise<Acquired | { readonly held: string }> {
  const { clock, here, staleMs, signal, waitMs } = options;
  const path = join(stateDir, "lease");
  const deadline = clock.mono() + waitMs;
  const lastResort = deadline + maxDisputes * staleMs;
  let who: string | undefined;
  while (clock.mono() <= lastResort) {
    const own: Holder = { ...here, since: Math.floor(clock.wall() / 1_000), token: clock.uuid() };
    const seen = look(path);
    if (seen === undefined) {
      if (makeLink(textOf(own), path)) return acquired(path, own, options, false);
      // A network file system may deny for a while what it will not have made again.
      await clock.sleep(lookMs(staleMs), signal);
      continue;
    }
    const before = who;
    who = describe(seen.holder);
    const isGone = isGoneHere(seen.holder, here, options.hasLock);
    if (!isGone) {
      if (who !== before) options.onForeign("watched", who);
      const change = await watch(path, seen, options);
      if (change === "changed" && clock.mono() >= deadline) break;
      if (change !== "unchanged") continue;
      options.onForeign("taken over", who);
    }
    const wasForeign = !isGone || seen.turn === undefined;
    if (await takeOver(path, seen, own, { ...options, isGone })) return acquired(path, own, options, wasForeign);
  }
  return { held: who ?? "several that come and go" };
}

/** Is another state directory held? Takes up to `staleMs`, unless its holder is, or was, on this machine. */
export async function watchLease(
  stateDir: string,
  options: WatchOptions,
): Promise<"absent" | "fresh" | "stale" | "unreadable"> {
  const { here } = options;
  const path = join(stateDir, "lease");
  try {
    const seen = look(path);
    if (seen === undefined) return "absent";
    if (isGoneHere(seen.holder, here, false)) return "stale";
    if (seen.holder?.boot === here.boot && seen.holder.host === here.host) return "fresh";
    const change = await watch(path, seen, options);
    return change === "changed" ? "fresh" : change === "absent" ? "absent" : "stale";
  } catch (error) {
    if (error instanceof StateError) return "unreadable";
    throw error;
  }
}

interface Seen {
  readonly target: string;
  readonly holder: Holder | undefined;
  /** undefined: its holder has not begun to act. */
  readonly turn: string | undefined;
}

function look(path: string): Seen | undefined {
  const target = readLink(path);
  if (target === undefined) return undefined;
  const holder = parseHolder(target);
  return { target, holder, turn: holder && readLink(turnPath(path, holder)) };
}

async function watch(path: string, seen: Seen, options: WatchOptions): Promise<"changed" | "absent" | "unchanged"> {
  const { clock, staleMs, signal } = options;
  const until = clock.mono() + staleMs;
  while (clock.mono() < until) {
    await clock.sleep(lookMs(staleMs), signal);
    const now = look(path);
    if (now === undefined) return "absent";
    if (!isSame(now, seen)) return "changed";
  }
  return "unchanged";
}

/** False: somebody else was faster; look again. */
async function takeOver(
  path: string,
  dead: Seen,
  own: Holder,
  { clock, signal, staleMs, isGone }: WatchOptions & { readonly isGone: boolean },
): Promise<boolean> {
  const renewMs = staleMs / renewalsPerStale;
  const next = `${turnPath(path, own)}.next`;
  const from = clock.mono();
  const isHeir = isGone && dead.turn !== undefined && makeLink(own.token, heirPath(path, dead));
  // Before the look: what was just made has a network file system look anew.
  makeLink(textOf(own), next);
  const now = look(path);
  if (now === undefined || !isSame(now, dead)) {
    removeLink(next);
    return false;
  }
  renameLink(next, path);
  if (readLink(path) !== textOf(own)) return false;
  // Others had time to follow the dead one and begin, where storage took as long as that.
  if (isHeir && clock.mono() - from < renewMs) return true;
  await clock.sleep(settleRenewals * renewMs, signal);
  makeLink("look", next);
  const isOwn = readLink(path) === textOf(own);
  removeLink(next);
  return isOwn;
}

function heirPath(path: string, { holder }: Seen): string {
  return `${holder ? turnPath(path, holder) : path}.heir`;
}

function acquired(path: string, own: Holder, options: LeaseOptions, wasForeign: boolean): Acquired {
  const lease = keepLease(path, own, options);
  // What the dead have left. One that is not dead finds out by the lease itself.
  const [directory, prefix] = [join(path, ".."), `lease.${own.token}`];
  for (const name of namesIn(directory))
    if (name.startsWith("lease.") && !name.startsWith(prefix)) removeLink(join(directory, name));
  return { lease, wasForeign };
}

function isSame(one: Seen, other: Seen): boolean {
  return one.target === other.target && one.turn === other.turn;
}

function lookMs(staleMs: number): number {
  return staleMs / renewalsPerStale / looksPerRenewal;
}
