/**
 * Files of an artifact. A body sent as `application/json` is taken for metadata, whatever the file's name: so a job's own
 * `.json` output sent that way is accepted and lost. The media type is guessed from the name, never taken from the upload.
 */
import { sha256Hex } from "../emx2/signature.ts";
import { type Answer, json, nothing } from "./answer.ts";
import { artifactOf } from "./artifacts.ts";
import { receive } from "./content.ts";
import type { Call } from "./exchange.ts";
import { readJson } from "./json-body.ts";
import { page } from "./page.ts";
import { badRequest, conflict, contentTooLarge, notFound, Refusal, serverError, unforeseen } from "./refusals.ts";
import type { EmulatorState, StoredArtifact, StoredFile } from "./state.ts";

export async function putFile(call: Call): Promise<Answer> {
  const path = checkedPath(call);
  const { jsonIsMetadata } = call.state.settings.generation;
  const isJson = call.headers.get("content-type")?.toLowerCase().startsWith("application/json") ?? false;
  const sent = isJson && jsonIsMetadata ? await readMetadata(call) : await readContent(call);
  const artifact = call.state.artifacts.get(call.params.id);
  if (artifact === undefined) throw notFound(`Transaction failed: Artifact ${call.params.id} not found`);
  const file = storeFile(call.state, artifact, { path, ...sent });
  const { id, sha256, sizeBytes } = file;
  return json(201, { id, artifact_id: artifact.id, path, sha256, size_bytes: sizeBytes });
}

/**
 * A file as the part `file` of a form, its path in the part `path`. It is added, whatever is there already; where two files
 * have one path the first is read and deleted, and no hash of the files as the client knows them is that of a commit.
 */
export async function postFile(call: Call): Promise<Answer> {
  const bytes = await call.body();
  const headers = { "content-type": call.headers.get("content-type") ?? "" };
  const form = await new Response(bytes, { headers }).formData().catch(() => undefined); // what is no form has no parts, and is refused below
  const [path, part] = [form?.get("path"), form?.get("file")];
  if (typeof path !== "string" || !(part instanceof Blob)) throw unforeseen(call.requestId);
  const content = new Uint8Array(await part.arrayBuffer());
  const artifact = artifactOf(call);
  const sent = { path, sha256: sha256Hex(content), sizeBytes: content.length, content };
  const { id, sha256, sizeBytes } = storeFile(call.state, artifact, sent, { beside: true });
  return json(201, { id, artifact_id: artifact.id, path, sha256, size_bytes: sizeBytes });
}

type NewFile = Pick<StoredFile, "path" | "sha256" | "sizeBytes" | "content" | "large"> & {
  contentType?: string | null;
};

/** Replaces what was at that path, which keeps its id, unless it is to stand beside it. */
export function storeFile(
  state: EmulatorState,
  artifact: StoredArtifact,
  file: NewFile,
  { beside = false }: { readonly beside?: boolean } = {},
): StoredFile {
  const { maxPathCharacters, guessesTypes } = state.settings.generation;
  if (file.path.length > maxPathCharacters) {
    const reason = `value too long for type character varying(${maxPathCharacters}). `;
    throw serverError(`Transaction failed: Update into table 'HpcArtifactFiles' failed.: ${reason}`);
  }
  if (artifact.status === "COMMITTED" || artifact.status === "FAILED") {
    throw serverError(`Transaction failed: Cannot add files to artifact in status ${artifact.status}`);
  }
  if (artifact.status === "CREATED") artifact.status = "UPLOADING";
  const isTaken = beside && artifact.files.has(file.path);
  const id = (isTaken ? undefined : artifact.files.get(file.path)?.id) ?? state.uuid();
  const guessed = guessesTypes ? guessedType(file.path) : "application/octet-stream";
  const stored = { ...file, id, contentType: file.contentType ?? guessed };
  artifact.files.set(isTaken ? `${file.path}\0${id}` : file.path, stored);
  return stored;
}

export function getFile(call: Call): Answer {
  const artifact = artifactOf(call);
  const file = artifact.files.get(checkedPath(call));
  if (file === undefined) throw notFound(`File ${call.params.file} not found in artifact ${artifact.id}`);
  if (artifact.contentUrl !== null && call.state.settings.generation.jsonIsMetadata) {
    const location = `${artifact.contentUrl}/${file.path}`;
    const body = new TextEncoder().encode("Redirected");
    return { status: 302, headers: { "content-type": "text/plain", location }, body };
  }
  const body = file.content ?? file.large;
  if (body === undefined) throw notFound(`File ${file.path} has no content`);
  const name = file.path.split("/").at(-1) ?? "";
  const ascii = name.replace(/[^\x20-\x7e]|["\\]/g, "_");
  const disposition = `attachment; filename="${ascii}"; filename*=UTF-8''${encodeURIComponent(name)}`;
  const headers = { ...fileHeaders(file), "content-disposition": disposition };
  return { status: 200, headers, body, download: true };
}

export function headFile(call: Call): Answer {
  const file = call.state.artifacts.get(call.params.id)?.files.get(checkedPath(call));
  if (file === undefined) return nothing(404);
  return { status: 200, headers: { ...fileHeaders(file), "content-length": String(file.sizeBytes) } };
}

export function deleteFile(call: Call): Answer {
  const artifact = artifactOf(call);
  const path = checkedPath(call);
  if (artifact.status === "COMMITTED")
    throw conflict("Transaction failed: Cannot delete files from committed artifact");
  if (!artifact.files.delete(path)) throw notFound(`File ${path} not found in artifact ${artifact.id}`);
  const [key, next] = [...artifact.files].find(([, file]) => file.path === path) ?? [];
  if (key !== undefined && next !== undefined) {
    artifact.files.delete(key);
    artifact.files.set(path, next);
  }
  return nothing(204);
}

/**
 * Sorted as the database collates text, not by code unit, where the generation sorts; else as they came in. An artifact that
 * does not exist has no files.
 */
export function listFiles(call: Call): Answer {
  const { id } = call.params;
  const prefix = call.query.get("prefix") ?? "";
  const files = [...(call.state.artifacts.get(id)?.files.values() ?? [])];
  const collator = new Intl.Collator("en");
  const { generation } = call.state.settings;
  const found = files.filter(({ path }) => path.startsWith(prefix));
  if (generation.listsInOrder) {
    found.sort((a, b) => collator.compare(a.path, b.path) || (a.path < b.path ? -1 : 1));
  }
  const { limit, offset, of } = page(generation, call.query);
  const items = of(found).map((file) => ({
    id: file.id,
    path: file.path,
    sha256: file.sha256,
    size_bytes: String(file.sizeBytes),
    content_type: file.contentType,
    _links: { content: { href: `/api/hpc/artifacts/${id}/files/${file.path}`, method: "GET" } },
  }));
  const list = { items, count: items.length, total_count: found.length, limit, offset };
  return json(200, list, { "x-total-count": String(found.length) });
}

async function readMetadata(call: Call): Promise<Omit<NewFile, "path">> {
  const body = await readJson(call);
  const sizeBytes = body.integer("size_bytes") ?? 0;
  return { sha256: body.text("sha256"), sizeBytes, contentType: body.text("content_type"), content: null };
}

async function readContent(call: Call): Promise<Omit<NewFile, "path">> {
  const { maxUploadBytes, generation } = call.state.settings;
  const declared = Number(call.headers.get("content-length") ?? 0);
  if (declared > generation.maxPutBytes) {
    throw contentTooLarge();
  }
  if (declared > maxUploadBytes) {
    const detail = `Content-Length ${declared} exceeds maximum upload size of ${maxUploadBytes} bytes`;
    throw new Refusal(413, "Payload Too Large", detail, { connection: "close" });
  }
  if (!generation.contentHashIsSigned) {
    const contentType = call.headers.get("content-type");
    return { ...(await receive(call, declared)), contentType };
  }
  const claimed = call.headers.get("content-sha256")?.toLowerCase();
  if (claimed === undefined) throw badRequest("Content-SHA256 header is required for binary uploads");
  const received = await receive(call, declared);
  if (claimed !== received.sha256) {
    const hashes = `(claimed=${claimed}, actual=${received.sha256})`;
    throw badRequest(`Content-SHA256 header does not match actual content hash ${hashes}`);
  }
  return received;
}

function checkedPath({ params, state }: Call): string {
  const path = params.file;
  if (!state.settings.generation.checksPaths) return path;
  if (path.split("/").includes("..")) throw badRequest("path must not contain path traversal (..) segments");
  if (path.length > 1_024) throw badRequest("path must be at most 1024 characters");
  return path;
}

function fileHeaders(file: StoredFile): Record<string, string> {
  return { "content-type": file.contentType, ...(file.sha256 === null ? {} : { "x-content-sha256": file.sha256 }) };
}

const typesByExtension: Readonly<Record<string, string>> = {
  css: "text/css",
  csv: "text/csv",
  gz: "application/gzip",
  html: "text/html",
  jpg: "image/jpeg",
  json: "application/json",
  pdf: "application/pdf",
  png: "image/png",
  svg: "image/svg+xml",
  txt: "text/plain",
  xml: "application/xml",
  zip: "application/zip",
};

function guessedType(path: string): string {
  return typesByExtension[path.split(".").at(-1)?.toLowerCase() ?? ""] ?? "application/octet-stream";
}
