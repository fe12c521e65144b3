/** Large content lies in files, where the emulator is given a directory for it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { storeArtifact } from "../../../src/emulator/artifacts.ts";
import { type ServedEmulator, serve } from "../../../src/emulator/serve.ts";
import { addArtifact, addToken, artifact } from "../../../src/emulator/submitter.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";

const described = { name: null, type: "blob", residence: "managed", contentUrl: null, metadataText: null } as const;
const mebi = 1024 * 1024;
const large = new Uint8Array(systemClock.randomBytes(9 * mebi));
let server: ServedEmulator;
let contentDir: string;

beforeAll(async () => {
  contentDir = mkdtempSync(join(tmpdir(), "emx2-content-"));
  server = await serve({ clock: systemClock, contentDir });
  addToken(server.state, "t", "admin", "admin");
});
afterAll(async () => {
  await server.stop();
  rmSync(contentDir, { recursive: true });
});

function send(method: string, target: string, body?: Uint8Array<ArrayBuffer>, sha256 = ""): Promise<Response> {
  const headers = {
    "x-emx2-api-version": "2025-01",
    "x-request-id": systemClock.uuid(),
    "x-timestamp": String(Math.floor(systemClock.wall() / 1_000)),
    "x-molgenis-token": "t",
    "accept-encoding": "identity",
    ...(body ? { "content-type": "application/octet-stream", "content-sha256": sha256 } : {}),
  };
  return fetch(`${server.url}/api/hpc/artifacts${target}`, { method, headers, ...(body ? { body } : {}) });
}

test("what is put and large comes back byte for byte, and is not held in memory", async () => {
  const created = storeArtifact(server.state, 0, described);
  const path = `/${created.id}/files/a/b.bin`;
  const put = await send("PUT", path, large, sha256Hex(large));
  expect(await put.json()).toMatchObject({ sha256: sha256Hex(large), size_bytes: large.length });
  expect(artifact(server.state, created.id).files.get("a/b.bin")).toMatchObject({ content: null });
  const files = readdirSync(contentDir).map((name) => readFileSync(join(contentDir, name)));
  expect(files.map(sha256Hex)).toEqual([sha256Hex(large)]);
  expect((await send("HEAD", path)).headers.get("content-length")).toBe(String(large.length));
  const got = await send("GET", path);
  expect(got.headers.get("content-length")).toBe(String(large.length));
  expect(sha256Hex(new Uint8Array(await got.arrayBuffer()))).toBe(sha256Hex(large));
});

test("a hash that is not that of the content is refused", async () => {
  const created = storeArtifact(server.state, 0, described);
  const put = await send("PUT", `/${created.id}/files/b.bin`, large, sha256Hex("other"));
  expect(put.status).toBe(400);
  expect(artifact(server.state, created.id).files.size).toBe(0);
});

test("a file of this host is an input", async () => {
  const file = join(contentDir, "input");
  await Bun.write(file, large);
  const id = addArtifact(server.state, { files: [{ path: "in", large: Bun.file(file), sha256: sha256Hex(large) }] });
  const got = await send("GET", `/${id}/files/in`);
  expect(sha256Hex(new Uint8Array(await got.arrayBuffer()))).toBe(sha256Hex(large));
  expect(artifact(server.state, id)).toMatchObject({ sizeBytes: large.length, sha256: sha256Hex(large) });
});
