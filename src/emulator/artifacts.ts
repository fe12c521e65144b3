/** Artifacts: create, read, commit, delete. Their files are in `files.ts`. */
import { type ArtifactStatus, type Residence, residences } from "../job/status.ts";
import { type Answer, json, nothing, RawJson } from "./answer.ts";
import { freshDateTime, storedDateTime } from "./date-times.ts";
import type { Call } from "./exchange.ts";
import { readJson } from "./json-body.ts";
import { badRequest, conflict, notFound, Refusal, unforeseen } from "./refusals.ts";
import type { EmulatorState, StoredArtifact } from "./state.ts";
import { contentSha256 } from "./tree-hash.ts";

export async function createArtifact(call: Call): Promise<Answer> {
  const body = await readJson(call);
  const residence = body.text("residence") ?? "managed";
  if (!isResidence(residence)) throw unforeseen(call.requestId);
  const contentUrl = body.text("content_url");
  if (residence === "posix") checkPosixUrl(contentUrl);
  const artifact = storeArtifact(call.state, call.now, {
    name: body.text("name"),
    type: body.text("type"),
    residence,
    contentUrl,
    metadataText: body.source("metadata"),
  });
  const { id, name, type, status } = artifact;
  return json(201, { id, name, type, status, _links: artifactLinks(call.state, artifact) });
}

export type NewArtifact = Pick<StoredArtifact, "name" | "type" | "residence" | "contentUrl" | "metadataText">;

export function storeArtifact(state: EmulatorState, now: number, artifact: NewArtifact): StoredArtifact {
  const stored: StoredArtifact = {
    ...artifact,
    id: state.uuid(),
    createdAt: now,
    files: new Map(),
    status: artifact.residence === "managed" ? "CREATED" : "REGISTERED",
    sha256: null,
    sizeBytes: null,
    committedAt: null,
  };
  state.artifacts.set(stored.id, stored);
  return stored;
}

export function readArtifact(call: Call): Answer {
  return json(200, artifactView(call.state, artifactOf(call), storedDateTime));
}

/**
 * The hash is checked where the content is here, letter case included; the size never is. Of content that lies elsewhere
 * the client's word is taken, even where it is no hash.
 */
export async function commit(call: Call): Promise<Answer> {
  const body = await readJson(call);
  const sha256 = body.text("sha256");
  const sizeBytes = body.integer("size_bytes");
  const artifact = artifactOf(call);
  if (artifact.status !== "UPLOADING" && artifact.status !== "REGISTERED") {
    throw conflict(`Artifact ${artifact.id} cannot be committed from status ${artifact.status}`);
  }
  const computed = contentSha256([...artifact.files.values()]);
  const { checksEveryCommit } = call.state.settings.generation;
  const isChecked = artifact.residence === "managed" || (checksEveryCommit && artifact.files.size > 0);
  if (isChecked && sha256 !== null && sha256 !== computed) {
    throw new Refusal(409, "Hash Mismatch", `client=${sha256} computed=${computed}`);
  }
  markCommitted(artifact, call.now, { sha256, sizeBytes });
  return json(200, artifactView(call.state, artifact, freshDateTime));
}

/** What the client does not say is taken from the files. */
export function markCommitted(
  artifact: StoredArtifact,
  now: number,
  said: { sha256: string | null; sizeBytes: number | null },
): void {
  const files = [...artifact.files.values()];
  artifact.sha256 = said.sha256 ?? contentSha256(files);
  artifact.sizeBytes = said.sizeBytes ?? files.reduce((sum, file) => sum + file.sizeBytes, 0);
  artifact.status = "COMMITTED";
  artifact.committedAt = now;
}

/** Jobs that name the artifact lose it. */
export function deleteArtifact(call: Call): Answer {
  const { id } = artifactOf(call);
  for (const job of call.state.jobs.values()) {
    if (job.outputArtifactId === id) job.outputArtifactId = null;
    if (job.logArtifactId === id) job.logArtifactId = null;
  }
  call.state.artifacts.delete(id);
  return nothing(204);
}

export function artifactOf({ state, params }: Call): StoredArtifact {
  const artifact = state.artifacts.get(params.id);
  if (artifact === undefined) throw notFound(`Artifact ${params.id} not found`);
  return artifact;
}

function artifactView(
  state: EmulatorState,
  artifact: StoredArtifact,
  committedAt: (ms: number | null) => string | null,
): unknown {
  return {
    id: artifact.id,
    name: artifact.name,
    type: artifact.type,
    residence: artifact.residence,
    status: artifact.status,
    sha256: artifact.sha256,
    size_bytes: artifact.sizeBytes === null ? null : String(artifact.sizeBytes),
    content_url: artifact.contentUrl,
    metadata: artifact.metadataText === null ? undefined : new RawJson(artifact.metadataText),
    created_at: storedDateTime(artifact.createdAt),
    committed_at: committedAt(artifact.committedAt),
    _links: artifactLinks(state, artifact),
  };
}

/** Between `self` and `files`, which every artifact has. */
const linksByStatus: Readonly<Record<ArtifactStatus, readonly ("upload" | "commit" | "download")[]>> = {
  CREATED: ["upload"],
  UPLOADING: ["upload", "commit"],
  REGISTERED: ["commit"],
  COMMITTED: ["download"],
  FAILED: [],
};

function artifactLinks({ settings }: EmulatorState, { id, status }: StoredArtifact): unknown {
  const self = `/api/hpc/artifacts/${id}`;
  const links = {
    upload: { href: `${self}/files/{path}`, method: "PUT" },
    commit: { href: `${self}/commit`, method: "POST" },
    download: { href: `${self}/files/{path}`, method: "GET" },
  };
  return {
    self: { href: self, method: "GET" },
    ...Object.fromEntries(linksByStatus[status].map((rel) => [rel, links[rel]])),
    ...(settings.generation.hasMultipart && linksByStatus[status].includes("upload")
      ? { upload_legacy: { href: `${self}/files`, method: "POST" } }
      : {}),
    files: { href: `${self}/files`, method: "GET" },
  };
}

function checkPosixUrl(url: string | null): void {
  if (url === null) throw badRequest("content_url is required for posix artifacts");
  if (!url.startsWith("file:///")) throw badRequest("content_url must be an absolute file:/// URL");
  if (url.split("/").includes("..")) throw badRequest("content_url must not contain path traversal (..) segments");
}

function isResidence(word: string): word is Residence {
  return (residences as readonly string[]).includes(word);
}
