/**
 * To hold a state directory is to have the kernel's lock on this host and the lease over all hosts. Where the file system
 * refuses locks (some network file systems do), the lease alone is held, and the journal is opened without locks.
 */
import type { Clock } from "../clock.ts";
import type { StateError } from "../errors.ts";
import { acquireLease } from "./lease.ts";
import { thisProcess } from "./lease-holder.ts";
import { acquireLock } from "./lock.ts";

export interface Hold {
  /** False: the file system of the state directory refuses locks. */
  readonly hasLock: boolean;
  /** It was taken over from another host, whose last writes may still arrive. */
  readonly wasForeign: boolean;
  /** Throws StateError (`lost`) once somebody else holds it: then nothing may be done any more. */
  check(): void;
  /** Goes on holding it; told when it is lost. */
  keep(onLost: (error: StateError) => void): void;
  /** Others may have it at once. Where it is somebody else's by now, nothing is written. */
  release(): void;
  /** It is somebody else's by now: nothing is written. */
  abandon(): void;
}

export interface HoldOptions {
  readonly clock: Clock;
  /** How long to wait for a holder that is alive. */
  readonly waitMs: number;
  /** A holder on another host that gives no sign for so long is dead. */
  readonly staleMs: number;
  readonly signal?: AbortSignal;
  readonly onForeign: (what: "watched" | "taken over", who: string) => void;
}

/** Throws StateError; `held` says by whom, for a person to read. */
export async function holdState(stateDir: string, options: HoldOptions): Promise<Hold | { readonly held: string }> {
  const { clock, waitMs } = options;
  const deadline = clock.mono() + waitMs;
  const lock = await acquireLock(stateDir, options);
  if ("held" in lock) return lock;
  const hasLock = lock.is === "kernel";
  try {
    const leftMs = Math.max(0, deadline - clock.mono());
    const acquired = await acquireLease(stateDir, { ...options, here: thisProcess(), waitMs: leftMs, hasLock });
    if ("held" in acquired) {
      lock.abandon();
      return acquired;
    }
    const { lease, wasForeign } = acquired;
    return {
      hasLock,
      wasForeign,
      check: lease.check,
      keep: lease.keep,
      release() {
        let isOurs = false;
        try {
          // First the lease: whoever waits for the lock finds it free.
          isOurs = lease.give();
        } finally {
          if (isOurs) lock.release();
          else lock.abandon();
        }
      },
      abandon() {
        lease.leave();
        lock.abandon();
      },
    };
  } catch (error) {
    lock.abandon();
    throw error;
  }
}
