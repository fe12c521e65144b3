/** An EMX2 that knows artifacts alone, on a real socket with the real client; what it tells, and hides, is up to the test. */

import { contentHash } from "../../../src/artifacts/manifest.ts";
import type { listInputs } from "../../../src/artifacts/stage.ts";
import { systemClock } from "../../../src/clock.ts";
import { createClient, type Emx2Client } from "../../../src/emx2/client.ts";
import { artifactId, sha256 } from "./work-directory.ts";

export interface Stored {
  readonly id?: string;
  readonly files: Readonly<Record<string, string>>;
  readonly status?: string;
  readonly residence?: string;
  readonly contentUrl?: string;
  readonly sha256?: string | null;
  /** Fields that the list of files does not have, and headers that HEAD and GET do not have. */
  readonly hidden?: readonly ("sha256" | "size_bytes")[];
  readonly hiddenHeaders?: readonly string[];
}

export interface ArtifactServer extends AsyncDisposable {
  readonly client: Emx2Client;
  /** `METHOD path` of each request, below the artifacts. */
  readonly requests: string[];
  /** What was put: path to content. */
  readonly put: Map<string, string>;
}

/** `intercept` may answer in its place. */
export function artifactServer(
  artifacts: readonly Stored[],
  intercept: (request: Request, path: string) => Response | undefined | Promise<Response | undefined> = () => undefined,
): ArtifactServer {
  const requests: string[] = [];
  const put = new Map<string, string>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const path = decodeURIComponent(new URL(request.url).pathname.replace("/api/hpc/artifacts/", ""));
      if (path === "/api/hpc/health") return Response.json(health);
      requests.push(`${request.method} ${path}`);
      const special = await intercept(request, path);
      if (special) return special;
      const [id = "", word, ...name] = path.split("/");
      const file = name.join("/");
      if (request.method === "PUT") return store(request, id, file, put);
      const artifact = artifacts.find((stored) => (stored.id ?? artifactId) === id);
      if (!artifact) return notFound(request);
      if (word === undefined) return Response.json(viewOf(artifact));
      return file === "" ? Response.json(listOf(artifact, request.url)) : content(artifact, file, request);
    },
  });
  return {
    requests,
    put,
    client: createClient({
      baseUrl: `http://127.0.0.1:${server.port}`,
      workerId: "w1",
      credential: { mode: "token", secret: () => "t" },
      clock: systemClock,
    }),
    async [Symbol.asyncDispose]() {
      await server.stop(true);
    },
  };
}

export const call = { attempts: 1 };

/** The rows of a listing, as they are written down. */
export function written(listed: Awaited<ReturnType<typeof listInputs>>) {
  if (listed.is !== "ok") return listed;
  using rows = listed.rows;
  return { ...listed, bytes: rows.bytes, rows: [...rows] };
}

const health = { status: "ok", api_version: "2025-01", worker_auth_mode: "per-worker-hmac" };

function viewOf(stored: Stored) {
  const { id = artifactId, files, status = "COMMITTED", residence = "managed", contentUrl, sha256: told } = stored;
  const paths = Object.keys(files).sort();
  const rows = paths.map((path) => ({ path, sha256: sha256(files[path] ?? "") }));
  const about = { id, name: "in", type: "blob", residence, status, content_url: contentUrl };
  return { ...about, sha256: told === undefined ? contentHash(rows) : told };
}

function listOf({ files, hidden = [] }: Stored, url: string) {
  const query = new URL(url).searchParams;
  const offset = Number(query.get("offset"));
  const limit = Number(query.get("limit") ?? 100);
  const items = Object.entries(files).map(([path, text]) => {
    const facts = { sha256: sha256(text), size_bytes: String(Buffer.byteLength(text)) };
    return { path, ...Object.fromEntries(Object.entries(facts).filter(([name]) => !hidden.some((h) => h === name))) };
  });
  const page = items.slice(offset, offset + limit);
  return { items: page, count: page.length, total_count: items.length };
}

function content({ files, hiddenHeaders = [] }: Stored, file: string, request: Request): Response {
  const text = files[file];
  if (text === undefined) return notFound(request);
  const response = new Response(text, { headers: { "X-Content-SHA256": sha256(text) } });
  for (const header of hiddenHeaders) response.headers.delete(header);
  return response;
}

async function store(request: Request, id: string, file: string, put: Map<string, string>): Promise<Response> {
  const text = await request.text();
  put.set(file, text);
  const stored = { id: "f", artifact_id: id, path: file, sha256: sha256(text), size_bytes: Buffer.byteLength(text) };
  return Response.json(stored, { status: 201 });
}

function notFound({ method }: Request): Response {
  if (method === "HEAD") return new Response(null, { status: 404, headers: { "Content-Type": "text/plain" } });
  return Response.json({ title: "Not Found", status: 404, detail: "no such thing" }, { status: 404 });
}
