/** A job of a simulated Slurm, ours or somebody else's. */
import type { RunRef, SlurmState } from "../../src/job/run.ts";
import type { BatchScript } from "./batch-script.ts";
import type { Start } from "./chronicle.ts";

export const ourUser = "sim";

export interface SlurmJob {
  readonly id: string;
  readonly name: string;
  readonly user: string;
  /** Absent: somebody else's job. */
  readonly run?: RunRef;
  readonly requeues: boolean;
  /** How far accounting is behind with it. */
  readonly lagMs: number;
  restart: number;
  state: SlurmState;
  /** Wall clock, milliseconds. */
  submittedAt: number;
  node?: string;
  exit?: number;
  signal?: number;
  cancelledBy?: number;
  /** Purged, or lost in a crash. */
  unknown: boolean;
  /** The controller did not know of it, for ever or for a while. */
  isForgotten: boolean;
  /** What accounting was told, and when. */
  readonly told: { readonly at: number; readonly job: Told }[];
  script?: BatchScript;
  start?: Start;
  /** Counts what makes planned acts void. */
  turn: number;
}

export type Told = Pick<
  SlurmJob,
  "id" | "name" | "user" | "state" | "submittedAt" | "node" | "exit" | "signal" | "cancelledBy"
>;

export type Ended = Pick<SlurmJob, "exit" | "signal">;
