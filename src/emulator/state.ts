/**
 * What the emulated EMX2 knows: plain data in maps, in the order of creation. It has no clock and no
 * chance of its own, so that in virtual time the same requests make the same server.
 */

import type { ArtifactStatus, JobStatus, Residence } from "../job/status.ts";
import { type Generation, type GenerationName, generations } from "./generation.ts";

export interface EmulatorState {
  readonly uuid: () => string;
  /** When what is done without a request happens, wall clock in milliseconds. */
  readonly wall: () => number;
  readonly settings: {
    maxUploadBytes: number;
    hpcEnabled: boolean;
    generation: Generation;
    sharedSecret: string | null;
  };
  /** Of 2026-02: nonces that were used, whether anybody was authenticated yet, lists given so far. */
  readonly seen: { readonly nonces: Set<string>; authenticated: boolean; lists: number };
  /** Worker id to the secret of its active credential. */
  readonly credentials: Map<string, string>;
  readonly tokens: Map<string, User>;
  readonly workers: Map<string, StoredWorker>;
  readonly jobs: Map<string, StoredJob>;
  readonly artifacts: Map<string, StoredArtifact>;
  /** Where large content is kept; null: in memory, as all other. */
  readonly contentDir: string | null;
}

interface StateOptions {
  readonly uuid: () => string;
  readonly wall: () => number;
  readonly maxUploadBytes?: number;
  readonly hpcEnabled?: boolean;
  readonly generation?: GenerationName;
  readonly contentDir?: string;
}

/** Each role may do what those before it may. */
export const roles = ["nobody", "viewer", "editor", "manager", "admin"] as const;
export type Role = (typeof roles)[number];

export interface User {
  readonly name: string;
  readonly role: Role;
}

interface StoredWorker {
  readonly id: string;
  hostname: string | null;
  capabilities: readonly Capability[];
  /** Instants are wall clock milliseconds throughout. */
  readonly registeredAt: number;
  lastHeartbeatAt: number;
}

export interface Capability {
  readonly processor: string;
  readonly profile: string | null;
  /** null: registered without a limit. */
  readonly maxConcurrentJobs: number | null;
}

export interface StoredJob {
  readonly id: string;
  readonly processor: string;
  readonly profile: string | null;
  readonly submitUser: string | null;
  /** JSON text, spelt as it came but for the white space. */
  readonly parametersText: string | null;
  readonly inputs: unknown;
  readonly timeoutSeconds: number | null;
  readonly createdAt: number;
  readonly transitions: Transition[];
  status: JobStatus;
  workerId: string | null;
  slurmJobId: string | null;
  outputArtifactId: string | null;
  logArtifactId: string | null;
  claimedAt: number | null;
  submittedAt: number | null;
  startedAt: number | null;
  completedAt: number | null;
  phase: string | null;
  message: string | null;
  progress: number | null;
}

export interface Transition {
  readonly id: string;
  readonly from: JobStatus | null;
  readonly to: JobStatus;
  readonly at: number;
  readonly workerId: string | null;
  readonly detail: string | null;
  readonly phase: string | null;
  readonly message: string | null;
  readonly progress: number | null;
}

export interface StoredArtifact {
  readonly id: string;
  readonly name: string | null;
  readonly type: string | null;
  readonly residence: Residence;
  readonly contentUrl: string | null;
  /** JSON text. */
  readonly metadataText: string | null;
  readonly createdAt: number;
  readonly files: Map<string, StoredFile>;
  status: ArtifactStatus;
  sha256: string | null;
  sizeBytes: number | null;
  committedAt: number | null;
}

export interface StoredFile {
  readonly id: string;
  readonly path: string;
  readonly sha256: string | null;
  readonly sizeBytes: number;
  readonly contentType: string;
  /** null: only metadata was sent, or it is `large`. */
  readonly content: Uint8Array<ArrayBuffer> | null;
  /** A file of this host. */
  readonly large?: Blob;
}

export function createState(options: StateOptions): EmulatorState {
  const { uuid, wall, maxUploadBytes = 524_288_000, hpcEnabled = true, generation = "2026-05" } = options;
  const { contentDir = null } = options;
  return {
    uuid,
    wall,
    settings: { maxUploadBytes, hpcEnabled, generation: generations[generation], sharedSecret: null },
    seen: { nonces: new Set(), authenticated: false, lists: 0 },
    credentials: new Map(),
    tokens: new Map(),
    workers: new Map(),
    jobs: new Map(),
    artifacts: new Map(),
    contentDir,
  };
}
