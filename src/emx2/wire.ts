/**
 * What EMX2 answers, its JSON and snake_case made into ours; `bodies.ts` is the other direction. Reading is lenient: unknown
 * fields are ignored, absent and null are the same, numbers may come as text and ids as numbers.
 */
import * as v from "valibot";
import type { InputRef, ServerJob } from "../job/job.ts";
import { childTexts, memberText } from "../job/raw-json.ts";
import { jobStatuses } from "../job/status.ts";
import type { Artifact, ArtifactFile, Health, ListedJob } from "./client.ts";
import type { Generation } from "./generation.ts";
import { sortableInstant } from "./instant.ts";

/** It becomes part of file names and of Slurm's job names, which other programs of this account give as well. */
const jobId = v.pipe(v.string(), v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/));
/** An id becomes part of URLs and file names, so it must be harmless in both. EMX2's are UUIDs. */
const id = v.pipe(v.union([v.string(), v.number()]), v.transform(String), v.regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/));
const optionalText = optional(v.pipe(v.union([v.string(), v.number()]), v.transform(String)));
const count = v.pipe(
  v.union([v.number(), v.pipe(v.string(), v.regex(/^\d+$/), v.transform(Number))]),
  v.safeInteger(),
  v.minValue(0),
);
const sha256 = v.pipe(v.string(), v.toLowerCase());

function optional<S extends v.GenericSchema>(schema: S) {
  return v.nullish(schema, null);
}

const jobSchema = v.object({
  id: jobId,
  processor: v.string(),
  profile: optionalText,
  status: v.picklist(jobStatuses),
  worker_id: optionalText,
  slurm_job_id: v.fallback(optionalText, null),
  submit_user: optionalText,
  timeout_seconds: v.fallback(optional(count), null),
  inputs: v.optional(v.unknown()),
  created_at: v.fallback(optional(v.string()), null),
});

/** Throws where the text is no job: a bound, a type or an id that cannot be used. */
export function readJob(text: string): ServerJob {
  return toJob(text, v.parse(jobSchema, JSON.parse(text)));
}

export function readListedJob(text: string): ListedJob {
  const parsed = v.parse(jobSchema, JSON.parse(text));
  const { parametersText: _left, ...job } = toJob(text, parsed);
  return { ...job, createdAt: parsed.created_at === null ? null : sortableInstant(parsed.created_at) };
}

function toJob(text: string, job: v.InferOutput<typeof jobSchema>): ServerJob {
  return {
    id: job.id,
    processor: job.processor,
    profile: job.profile,
    status: job.status,
    workerId: job.worker_id,
    submitUser: job.submit_user,
    ...(job.slurm_job_id === null ? {} : { slurmJobId: job.slurm_job_id }),
    timeoutSeconds: job.timeout_seconds,
    ...readRequest(text, job.inputs),
  };
}

/** The submitter's own part: what is wrong in it is the job's fault, and makes no stranger of the job. */
function readRequest(text: string, inputs: unknown): Pick<ServerJob, "inputs" | "parametersText" | "unreadable"> {
  const refs = unlessInvalid(() => readInputs(inputs));
  const parametersText = unlessInvalid(() => readParameters(text));
  // The reason is ours alone: a parser's words may quote what was written, and this goes into journal and log.
  const unreadable =
    refs === undefined
      ? "the job's inputs are not ids of artifacts"
      : parametersText === undefined
        ? "the job's parameters are not a JSON object"
        : undefined;
  return {
    inputs: refs ?? [],
    parametersText: parametersText ?? "{}",
    ...(unreadable === undefined ? {} : { unreadable }),
  };
}

function unlessInvalid<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof v.ValiError || error instanceof SyntaxError || error instanceof NotAnObject) return undefined;
    throw error;
  }
}

class NotAnObject extends Error {}

/** The source text of `parameters`; of the object inside where they are a JSON text holding one. */
function readParameters(jobText: string): string {
  const outer = memberText(jobText, ["parameters"]) ?? "null";
  const value: unknown = JSON.parse(outer);
  const text = typeof value === "string" ? value : outer;
  const parsed: unknown = JSON.parse(text.trim() || "null");
  if (parsed === null) return "{}";
  if (!isObject(parsed)) throw new NotAnObject();
  return text;
}

/** All the forms in which `inputs` come, in their order, each artifact once. */
export function readInputs(inputs: unknown): readonly InputRef[] {
  const value: unknown = typeof inputs === "string" ? JSON.parse(inputs.trim() || "null") : inputs;
  if (value === null || value === undefined) return [];
  const refs = (Array.isArray(value) ? value : [value]).flatMap(readInput);
  const byId = new Map<string, InputRef>();
  for (const ref of refs) if (!byId.has(ref.artifactId)) byId.set(ref.artifactId, ref);
  return [...byId.values()];
}

function readInput(entry: unknown): InputRef[] {
  if (!isObject(entry)) return [{ artifactId: v.parse(id, entry) }];
  const own = v.parse(v.object({ artifact_id: optional(id), id: optional(id) }), entry);
  const artifactId = own.artifact_id ?? own.id;
  if (artifactId !== null) return [{ artifactId }];
  return Object.entries(entry).map(([name, value]) => ({ artifactId: v.parse(id, value), name }));
}

const artifactSchema = v.object({
  id,
  name: optionalText,
  type: optionalText,
  residence: optionalText,
  status: v.string(),
  sha256: optional(sha256),
  size_bytes: optional(count),
  content_url: optionalText,
});

export function readArtifact(text: string): Artifact {
  const { size_bytes, content_url, ...artifact } = v.parse(artifactSchema, JSON.parse(text));
  return { ...artifact, bytes: size_bytes, contentUrl: content_url };
}

export function readCreated(text: string): { artifactId: string } {
  return { artifactId: v.parse(v.object({ id }), JSON.parse(text)).id };
}

const fileSchema = v.object({ path: v.string(), sha256: optional(sha256), size_bytes: optional(count) });

export function readFile(text: string): ArtifactFile {
  return fileOf(JSON.parse(text));
}

function fileOf(value: unknown): ArtifactFile {
  const { path, sha256, size_bytes } = v.parse(fileSchema, value);
  return { path, sha256, bytes: size_bytes };
}

/** Parsed once: 2026-02 gives a whole list as one answer. */
export function readFiles(text: string): { readonly files: readonly ArtifactFile[]; readonly total: number } {
  const schema = v.object({ items: v.array(v.unknown()), total_count: count });
  const { items, total_count: total } = v.parse(schema, JSON.parse(text));
  return { files: items.map(fileOf), total };
}

export function readHealth(text: string): Health {
  const schema = v.object({
    status: v.string(),
    api_version: optionalText,
    hpc_enabled: optional(v.boolean()),
    worker_auth_mode: optionalText,
  });
  const health = v.parse(schema, JSON.parse(text));
  return {
    status: health.status,
    apiVersion: health.api_version,
    hpcEnabled: health.hpc_enabled,
    workerCredentials: health.worker_auth_mode === "per-worker-hmac",
    generation: generationOf(health),
  };
}

/** Throws where the answer does not tell: a health of something else has no API version. */
export function readGeneration(text: string): Generation {
  const { generation } = readHealth(text);
  if (generation === null) throw new TypeError("it has no api_version");
  return generation;
}

function generationOf(health: { api_version: string | null; worker_auth_mode: string | null }): Generation | null {
  if (health.api_version === null) return null;
  return health.worker_auth_mode === null ? "2026-02" : "2026-05";
}

/** Answers to register and heartbeat: naming the worker is all that is asked of them. */
export function readWorker(text: string): { workerId: string } {
  return { workerId: v.parse(v.object({ worker_id: v.string() }), JSON.parse(text)).worker_id };
}

/** A page of a list. `total` is null where the server does not tell; items are source texts, so that one bad one spoils none. */
export function readPage(text: string): { readonly items: readonly string[]; readonly total: number | null } {
  const page = v.parse(v.object({ items: v.array(v.unknown()), total_count: optional(count) }), JSON.parse(text));
  return { items: [...childTexts(memberText(text, ["items"]) ?? "[]").values()], total: page.total_count };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
