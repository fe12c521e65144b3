/** What effects work with: the seams, the configuration they need, and nothing else. */
import type { JobFiles, Owner } from "../artifacts/job-files.ts";
import type { PosixRoots } from "../artifacts/posix-roots.ts";
import type { Clock } from "../clock.ts";
import type { Emx2Client } from "../emx2/client.ts";
import type { BackoffLimits } from "../emx2/retry.ts";
import type { ApptainerSettings, BackendName, Profile } from "../job/profile.ts";
import type { Journal } from "../journal/journal.ts";
import type { Log } from "../log.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { Busy } from "./busy.ts";
import type { Slots } from "./file-group.ts";
import type { Holds } from "./holds.ts";
import type { Movements } from "./movements.ts";
import type { TakeRoom } from "./room.ts";
import type { ServerReach } from "./server-reach.ts";

export interface EffectContext {
  readonly clock: Clock;
  readonly client: Emx2Client;
  readonly files: JobFiles;
  readonly journal: Pick<Journal, "files">;
  /** Of files that move, over all jobs. */
  readonly slots: Slots;
  readonly movements: Pick<Movements, "begin">;
  readonly log: Log;
  readonly owner: Owner;
  readonly apptainer: ApptainerSettings;
  readonly posixRoots: PosixRoots;
  readonly delays: Delays;
  readonly stderrLinesInReports: number;
  /** A longer log is uploaded in two parts. */
  readonly maxLogBytes: number;
  /** How long outputs may be hashed on the compute node. */
  readonly sealMs: number;
  /** Jobs look around before their workload starts. */
  readonly isTrial: boolean;
  /** How long EMX2 may fail to take a file; null: for ever. */
  readonly uploadRetryMs: number | null;
  schedulerOf(backend: BackendName): Scheduler;
  /** undefined: the configuration has no such profile any more. */
  profileOf(key: string): Profile | undefined;
  readonly takeRoom: TakeRoom;
  /** Told how submissions are answered, and whether images could be started. */
  readonly holds: Pick<Holds, "refused" | "taken" | "unstarted" | "begun">;
  readonly busy: Pick<Busy, "began" | "taken">;
  readonly reach: Pick<ServerReach, "answered" | "failed">;
  /** EMX2 refused a claim since it does not know what this worker can run. */
  capabilityMissing(): void;
  /** A scheduler command found nobody at home. */
  schedulerDown(backend: BackendName): void;
}

/** Milliseconds. */
export interface Delays {
  readonly cancelRepeatMs: number;
  readonly findRepeatMs: number;
  /** Of a lane that failed: the first pause, growing to the longest. */
  readonly backoff: BackoffLimits;
}
