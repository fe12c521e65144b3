/** The other side of the server: what administrators and submitters do, and what they see, without HTTP in between. */

import { sha256Hex } from "../emx2/signature.ts";
import { markCommitted, storeArtifact } from "./artifacts.ts";
import { storeFile } from "./files.ts";
import { generations } from "./generation.ts";
import { markCancelled, type NewJob, storeJob } from "./job-store.ts";
import type { EmulatorState, Role, StoredArtifact, StoredJob } from "./state.ts";

/** Issues or replaces a worker's secret. */
export function addWorkerCredential(state: EmulatorState, workerId: string, secret: string): void {
  state.credentials.set(workerId, secret);
}

/** The one secret of a 2026-02 server. */
export function addSharedSecret(state: EmulatorState, secret: string): void {
  state.settings.sharedSecret = secret;
}

/** The server is upgraded with its data: from now on each worker needs a secret of its own. */
export function upgrade(state: EmulatorState): void {
  state.settings.generation = generations["2026-05"];
}

export function revokeWorkerCredential(state: EmulatorState, workerId: string): void {
  state.credentials.delete(workerId);
}

export function addToken(state: EmulatorState, token: string, name: string, role: Role): void {
  state.tokens.set(token, { name, role });
}

/** `large`: a file of this host, and its hash. */
export type NewContent = { path: string } & ({ content: Uint8Array | string } | { large: Blob; sha256: string });

/** A committed artifact; gives its id. With `contentUrl` its files lie there, and EMX2 knows of them alone. */
export function addArtifact(
  state: EmulatorState,
  artifact: {
    name?: string;
    type?: string;
    contentUrl?: string;
    files: readonly NewContent[];
  },
): string {
  const { name = null, type = "blob", contentUrl = null, files } = artifact;
  const residence = contentUrl === null ? "managed" : "posix";
  const stored = storeArtifact(state, state.wall(), { name, type, residence, contentUrl, metadataText: null });
  for (const file of files) {
    const { path } = file;
    if ("large" in file) {
      const { large, sha256 } = file;
      storeFile(state, stored, { path, sha256, sizeBytes: large.size, content: null, large });
      continue;
    }
    const { content } = file;
    const bytes = new Uint8Array(typeof content === "string" ? new TextEncoder().encode(content) : content);
    const facts = { path, sha256: sha256Hex(bytes), sizeBytes: bytes.length };
    storeFile(state, stored, contentUrl === null ? { ...facts, content: bytes } : described(state, facts));
  }
  markCommitted(stored, state.wall(), { sha256: null, sizeBytes: null });
  return stored.id;
}

/** What a PUT of JSON about a file makes of it. */
function described(state: EmulatorState, facts: { path: string; sha256: string; sizeBytes: number }) {
  if (state.settings.generation.jsonIsMetadata) return { ...facts, content: null };
  const json = JSON.stringify({ sha256: facts.sha256, size_bytes: facts.sizeBytes });
  const content = new Uint8Array(new TextEncoder().encode(json));
  return { path: facts.path, sha256: sha256Hex(content), sizeBytes: content.length, content };
}

/** A pending job; gives its id. `parametersText`: JSON, which stands in the job as it is. */
export function addJob(
  state: EmulatorState,
  job: Partial<Omit<NewJob, "processor">> & Pick<NewJob, "processor">,
): string {
  const { profile = null, submitUser = "submitter", parametersText = null, inputs = null, timeoutSeconds = null } = job;
  const { processor } = job;
  return storeJob(state, state.wall(), { processor, profile, submitUser, parametersText, inputs, timeoutSeconds }).id;
}

/** What the submitter's cancel does; a job that has ended is left as it is. */
export function cancelJob(state: EmulatorState, id: string): void {
  const stored = job(state, id);
  if (stored.completedAt === null) markCancelled(state, stored, state.wall(), stored.submitUser ?? "submitter");
}

/** Throws where there is no such job. */
export function job(state: EmulatorState, id: string): StoredJob {
  const found = state.jobs.get(id);
  if (found === undefined) throw new Error(`no job ${id}`);
  return found;
}

/** Throws where there is no such artifact. */
export function artifact(state: EmulatorState, id: string): StoredArtifact {
  const found = state.artifacts.get(id);
  if (found === undefined) throw new Error(`no artifact ${id}`);
  return found;
}
