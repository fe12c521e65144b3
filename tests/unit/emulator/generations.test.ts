/** What no single recorded exchange shows: how a server of each generation behaves from one request to the next. */
import { describe, expect, test } from "bun:test";
import type { GenerationName } from "../../../src/emulator/generation.ts";
import { handle } from "../../../src/emulator/handle.ts";
import { createState, type EmulatorState } from "../../../src/emulator/state.ts";
import {
  addArtifact,
  addJob,
  addSharedSecret,
  addToken,
  addWorkerCredential,
  artifact,
  job,
  upgrade,
} from "../../../src/emulator/submitter.ts";
import { sha256Hex, signature } from "../../../src/emx2/signature.ts";
import { countingUuids, now } from "./exchange-replay.ts";

const shared = "the secret that all workers share";
const own = "the secret of one worker alone";
const both = ["2026-02", "2026-05"] as const;

function server(generation: GenerationName) {
  const state = createState({ uuid: countingUuids(), wall: () => now, generation });
  addSharedSecret(state, shared);
  addWorkerCredential(state, "w1", own);
  addToken(state, "t", "admin", "admin");
  const nonces = countingUuids();
  return {
    state,
    /** With a token, so that bodies need no signature. */
    call: (method: string, target: string, body?: string | Uint8Array<ArrayBuffer> | FormData) =>
      answerOf(state, method, target, body, { "x-molgenis-token": "t" }),
    /** A GET that is signed with the secret. */
    signed: (target: string, secret: string) => {
      const timestamp = String(Math.floor(now / 1_000));
      const nonce = nonces();
      const what = { method: "GET", target, bodySha256: sha256Hex(""), timestamp, nonce };
      const authorization = `HMAC-SHA256 ${signature(secret, what)}`;
      return answerOf(state, "GET", target, undefined, { authorization, "x-nonce": nonce, "x-worker-id": "w1" });
    },
  };
}

async function answerOf(
  state: EmulatorState,
  method: string,
  target: string,
  body: string | Uint8Array<ArrayBuffer> | FormData | undefined,
  headers: Record<string, string>,
) {
  const usual = {
    "x-emx2-api-version": "2025-01",
    "x-request-id": "7f6f4a0e-9f1c-4f8e-8a55-0d6f5a3c9b21",
    "x-timestamp": String(Math.floor(now / 1_000)),
    ...(typeof body === "string" && { "content-type": "application/json" }),
    ...(body instanceof Uint8Array && {
      ...{ "content-type": "application/octet-stream", "content-sha256": sha256Hex(body) },
      "content-length": String(body.length),
    }),
  };
  const init = { method, headers: { ...usual, ...headers } };
  const request = new Request("http://emx2.test/", body === undefined ? init : { ...init, body });
  const response = await handle(state, request, now, target);
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json") && text !== "";
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
}

function form(path: string, content: Uint8Array<ArrayBuffer> | string): FormData {
  const filled = new FormData();
  filled.set("path", path);
  filled.set("file", new Blob([content]));
  return filled;
}

async function create(to: ReturnType<typeof server>, body: object = {}): Promise<string> {
  return (await to.call("POST", "/api/hpc/artifacts", JSON.stringify(body))).json.id;
}

describe("2026-02", () => {
  test("health says that HPC is on only after somebody was authenticated, and never how", async () => {
    const { call, signed } = server("2026-02");
    const health = async () => (await call("GET", "/api/hpc/health")).json;
    const silent = { status: "ok", api_version: "2025-01", hpc_enabled: false, database: "connected" };
    expect(await health()).toEqual(silent);
    expect((await signed("/api/hpc/jobs", "a wrong one")).status).toBe(401);
    expect((await health()).hpc_enabled).toBe(false);
    expect((await signed("/api/hpc/jobs", shared)).status).toBe(200);
    expect((await health()).hpc_enabled).toBe(true);
  });

  test("pages of jobs overlap and leave gaps, one page with all of them does not", async () => {
    const { state, call } = server("2026-02");
    const ids = Array.from({ length: 30 }, () => addJob(state, { processor: "demo" }));
    const seen = async (query: string) =>
      (await call("GET", `/api/hpc/jobs?${query}`)).json.items.map((one: { id: string }) => one.id);
    const pages = [await seen("limit=10"), await seen("limit=10&offset=10"), await seen("limit=10&offset=20")].flat();
    expect(pages).toHaveLength(30);
    expect(new Set(pages).size).toBeLessThan(30);
    expect((await seen("limit=1000")).toSorted()).toEqual(ids.toSorted());
  });

  test("a worker's first registration is spelt as just done, and its heartbeat link leads astray", async () => {
    const { call } = server("2026-02");
    const register = async () => {
      const body = JSON.stringify({ worker_id: "new", hostname: "h" });
      return (await call("POST", "/api/hpc/workers/register", body)).json;
    };
    expect(await register()).toMatchObject({
      registered_at: "2026-11-22T15:10:37.670000000",
      _links: { heartbeat: { href: "/api/hpc/workers/register", method: "POST" } },
    });
    expect((await register()).registered_at).toBe("2026-11-22 15:10:37.67");
  });

  test("files are listed as they came in", async () => {
    const to = server("2026-02");
    const files = `/api/hpc/artifacts/${await create(to)}/files`;
    for (const path of ["b", "x%2Fy", "a"]) await to.call("PUT", `${files}/${path}`, new Uint8Array(1));
    const { items } = (await to.call("GET", files)).json;
    expect(items.map(({ path }: { path: string }) => path)).toEqual(["b", "x/y", "a"]);
  });

  test("what is more than 10,000,000 bytes comes in by a form alone, and the artifact says where", async () => {
    const to = server("2026-02");
    const created = (await to.call("POST", "/api/hpc/artifacts", "{}")).json;
    const files = created._links.upload_legacy;
    expect(files).toEqual({ href: `/api/hpc/artifacts/${created.id}/files`, method: "POST" });
    expect((await to.call("PUT", `${files.href}/fits`, new Uint8Array(10_000_000))).status).toBe(201);
    const large = new Uint8Array(10_000_001).fill(7);
    const refused = await to.call("PUT", `${files.href}/large`, large);
    expect(refused).toMatchObject({ status: 500, json: { detail: "Content Too Large" } });
    expect(refused.headers.get("connection")).toBe("close");
    const stored = await to.call(files.method, files.href, form("d/large", large));
    const facts = { path: "d/large", sha256: sha256Hex(large), size_bytes: large.length };
    expect(stored).toMatchObject({ status: 201, json: facts });
    expect((await to.call("HEAD", `${files.href}/d%2Flarge`)).headers.get("content-length")).toBe("10000001");
  });

  test("a form sent twice leaves two files, of which one is deleted at a time", async () => {
    const to = server("2026-02");
    const id = await create(to);
    const files = `/api/hpc/artifacts/${id}/files`;
    for (const content of ["one", "two"]) await to.call("POST", files, form("d/f", content));
    const count = async () => (await to.call("GET", files)).json.total_count;
    expect(await count()).toBe(2);
    const commit = JSON.stringify({ sha256: sha256Hex("one") });
    const refused = await to.call("POST", `/api/hpc/artifacts/${id}/commit`, commit);
    expect(refused).toMatchObject({ status: 409, json: { title: "Hash Mismatch" } });
    for (const content of ["one", "two"]) {
      expect((await to.call("GET", `${files}/d%2Ff`)).text).toBe(content);
      expect((await to.call("DELETE", `${files}/d%2Ff`)).status).toBe(204);
    }
    expect((await to.call("HEAD", `${files}/d%2Ff`)).status).toBe(404);
    expect(await count()).toBe(0);
  });

  test("a file is of the type that was said, whatever its name", async () => {
    const to = server("2026-02");
    const files = `/api/hpc/artifacts/${await create(to)}/files`;
    await to.call("PUT", `${files}/put.html`, new Uint8Array(3));
    await to.call("POST", files, form("form.html", "<p>"));
    for (const name of ["put.html", "form.html"]) {
      const { headers } = await to.call("HEAD", `${files}/${name}`);
      expect(headers.get("content-type")).toBe("application/octet-stream");
    }
  });

  test("a form without a file or a path is not foreseen", async () => {
    const to = server("2026-02");
    const files = `/api/hpc/artifacts/${await create(to)}/files`;
    expect((await to.call("POST", files, new FormData())).status).toBe(500);
  });
});

describe("an upgrade", () => {
  test("ends the shared secret, and what was stored stays", async () => {
    const { state, call, signed } = server("2026-02");
    const jobId = addJob(state, { processor: "demo" });
    expect((await signed(`/api/hpc/jobs/${jobId}`, own)).status).toBe(401);
    expect((await signed(`/api/hpc/jobs/${jobId}`, shared)).status).toBe(200);
    upgrade(state);
    const refused = await signed(`/api/hpc/jobs/${jobId}`, shared);
    expect(refused).toMatchObject({ status: 401, json: { title: "Unauthorized" } });
    expect((await signed(`/api/hpc/jobs/${jobId}`, own)).json).toMatchObject({ id: jobId, phase: null });
    expect((await call("GET", "/api/hpc/health")).json).toMatchObject({ worker_auth_mode: "per-worker-hmac" });
    expect(job(state, jobId).status).toBe("PENDING");
  });

  test("turns on what the newer generation has", async () => {
    const to = server("2026-02");
    const jobId = addJob(to.state, { processor: "demo" });
    const report = JSON.stringify({ status: "CANCELLED" });
    const complete = () => to.call("POST", `/api/hpc/jobs/${jobId}/complete`, report);
    const files = `/api/hpc/artifacts/${await create(to)}/files`;
    const put = () => to.call("PUT", `${files}/a/b`, new Uint8Array(1));
    expect([(await complete()).status, (await put()).status]).toEqual([404, 404]);
    upgrade(to.state);
    expect([(await complete()).status, (await put()).status]).toEqual([200, 201]);
    expect((await to.call("POST", files, form("a", "b"))).status).toBe(404);
  });
});

describe.each(both)("posix on %s", (generation) => {
  const contentUrl = "file:///nfs/results/j/output";
  const said = { sha256: sha256Hex("content"), size_bytes: 7, content_type: "text/csv" };
  /** What the server then holds: the facts, or on 2026-02 their text. */
  const text = JSON.stringify(said);
  const held =
    generation === "2026-05"
      ? { sha256: said.sha256, size_bytes: said.size_bytes }
      : { sha256: sha256Hex(text), size_bytes: text.length };

  test("a described file is listed, read where it lies, and committed by what is held", async () => {
    const to = server(generation);
    const id = await create(to, { type: "blob", residence: "posix", content_url: contentUrl });
    const file = `/api/hpc/artifacts/${id}/files/t%2Fa.csv`;
    expect(await to.call("PUT", file, text)).toMatchObject({ status: 201, json: { path: "t/a.csv", ...held } });
    expect((await to.call("GET", `/api/hpc/artifacts/${id}/files`)).json.items).toMatchObject([
      { path: "t/a.csv", sha256: held.sha256, size_bytes: String(held.size_bytes) },
    ]);
    const read = await to.call("GET", file);
    if (generation === "2026-02") expect([read.status, read.text]).toEqual([200, text]);
    else expect([read.status, read.headers.get("location")]).toEqual([302, `${contentUrl}/t/a.csv`]);
    const commit = await to.call("POST", `/api/hpc/artifacts/${id}/commit`, JSON.stringify(held));
    expect(commit).toMatchObject({ status: 200, json: { status: "COMMITTED", content_url: contentUrl } });
    expect((await to.call("PUT", file, text)).status).toBe(500);
  });

  test("another hash is refused only where the server has a file to compare it with", async () => {
    const to = server(generation);
    const id = await create(to, { residence: "posix", content_url: contentUrl });
    await to.call("PUT", `/api/hpc/artifacts/${id}/files/a`, text);
    const other = JSON.stringify({ sha256: "0".repeat(64) });
    const { status } = await to.call("POST", `/api/hpc/artifacts/${id}/commit`, other);
    expect(status).toBe(generation === "2026-02" ? 409 : 200);
  });

  test("one that a submitter made holds the same as one that came by wire", () => {
    const { state } = server(generation);
    const id = addArtifact(state, { contentUrl, files: [{ path: "a", content: "content" }] });
    const [file] = artifact(state, id).files.values();
    expect(artifact(state, id)).toMatchObject({ residence: "posix", status: "COMMITTED", sha256: file?.sha256 });
    const told = { sha256: said.sha256, size_bytes: said.size_bytes };
    if (generation === "2026-02")
      expect(JSON.parse(new TextDecoder().decode(file?.content ?? undefined))).toEqual(told);
    else expect(file).toMatchObject({ content: null, sha256: told.sha256, sizeBytes: told.size_bytes });
  });

  test.each(["file:///a/../b", "http://a/b", undefined])("%p is no place for one", async (content_url) => {
    const { call } = server(generation);
    const body = JSON.stringify({ residence: "posix", content_url });
    expect((await call("POST", "/api/hpc/artifacts", body)).status).toBe(400);
  });
});
