/** Artifacts: making them, what may be done in which status, and what a commit holds on to. */
import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { conformance } from "./conformance.ts";

await conformance("artifacts", (server) => {
  const { expected, call, create, put, input, adopt } = server;
  const commit = (artifactId: string, json: object = {}) => call("POST", `/artifacts/${artifactId}/commit`, { json });
  const look = async (artifactId: string) => (await call("GET", `/artifacts/${artifactId}`)).json;
  const fileText = '{"sha256":"00","size_bytes":3,"content_type":"text/plain"}';

  describe("made", () => {
    test.each([
      ["of nothing", {}, "CREATED"],
      ["managed", { type: "blob", residence: "managed", name: "out" }, "CREATED"],
      ["posix", { type: "log", residence: "posix", name: "log", content_url: "file:///data/x" }, "REGISTERED"],
      ["in s3", { residence: "s3", content_url: "s3://b/k" }, "REGISTERED"],
    ])("%s", async (_what, artifact, status) => {
      const { status: code, json } = await call("POST", "/artifacts", { json: artifact });
      adopt(String(json["id"]));
      const { name, type, residence } = { name: null, type: null, residence: "managed", ...artifact };
      expect({ code, json }).toMatchObject({ code: 201, json: { name, type, status, _links: { files: {} } } });
      expect(await look(String(json["id"]))).toMatchObject({ status, residence });
    });

    test.each([
      ["in a place that leads elsewhere", { residence: "posix", content_url: "file:///a/../b" }, 400],
      ["posix in no place", { residence: "posix" }, 400],
      ["of a residence that nobody knows", { residence: "weird" }, 500],
    ])("%s is refused", async (_what, json, status) => {
      expect((await call("POST", "/artifacts", { json })).status).toBe(status);
    });

    test("with metadata, which come back", async () => {
      const metadata = { job_id: systemClock.uuid(), artifact_role: "output", input_artifact_ids: [] };
      expect(await look(await create({ type: "blob", metadata }))).toMatchObject({ metadata });
    });
  });

  describe("committed", () => {
    test("one file, under its own hash; the size is believed, and told as text", async () => {
      const artifactId = await create();
      await put(artifactId, "a.txt", "content");
      expect(await look(artifactId)).toMatchObject({ status: "UPLOADING", sha256: null });
      const sha256 = sha256Hex("content");
      const { status, json } = await commit(artifactId, { sha256, size_bytes: 1 });
      const committed = { id: artifactId, status: "COMMITTED", sha256, size_bytes: "1" };
      expect({ status, json }).toMatchObject({ status: 200, json: { ...committed, committed_at: expect.any(String) } });
      expect(await look(artifactId)).toMatchObject(committed);
    });

    test("several files, under the hash of their paths and hashes, sorted by code unit", async () => {
      const artifactId = await create();
      const paths = ["b.txt", "a.txt", "Z.txt", "é.txt", "~"];
      for (const path of paths) await put(artifactId, encodeURIComponent(path), path);
      const sha256 = sha256Hex(
        paths
          .toSorted()
          .map((path) => `${path}:${sha256Hex(path)}`)
          .join(""),
      );
      const { status, json } = await commit(artifactId, { sha256 });
      const size_bytes = String(Buffer.byteLength(paths.join("")));
      expect({ status, json }).toMatchObject({ status: 200, json: { status: "COMMITTED", sha256, size_bytes } });
    });

    test.each([
      ["another hash", { sha256: "0".repeat(64) }, 409, "Hash Mismatch"],
      ["upper-case hex", { sha256: sha256Hex("content").toUpperCase() }, 409, "Hash Mismatch"],
      ["text for the size", { size_bytes: "7" }, 500, "Internal Server Error"],
    ])("%s is refused, and the right one is taken then", async (_what, body, status, title) => {
      const artifactId = await create();
      await put(artifactId, "a.txt", "content");
      const refused = await commit(artifactId, body);
      expect({ status: refused.status, json: refused.json }).toMatchObject({ status, json: { title } });
      expect((await commit(artifactId, { sha256: sha256Hex("content"), size_bytes: 7 })).status).toBe(200);
    });

    test("not without a file, not without a body, not when nobody knows it", async () => {
      const artifactId = await create();
      expect((await commit(artifactId)).status).toBe(409);
      await put(artifactId, "a.txt", "content");
      expect((await call("POST", `/artifacts/${artifactId}/commit`)).status).toBe(expected.noBody);
      expect((await commit(systemClock.uuid())).status).toBe(404);
    });

    test("stays as it is: no commit, no file, no deletion of one", async () => {
      const artifactId = await input("content");
      expect((await commit(artifactId, { sha256: sha256Hex("content"), size_bytes: 7 })).status).toBe(409);
      for (const path of ["late.txt", "a.txt"]) expect((await put(artifactId, path, "late")).status).toBe(500);
      expect((await call("DELETE", `/artifacts/${artifactId}/files/a.txt`)).status).toBe(409);
      expect((await call("GET", `/artifacts/${artifactId}/files/a.txt`)).text).toBe("content");
    });

    test("can be deleted as a whole", async () => {
      const artifactId = await input();
      expect((await call("DELETE", `/artifacts/${artifactId}`)).status).toBe(204);
      expect((await call("GET", `/artifacts/${artifactId}`)).status).toBe(404);
    });
  });

  describe("posix", () => {
    const posix = () => create({ residence: "posix", content_url: "file:///data/x" });

    test("without a file any hash is believed", async () => {
      const { status, json } = await commit(await posix(), { sha256: "not-a-hash", size_bytes: 3 });
      expect({ status, json }).toMatchObject({ status: 200, json: { sha256: "not-a-hash", size_bytes: "3" } });
    });

    test("a file is described by JSON, or is that JSON", async () => {
      const artifactId = await posix();
      const said = { sha256: sha256Hex("content"), size_bytes: 7, content_type: "text/csv" };
      const text = JSON.stringify(said);
      const ofText = { sha256: sha256Hex(text), size_bytes: text.length };
      const held = expected.keepsContentCalledJson ? ofText : { sha256: said.sha256, size_bytes: said.size_bytes };
      const stored = await call("PUT", `/artifacts/${artifactId}/files/t.csv`, { text });
      expect({ status: stored.status, json: stored.json }).toMatchObject({
        status: 201,
        json: { path: "t.csv", ...held },
      });
      const got = await call("GET", `/artifacts/${artifactId}/files/t.csv`);
      expect(got.status).toBe(expected.readOfPosixFile);
      if (got.status === 302) expect(got.headers.location).toBe("file:///data/x/t.csv");
      else expect(got.text).toBe(text);
      expect((await commit(artifactId, held)).json).toMatchObject({
        status: "COMMITTED",
        content_url: "file:///data/x",
      });
    });

    test("a commit with another hash than that of its file", async () => {
      const artifactId = await posix();
      await call("PUT", `/artifacts/${artifactId}/files/t.csv`, { text: fileText });
      const { status } = await commit(artifactId, { sha256: "0".repeat(64) });
      expect(status).toBe(expected.checksPosixCommit ? 409 : 200);
    });
  });

  test("an unknown one is a 404, and its list of files is empty", async () => {
    const artifactId = systemClock.uuid();
    expect((await call("GET", `/artifacts/${artifactId}`)).status).toBe(404);
    expect((await call("GET", `/artifacts/${artifactId}/files`)).json).toMatchObject({ items: [], total_count: 0 });
    expect((await put(artifactId, "x", "x")).status).toBe(404);
  });
});
