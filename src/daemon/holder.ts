/**
 * Does somebody else take care of a job directory? Its owner file names a state directory and a host: whoever had our own
 * state directory is gone, since its lease is ours; another's is watched until its lease has been seen to move, or not to.
 * That takes minutes, so that it goes on beside everything else and the answer is there at a later look.
 */
import type { Owner } from "../artifacts/job-files.ts";
import { describe, type Ownership } from "../artifacts/owner.ts";

/**
 * What is seen of another state directory's lease. `fresh`: somebody holds it. `stale`: whoever held it is gone. `absent`:
 * there is none. `resting`: nobody does now, and somebody did a short while ago. `unreadable`: it can not be looked at from
 * here.
 */
export type Sight = "fresh" | "stale" | "absent" | "resting" | "unreadable";

export type Holder =
  | { readonly is: "ourselves" }
  /** Nobody any more; who it was, for a person to read. */
  | { readonly is: "gone"; readonly who: string }
  | { readonly is: "alive"; readonly who: string }
  /** Nothing here can tell. */
  | { readonly is: "unclear"; readonly why: string }
  /** It can be told from then on. */
  | { readonly is: "being watched"; readonly until: Promise<void> };

export interface Holders {
  of(ownership: Ownership): Holder;
  /** What was seen before may no longer be true. */
  forget(): void;
}

export function createHolders(ours: Owner, sightOf: (stateDir: string) => Promise<Sight>): Holders {
  const seen = new Map<string, Sight>();
  const watches = new Map<string, Promise<void>>();

  const watch = (stateDir: string): Promise<void> => {
    const under = watches.get(stateDir);
    if (under) return under;
    const begun = sightOf(stateDir)
      .then((sight) => void seen.set(stateDir, sight), unlessCalledOff)
      .finally(() => watches.delete(stateDir));
    watches.set(stateDir, begun);
    return begun;
  };

  return {
    of(ownership) {
      if (ownership.is !== "state") return { is: "unclear", why: describe(ownership) };
      const { owner } = ownership;
      const who = describe(ownership);
      if (owner.state === ours.state) return { is: "ourselves" };
      const sameHost = owner.host === ours.host;
      if (owner.stateDir === ours.stateDir)
        return sameHost ? { is: "gone", who } : { is: "unclear", why: `${who}, whose disk may be another` };
      const sight = seen.get(owner.stateDir);
      if (sight === undefined) return { is: "being watched", until: watch(owner.stateDir) };
      if (sight === "fresh") return { is: "alive", who };
      if (sight === "stale" || (sight === "absent" && sameHost)) return { is: "gone", who };
      if (sight === "resting") return { is: "unclear", why: `${who}, which was at work within the last hours` };
      return { is: "unclear", why: `${who}, whose state directory can not be seen from here` };
    },
    forget: () => seen.clear(),
  };
}

/** The daemon ends: nothing was seen, and nobody asks any more. */
function unlessCalledOff(error: unknown): void {
  if (!(error instanceof DOMException && error.name === "AbortError")) throw error;
}
