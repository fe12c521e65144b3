/**
 * Keeps a lease that is ours: shows others that we live, and stops us once it is another's. Only the turn is renewed, a link
 * of our own beside the lease. A renewal that storage carries out minutes late (a server that hangs) is then without effect;
 * were it a rename over the lease, it would take the lease back from whoever has it by now.
 */
import type { Clock } from "../clock.ts";
import { StateError } from "../errors.ts";
import { describe, type Holder, parseHolder } from "./lease-holder.ts";
import { makeLink, readLink, removeLink, renameLink } from "./links.ts";

export interface Lease {
  /** Throws StateError (`lost`) where it is somebody else's. Asks the file system only now and then. */
  check(): void;
  /** Renews it from now on; told once it is lost. */
  keep(onLost: (error: StateError) => void): void;
  /** Others may have it at once. False: it was no longer ours. */
  give(): boolean;
  /** It is left as it is. */
  leave(): void;
}

/** A lease that does not change for so many renewals is dead. */
export const renewalsPerStale = 9;
/** For so many renewals' time a look at the lease counts; whoever takes it over waits for longer (`lease.ts`). */
const renewalsPerLook = 1.5;

/** Says so of whoever has this lease, as long as it does. */
export function turnPath(leasePath: string, { token }: Pick<Holder, "token">): string {
  return `${leasePath}.${token}`;
}

/** Throws StateError. */
export function keepLease(
  path: string,
  own: Holder,
  { clock, staleMs }: { readonly clock: Clock; readonly staleMs: number },
): Lease {
  const renewMs = staleMs / renewalsPerStale;
  const turnAt = turnPath(path, own);
  let turn = 0;
  let seenAt = now(clock);
  let lost: StateError | undefined;
  let callOff: (() => void) | undefined;

  const look = () => {
    const target = readLink(path);
    if (parseHolder(target)?.token === own.token) return;
    const by = target === undefined ? "somebody removed it" : `${describe(parseHolder(target))} has it`;
    lost = new StateError(`${path}: this daemon no longer holds its state: ${by}`, { path, reason: "lost" });
    throw lost;
  };
  const renew = () => {
    if (lost) throw lost;
    // Before the look and not after: storage may take minutes to answer.
    const at = now(clock);
    look();
    turn += 1;
    const next = `${turnAt}.next`;
    removeLink(next);
    makeLink(String(turn), next);
    renameLink(next, turnAt);
    // What was just written has a network file system look anew, instead of giving what it remembers.
    look();
    seenAt = at;
  };
  const isLongAgo = () => apartMs(seenAt, now(clock)) > renewalsPerLook * renewMs;
  const check = () => {
    if (lost) throw lost;
    if (isLongAgo()) renew();
    if (!isLongAgo()) return;
    const text = `${path}: its storage answers too slowly to tell whose it is`;
    throw new StateError(text, { path, reason: "unusable" });
  };

  renew();
  return {
    check,
    keep(onLost) {
      const next = () => {
        callOff = clock.timer(renewMs, () => {
          try {
            renew();
          } catch (error) {
            if (!(error instanceof StateError)) throw error;
            if (error === lost) return onLost(error);
            // Storage that fails now may be well at the next turn; until then `check` lets nothing happen.
          }
          next();
        });
      };
      next();
    },
    give() {
      callOff?.();
      try {
        check();
      } catch (error) {
        if (error === lost) return false;
        throw error;
      }
      removeLink(path);
      removeLink(turnAt);
      return true;
    },
    leave() {
      callOff?.();
    },
  };
}

/** The monotonic clock stands still while a host is suspended, the wall clock goes on, and may be set. */
interface Instant {
  readonly mono: number;
  readonly wall: number;
}

function now(clock: Clock): Instant {
  return { mono: clock.mono(), wall: clock.wall() };
}

function apartMs(from: Instant, to: Instant): number {
  return Math.max(to.mono - from.mono, Math.abs(to.wall - from.wall));
}
