/**
 * What the daemon knows and the journal does not: who answers, what is held, and why each job waits. It is worked out when a
 * snapshot is published, and stands in that snapshot alone.
 */
import type { MovingLane } from "../job/acts.ts";
import type { EffectKind } from "../job/effect.ts";
import type { BackendName } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";

/** Instants are wall clock milliseconds. */
export interface Overview {
  readonly at: number;
  readonly workerId: string;
  /** `cause`: why it can not be asked. */
  readonly emx2: { readonly url: string; readonly reachable: boolean; readonly cause?: string };
  /** Of the backends that have jobs. */
  readonly schedulers: readonly { readonly backend: BackendName; readonly answers: boolean }[];
  readonly held: readonly HeldProfile[];
  /** Absent in a snapshot of an older version. */
  readonly notClaiming?: readonly NotClaiming[];
  readonly jobs: Readonly<Record<JobId, Outlook>>;
}

/** No room for what jobs would write. Without `profile`: nothing at all is claimed. */
export interface NotClaiming {
  readonly profile?: string;
  readonly cause: string;
}

export interface HeldProfile {
  readonly profile: string;
  readonly since: number;
  readonly cause: string;
  readonly nextProbeAt: number;
}

/** What happens next to a job that is still to be brought to its end. */
export interface Outlook {
  /** Why it waits, or what is being done. */
  readonly why: string;
  /** When it is looked at again though nothing happens. */
  readonly wakeAt?: number;
  /** When its run was last looked at. */
  readonly lookedAt?: number;
  /** Effects under way. */
  readonly doing: readonly EffectKind[];
  readonly moving?: Movement;
}

/** How far files of a job have got: those that arrived of all, and the bytes that passed of all. */
export interface Movement {
  readonly lane: MovingLane;
  readonly files: number;
  readonly ofFiles: number;
  readonly bytes: number;
  readonly ofBytes: number;
}
