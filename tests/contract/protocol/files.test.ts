/** Files of an artifact: bytes in and out, their names, what is said of them, and how large they may be. */
import { describe, expect, test } from "bun:test";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { conformance } from "./conformance.ts";
import { targetOf } from "./wire-request.ts";

await conformance("files", (server) => {
  const { sender, expected, call, create, put } = server;
  const fileOf = (artifactId: string, path: string) => `/artifacts/${artifactId}/files/${path}`;
  const list = async (artifactId: string, query = "") => {
    const { json, headers } = await call("GET", `/artifacts/${artifactId}/files${query}`);
    const items: { path: string }[] = Array.isArray(json["items"]) ? json["items"] : [];
    return { json, headers, items, paths: items.map(({ path }) => path) };
  };

  describe("content", () => {
    test("comes back byte by byte, with its hash and size", async () => {
      const artifactId = await create();
      const bytes = Uint8Array.from({ length: 4_096 }, (_, index) => index % 256);
      const facts = { path: "result.bin", sha256: sha256Hex(bytes), size_bytes: bytes.length };
      const stored = await put(artifactId, "result.bin", bytes);
      expect({ status: stored.status, json: stored.json }).toMatchObject({
        status: 201,
        json: { artifact_id: artifactId, ...facts },
      });
      const got = await call("GET", fileOf(artifactId, "result.bin"));
      const head = await call("HEAD", fileOf(artifactId, "result.bin"));
      for (const { status, headers } of [got, head]) {
        const said = { length: headers["content-length"], hash: headers["x-content-sha256"] };
        expect({ status, said }).toEqual({ status: 200, said: { length: "4096", hash: facts.sha256 } });
      }
      expect(Buffer.compare(got.bytes, bytes)).toBe(0);
      expect(head.bytes).toHaveLength(0);
      const ranged = await call("GET", fileOf(artifactId, "result.bin"), { headers: { Range: "bytes=0-9" } });
      expect({ status: ranged.status, length: ranged.bytes.length }).toEqual({ status: 200, length: 4_096 });
    });

    test("may be empty", async () => {
      const artifactId = await create();
      expect((await put(artifactId, "empty", "")).json).toMatchObject({ sha256: sha256Hex(""), size_bytes: 0 });
      expect((await call("GET", fileOf(artifactId, "empty"))).bytes).toHaveLength(0);
    });

    test("is replaced by what comes after it, and can be taken away", async () => {
      const artifactId = await create();
      const [first, second] = [await put(artifactId, "f", "first"), await put(artifactId, "f", "second")];
      expect(second.json["id"]).toBe(first.json["id"]);
      expect((await call("GET", fileOf(artifactId, "f"))).text).toBe("second");
      expect((await call("DELETE", fileOf(artifactId, "f"))).status).toBe(204);
      for (const method of ["GET", "HEAD"]) expect((await call(method, fileOf(artifactId, "f"))).status).toBe(404);
      expect((await list(artifactId)).paths).toEqual([]);
    });

    test.each([
      ["another hash", { "Content-SHA256": "0".repeat(64) }, expected.wrongContentHash],
      ["no hash", { "Content-SHA256": null }, expected.withoutContentHash],
      ["the hash in upper case", { "Content-SHA256": sha256Hex("content").toUpperCase() }, 201],
      ["no media type", { "Content-Type": null }, 201],
    ])("sent with %s", async (_what, headers, status) => {
      const artifactId = await create();
      const { "Content-SHA256": hash }: Record<string, string | null> = headers;
      const signed = expected.signsContentHash && hash ? { bodySha256: hash } : {};
      expect((await put(artifactId, "f", "content", { headers, signed })).status).toBe(status);
      expect((await list(artifactId)).paths).toEqual(status === 201 ? ["f"] : []);
    });

    test("is of the type that its name says, or that its sender said", async () => {
      const artifactId = await create();
      await put(artifactId, "page.html", "<p>");
      const { headers } = await call("HEAD", fileOf(artifactId, "page.html"));
      expect(headers["content-type"]).toBe(expected.guessesMediaType ? "text/html" : "application/octet-stream");
    });

    test("that is called application/json is kept, or lost with a 201", async () => {
      const artifactId = await create();
      expect((await call("PUT", fileOf(artifactId, "data.json"), { text: '{"a":1}' })).status).toBe(201);
      const { status, text } = await call("GET", fileOf(artifactId, "data.json"));
      if (expected.keepsContentCalledJson) expect({ status, text }).toEqual({ status: 200, text: '{"a":1}' });
      else expect(status).toBe(404);
      expect((await put(artifactId, "data.json", '{"a":1}')).status).toBe(201);
      expect((await call("GET", fileOf(artifactId, "data.json"))).text).toBe('{"a":1}');
    });

    test("is broken by compression, and whole for who asks for identity", async () => {
      const artifactId = await create();
      const content = "a line of text\n".repeat(1_000);
      await put(artifactId, "t.txt", content);
      const gzip = { headers: { "Accept-Encoding": "gzip" }, headersOnly: true };
      const { headers } = await call("GET", fileOf(artifactId, "t.txt"), gzip);
      const said = { encoding: headers["content-encoding"], length: headers["content-length"] };
      expect(said).toEqual({ encoding: "gzip", length: String(content.length) });
      expect((await call("GET", fileOf(artifactId, "t.txt"))).text).toBe(content);
    });
  });

  describe("a name on the wire", () => {
    const { slashInPath: slash, dotsInPath: dots, dotsInsideSegment } = expected;
    test.each([
      ["a%20b", "a b", 201],
      ["%C3%A9", "é", 201],
      ["%c3%a9", "é", 201],
      ["plus+plus", "plus+plus", 201],
      ["p%2Bq", "p+q", 201],
      ["x%2Fy", "x/y", 201],
      ["pct%25", "pct%", 201],
      ["semi;v=1", "semi;v=1", 201],
      ["%7Etilde", "~tilde", 201],
      ["q%3Fz", "q?z", 201],
      ["back%5Cs", "back\\s", 201],
      ["a/", "a", 201],
      ["sub/dir/deep", "sub/dir/deep", slash],
      ["dot/./d", "dot/./d", slash],
      ["a//c", "a//c", slash],
      ["dd/../d2", undefined, dots],
      ["%2e%2e/d3", undefined, dots],
      ["%2e%2e%2Fd4", "../d4", dotsInsideSegment],
    ])("%s", async (sent, stored, status) => {
      const artifactId = await create();
      const answer = await put(artifactId, sent, "x");
      expect({ sent, status: answer.status }).toEqual({ sent, status });
      expect((await list(artifactId)).paths).toEqual(status === 201 && stored !== undefined ? [stored] : []);
      if (status === 201) expect((await call("GET", fileOf(artifactId, sent))).text).toBe("x");
    });

    test("is signed as it is sent, not as it is read", async () => {
      const artifactId = await create();
      const target = targetOf(sender, fileOf(artifactId, "a b"));
      expect((await put(artifactId, "a%20b", "x", { signed: { target } })).status).toBe(401);
    });

    test("has a length that is just allowed, and one that is not", async () => {
      const artifactId = await create();
      const longest = "p".repeat(expected.longestPathChars);
      expect((await put(artifactId, longest, "x")).status).toBe(201);
      expect((await put(artifactId, `${longest}p`, "x")).status).toBe(expected.tooLongPath);
      expect((await call("PUT", `/artifacts/${artifactId}/files`, { bytes: Buffer.from("x") })).status).toBe(404);
    });
  });

  describe("listed", () => {
    const some = async () => {
      const artifactId = await create();
      for (const path of ["m%2F1", "m%2F2", "m%2F3", "n"]) await put(artifactId, path, "x");
      return artifactId;
    };

    test("with what is known of them, the size as text", async () => {
      const artifactId = await some();
      const { json, headers, items } = await list(artifactId, "?prefix=n");
      const self = { path: "n", sha256: sha256Hex("x"), size_bytes: "1", content_type: expect.any(String) };
      expect(items).toMatchObject([{ ...self, _links: { content: { method: "GET" } } }]);
      expect(json).toMatchObject({ count: 1, total_count: 1, limit: 100, offset: 0 });
      expect(headers["x-total-count"]).toBe("1");
    });

    test.each([
      ["?limit=2", 2, 4],
      ["?limit=5000", 4, 4],
      ["?prefix=m%2F&limit=3&offset=1", 2, 3],
      ["?prefix=m/", 3, 3],
      ["?limit=0", expected.limitZeroIsAll ? 4 : 0, 4],
    ])("%s", async (query, count, total_count) => {
      const { json, paths } = await list(await some(), query);
      expect({ json, count: paths.length }).toMatchObject({ json: { count, total_count }, count });
    });
  });

  describe("size", () => {
    test("11 MB by PUT", async () => {
      const artifactId = await create();
      expect((await put(artifactId, "big", new Uint8Array(11_000_000))).status).toBe(expected.putOfElevenMegabytes);
    });

    test("what is far too much is refused by its length, before it is sent", async () => {
      const artifactId = await create();
      const headers = { "Content-Length": "1000000000000" };
      const { status } = await put(artifactId, "huge", "x", { headers, headersOnly: true });
      expect(status).toBe(expected.putOfTooMuch);
    });

    test("by a form, which takes more, or is not there", async () => {
      const artifactId = await create();
      const part = (name: string, rest: string, content: string) =>
        `--b\r\nContent-Disposition: form-data; name="${name}"${rest}\r\n\r\n${content}\r\n`;
      const content = "c".repeat(11_000_000);
      const form = `${part("path", "", "d/f")}${part("file", '; filename="f"', content)}--b--\r\n`;
      const request = {
        bytes: Buffer.from(form),
        headers: {
          "Content-Type": "multipart/form-data; boundary=b",
          ...(expected.takesForms && { "Content-SHA256": null }),
        },
      };
      const { status, json } = await call("POST", `/artifacts/${artifactId}/files`, request);
      if (!expected.takesForms) return expect(status).toBe(404);
      const facts = { path: "d/f", sha256: sha256Hex(content), size_bytes: content.length };
      expect({ status, json }).toMatchObject({ status: 201, json: facts });
    });
  });
});
