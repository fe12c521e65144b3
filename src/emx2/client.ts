/**
 * The EMX2 HPC API as the daemon speaks it, one method per call of the protocol. An answer without the protocol's shape is
 * an ApiError and never a success. Failures are ApiError, NetworkError or IntegrityError; `retry.ts` judges them; a call
 * that its caller aborted throws the signal's reason. Sending, signing and trying again are in `exchange.ts`.
 */
import type { Clock } from "../clock.ts";
import type { Report, ServerJob } from "../job/job.ts";
import type { JobStatus, Residence } from "../job/status.ts";
import type { Usage } from "../job/usage.ts";
import { artifactCalls } from "./artifact-calls.ts";
import { createExchange, get } from "./exchange.ts";
import { fileCalls } from "./file-calls.ts";
import { createGenerations, type Generation } from "./generation.ts";
import { jobCalls } from "./job-calls.ts";
import { readGeneration } from "./wire.ts";

/** The part of `fetch` that the client uses; the simulation puts the emulator here. */
export type Fetch = (url: string, init: FetchInit) => Promise<Response>;

export interface FetchInit extends BunFetchRequestInit {
  readonly method: string;
  readonly headers: Record<string, string>;
  /** Bun ends a request after 360 s unless told otherwise. */
  readonly timeout?: false;
}

export interface Emx2Options {
  /** `https://host[/prefix]`; `/api/hpc` is appended. */
  readonly baseUrl: string;
  readonly workerId: string;
  /** `secret` is read at each attempt, so that a rotated one counts at once. */
  readonly credential: { readonly mode: "hmac" | "token"; readonly secret: () => string };
  readonly clock: Clock;
  readonly fetch?: Fetch;
  /** PEM, added to the system's authorities. */
  readonly ca?: string;
  /** How long no byte may move, in either direction. */
  readonly idleTimeoutMs?: number;
  /** Told whenever the server's clock is far enough from ours to matter (positive: ours is ahead). */
  readonly onClockOffset?: (offsetS: number) => void;
  /** Told of each attempt once its answer has begun, or has failed to come. */
  readonly onAttempt?: (attempt: Attempt) => void;
}

/** One request on the wire, without anything that could be secret: no header, no body. */
export interface Attempt {
  readonly method: string;
  readonly path: string;
  /** HTTP status, or the code of the failure. */
  readonly result: number | string;
  readonly ms: number;
  readonly requestId: string;
}

export interface Call {
  readonly signal?: AbortSignal;
  readonly traceId?: string;
  /** How often one call is sent at most. */
  readonly attempts?: number;
  /** Told of the bytes of a file that have passed in this attempt, either way. */
  readonly onBytes?: (passed: number) => void;
}

export interface Emx2Client {
  /** There is another secret than the one that was last sent. */
  hasNewSecret(): boolean;
  health(call?: Call): Promise<Health>;
  /** Remembered, and asked for again whenever something hints at another; see `generation.ts`. */
  generation(call?: Call): Promise<Generation>;
  register(worker: { hostname: string; capabilities: readonly Capability[] }, call?: Call): Promise<void>;
  /** `unknown`: EMX2 does not know this worker, so register again. */
  heartbeat(call?: Call): Promise<"ok" | "unknown">;
  listJobs(filter: JobFilter, call?: Call): Promise<JobList>;
  /** null: EMX2 does not know the job. */
  readJob(jobId: string, call?: Call): Promise<ServerJob | null>;
  /** Sent once: a lost answer throws, and only the job itself tells whose it is. */
  claim(jobId: string, call?: Call): Promise<ServerJob>;
  report(jobId: string, report: Report, call?: Call): Promise<void>;
  /** Sent once where it may have been taken: each answer that is lost may leave an empty artifact behind. */
  createArtifact(artifact: NewArtifact, call?: Call): Promise<{ artifactId: string }>;
  readArtifact(artifactId: string, call?: Call): Promise<Artifact | null>;
  listFiles(artifactId: string, limit: { maxFiles: number }, call?: Call): AsyncIterable<readonly ArtifactFile[]>;
  /** Of a posix artifact, 2026-05 has no content (ApiError of form "posix"); 2026-02 has what `putFileFacts` wrote. */
  getFile(artifactId: string, path: string, call?: Call): Promise<FileDownload>;
  /** The same as text, whole; IntegrityError where it is longer than `maxBytes`. */
  readFileText(artifactId: string, path: string, limit: { maxBytes: number }, call?: Call): Promise<string>;
  /** null: there is no such file. */
  headFile(artifactId: string, path: string, call?: Call): Promise<FileFacts | null>;
  /** Throws IntegrityError where the server acknowledges another hash or size. */
  putFile(artifactId: string, file: FileUpload, call?: Call): Promise<void>;
  /**
   * Names a file of a posix artifact, and gives the hash and size under which the server holds it: the file's own, or on
   * 2026-02 those of the JSON text that names it. The artifact's content hash is made of these.
   */
  putFileFacts(artifactId: string, file: PosixFile, call?: Call): Promise<{ sha256: string; bytes: number }>;
  /** With all that it holds. One that EMX2 does not know is as good as deleted. */
  deleteArtifact(artifactId: string, call?: Call): Promise<void>;
  commit(artifactId: string, content: { sha256: string; bytes: number }, call?: Call): Promise<Artifact>;
}

export interface Health {
  readonly status: string;
  readonly apiVersion: string | null;
  readonly hpcEnabled: boolean | null;
  /** The generation that issues a secret to each worker; false: one secret for all. */
  readonly workerCredentials: boolean;
  /** null: the answer does not look like EMX2's. */
  readonly generation: Generation | null;
}

export interface Capability {
  readonly processor: string;
  readonly profile: string;
  readonly maxConcurrentJobs: number;
}

export interface JobFilter {
  readonly status: JobStatus;
  readonly processor?: string;
  readonly profile?: string;
  readonly pageSize?: number;
  readonly maxJobs?: number;
}

/** Parameters may be megabytes: who needs them reads the job. */
export type ListedJob = Omit<ServerJob, "parametersText"> & {
  /** By EMX2's clock and without a zone: for sorting, as text, and nothing else. null: unreadable. */
  readonly createdAt: string | null;
};

export interface JobList {
  readonly jobs: readonly ListedJob[];
  /** How many the server says there are. */
  readonly total: number;
  /** One for each entry that could not be read. */
  readonly warnings: readonly string[];
}

export interface NewArtifact {
  readonly type: "blob" | "log";
  readonly residence: Residence;
  readonly name: string;
  readonly metadata: ArtifactMetadata;
  /** Needed for posix: an absolute `file:///…` without `..`. */
  readonly contentUrl?: string;
}

/** What an artifact of a job tells about its origin. The worker's id is added by the client. */
export interface ArtifactMetadata {
  readonly jobId: string;
  readonly processor: string;
  readonly profile: string | null;
  readonly role: "output" | "log";
  /** The job's `submit_user`. */
  readonly createdBy: string | null;
  readonly inputArtifactIds: readonly string[];
  readonly parametersHash: string;
  readonly simulated?: boolean;
  readonly slurmJobId?: string;
  readonly node?: string;
  readonly elapsedSeconds?: number;
  /** The image's, as this host saw it; absent where it was changed before the run ended. */
  readonly imageSha256?: string;
  readonly imageChanged?: true;
  /** Of the resources that it used those that the site records. */
  readonly used?: Usage;
  /** Files that could not keep their names, by the paths that they have here; `names`: the first few of them. */
  readonly escapedNames?: { readonly count: number; readonly names: readonly string[] };
}

export interface Artifact {
  readonly id: string;
  readonly name: string | null;
  readonly type: string | null;
  readonly residence: string | null;
  /** One of `ArtifactStatus`, or a word that this version does not know. */
  readonly status: string;
  readonly sha256: string | null;
  readonly bytes: number | null;
  /** As the server stores it: unchecked. */
  readonly contentUrl: string | null;
}

export interface FileFacts {
  readonly bytes: number | null;
  /** Lower-case hex. */
  readonly sha256: string | null;
}

export interface ArtifactFile extends FileFacts {
  /** As the server stores it: unchecked. */
  readonly path: string;
}

interface FileDownload extends FileFacts {
  readonly body: ReadableStream<Uint8Array>;
}

export interface FileUpload {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Called anew for each attempt. */
  readonly body: () => ReadableStream<Uint8Array>;
}

export interface PosixFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export function createClient(given: Emx2Options): Emx2Client {
  const { clock, workerId, credential } = given;
  let lastSent: string | undefined;
  const secret = () => {
    lastSent = credential.secret();
    return lastSent;
  };
  const options = { ...given, credential: { ...credential, secret } };
  const exchange = createExchange(options, () => generations.forget());
  const generations = createGenerations(clock, () =>
    exchange.json({ ...get("/health"), anonymous: true }, readGeneration),
  );
  return {
    hasNewSecret: () => lastSent !== undefined && credential.secret() !== lastSent,
    generation: (call) => generations.present(call),
    ...jobCalls(exchange, generations, workerId),
    ...artifactCalls(exchange, generations, workerId),
    ...fileCalls(exchange, generations, clock),
  };
}
