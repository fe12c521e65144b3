/**
 * Who holds a state directory, seen from every host that mounts it. The kernel's lock (`lock.ts`) keeps out a second instance
 * on one host; network file systems may not carry it to another, or refuse it altogether. So the holder also keeps a lease:
 * a symbolic link whose target names host, boot, process and a turn that changes with each renewal. A link carries its value
 * from the moment it is there, and rename(2) replaces it as a whole, on local disks and on NFS.
 *
 * Nobody compares clocks of two hosts, nor a file's time with now: a lease is alive if it is seen to change while one's own
 * monotonic clock runs (`watchLease`). Taking over a dead one goes in four steps:
 *
 *   1. `lease.next` is made, which one taker alone can do (a link is made exclusively);
 *   2. `lease` is read again: still the dead one, or somebody was faster;
 *   3. `lease.next` is renamed to `lease`;
 *   4. for two renewals' time the taker does nothing, and then reads whether `lease` is still its own: a holder that was only
 *      suspended renews by that time, or finds a stranger's lease and stops.
 */
import { readlinkSync, renameSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { errnoOf, StateError } from "../errors.ts";
import { describe, type Holder, isGoneHere, type Process, parseHolder, textOf } from "./lease-holder.ts";
import { stateError } from "./state-error.ts";

export interface LeaseOptions {
  readonly clock: Clock;
  readonly here: Process;
  /** A foreign lease that has not changed for so long is dead. */
  readonly staleMs: number;
  readonly signal?: AbortSignal;
  /** How long to wait for a holder that is alive. */
  readonly waitMs: number;
  /** The kernel's lock is ours, and works: whoever held it on this machine is gone. */
  readonly hasLock: boolean;
  /** Told before a foreign lease is watched, and before one is taken over. */
  readonly onForeign: (what: "watched" | "taken over", who: string) => void;
}

export interface Lease {
  /** Throws StateError (`lost`) where it is somebody else's. Asks the file system only now and then. */
  check(): void;
  /** Renews it from now on; whatever `check` would throw is told. */
  keep(onLost: (error: StateError) => void): void;
  /** `give`: it is free for others at once. Else it is left as it is. */
  end(give: boolean): void;
}

/** Renewals within the time in which a lease grows stale. */
const renewalsPerStale = 9;
const looksPerRenewal = 4;

/** Throws StateError where the directory can not hold links; `held` says by whom, for a person to read. */
export async function acquireLease(
  stateDir: string,
  options: LeaseOptions,
): Promise<Lease | { readonly held: string }> {
  const { clock, here, waitMs, onForeign } = options;
  const path = join(stateDir, "lease");
  const own = { ...here, since: Math.floor(clock.wall() / 1_000), token: clock.uuid() };
  const deadline = clock.mono() + waitMs;
  for (;;) {
    const target = readTarget(path);
    if (target === undefined) {
      if (makeLink(textOf(own, 0), path)) return createLease(path, own, options);
      continue;
    }
    const holder = parseHolder(target);
    const who = describe(holder);
    const isGone = isGoneHere(holder, here, options.hasLock);
    if (!isGone) {
      onForeign("watched", who);
      const seen = await watch(path, target, options);
      if (seen === "changed" && clock.mono() < deadline) continue;
      if (seen === "changed") return { held: who };
      if (seen === "absent") continue;
      onForeign("taken over", who);
    }
    if (await takeOver(path, target, own, { ...options, settles: !isGone })) return createLease(path, own, options);
  }
}

/** Is another state directory held? Takes up to `staleMs`, unless its holder is, or was, on this machine. */
export async function watchLease(
  stateDir: string,
  options: Pick<LeaseOptions, "clock" | "here" | "staleMs" | "signal">,
): Promise<"absent" | "fresh" | "stale" | "unreadable"> {
  const path = join(stateDir, "lease");
  try {
    const target = readTarget(path);
    if (target === undefined) return "absent";
    const holder = parseHolder(target);
    if (isGoneHere(holder, options.here, false)) return "stale";
    if (holder?.boot === options.here.boot && holder.host === options.here.host) return "fresh";
    const seen = await watch(path, target, options);
    return seen === "changed" ? "fresh" : seen === "absent" ? "absent" : "stale";
  } catch (error) {
    if (error instanceof StateError) return "unreadable";
    throw error;
  }
}

async function watch(
  path: string,
  target: string,
  { clock, staleMs, signal }: Pick<LeaseOptions, "clock" | "staleMs" | "signal">,
): Promise<"changed" | "absent" | "unchanged"> {
  const until = clock.mono() + staleMs;
  while (clock.mono() < until) {
    await clock.sleep(staleMs / renewalsPerStale / looksPerRenewal, signal);
    const now = readTarget(path);
    if (now === undefined) return "absent";
    if (now !== target) return "changed";
  }
  return "unchanged";
}

/** False: somebody else was faster; look again. `settles`: its holder may only be suspended. */
async function takeOver(
  path: string,
  dead: string,
  own: Holder,
  options: LeaseOptions & { readonly settles: boolean },
): Promise<boolean> {
  const { clock, signal, staleMs } = options;
  const renewMs = staleMs / renewalsPerStale;
  const next = `${path}.next`;
  const mine = textOf(own, 0);
  if (!makeLink(mine, next)) {
    const other = readTarget(next);
    await clock.sleep(renewMs, signal);
    // Whoever made it takes no such time for what comes next: it died in between.
    if (other !== undefined && readTarget(next) === other) remove(next);
    return false;
  }
  if (readTarget(path) !== dead) {
    remove(next);
    return false;
  }
  if (!rename(next, path)) return false;
  if (readTarget(path) !== mine) return false;
  if (!options.settles) return true;
  await clock.sleep(2 * renewMs, signal);
  return freshTarget(path, own) === mine;
}

function createLease(path: string, own: Holder, { clock, staleMs }: LeaseOptions): Lease {
  const renewMs = staleMs / renewalsPerStale;
  let turn = 0;
  let provenAt = { mono: clock.mono(), wall: clock.wall() };
  let callOff: (() => void) | undefined;
  let lost: StateError | undefined;

  const prove = () => {
    provenAt = { mono: clock.mono(), wall: clock.wall() };
  };
  const lose = (now: string | undefined): StateError => {
    const by = now === undefined ? "somebody removed it" : `${describe(parseHolder(now))} has it`;
    lost = new StateError(`${path}: this daemon no longer holds its state: ${by}`, { path, reason: "lost" });
    return lost;
  };
  /** Reads before it writes: a lease that is another's is not written over. */
  const renew = () => {
    if (lost) throw lost;
    const now = freshTarget(path, own);
    if (parseHolder(now)?.token !== own.token) throw lose(now);
    turn += 1;
    const temporary = `${path}.${own.token}`;
    remove(temporary);
    makeLink(textOf(own, turn), temporary);
    rename(temporary, path);
    prove();
  };

  return {
    check() {
      if (lost) throw lost;
      // The wall clock goes on while a host is suspended, the monotonic one does not.
      const apartMs = Math.max(clock.mono() - provenAt.mono, Math.abs(clock.wall() - provenAt.wall));
      if (apartMs > 1.5 * renewMs) renew();
    },
    keep(onLost) {
      const next = () => {
        callOff = clock.timer(renewMs, () => {
          try {
            renew();
          } catch (error) {
            if (!(error instanceof StateError)) throw error;
            if (error.state.reason === "lost") return onLost(error);
            // Storage that fails now may be well at the next turn. Nothing is done meanwhile that `check` is asked about.
          }
          next();
        });
      };
      next();
    },
    end(give) {
      callOff?.();
      if (!give || lost) return;
      if (parseHolder(readTarget(path))?.token === own.token) remove(path);
    },
  };
}

/** Making an entry beside it first has a network file system look anew instead of giving what it remembers. */
function freshTarget(path: string, own: Holder): string | undefined {
  const probe = `${path}.${own.token}`;
  makeLink("probe", probe);
  const target = readTarget(path);
  remove(probe);
  return target;
}

function readTarget(path: string): string | undefined {
  return guarded(path, () => readlinkSync(path), ["ENOENT"]);
}

/** False: there is something already. Where NFS repeats a request whose answer was lost, that is what we made. */
function makeLink(target: string, path: string): boolean {
  const made = guarded(path, () => {
    symlinkSync(target, path);
    return true;
  }, ["EEXIST"]);
  return made ?? readTarget(path) === target;
}

/** False: `from` is gone. */
function rename(from: string, to: string): boolean {
  const done = () => {
    renameSync(from, to);
    return true;
  };
  return guarded(to, done, ["ENOENT"]) ?? false;
}

function remove(path: string): void {
  guarded(path, () => unlinkSync(path), ["ENOENT"]);
}

/** undefined: one of the `expected` refusals. */
function guarded<T>(path: string, act: () => T, expected: readonly string[]): T | undefined {
  try {
    return act();
  } catch (error) {
    if (expected.includes(errnoOf(error) ?? "")) return undefined;
    throw stateError(error, path);
  }
}
