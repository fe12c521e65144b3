/** Inputs that stay where they are: what EMX2 says of them, held against what lies there. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { pathOf, verifyPosixFile } from "../../../src/artifacts/posix-input.ts";
import { listInputs } from "../../../src/artifacts/stage.ts";
import type { Fetch } from "../../../src/emx2/client.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import { clientOf, knownAs } from "../emx2/raw-server.ts";
import { artifactServer, call, type Stored, written } from "./artifact-server.ts";
import { artifactId, sha256, type WorkDirectory, workDirectory } from "./work-directory.ts";

let w: WorkDirectory;
let data: string;
const files = { "a b.txt": "aaa", "sub/ü.txt": "bb" };
const never = new AbortController().signal;
beforeEach(() => {
  w = workDirectory();
  data = join(realpathSync(w.root), "da ta#1");
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(data, path)), { recursive: true });
    writeFileSync(join(data, path), text);
  }
});
afterEach(() => w[Symbol.dispose]());

const posix = (stored: Partial<Stored> = {}): Stored => ({
  ...{ files, residence: "posix", contentUrl: pathToFileURL(data).href },
  ...stored,
});

async function listed(stored: Stored) {
  await using server = artifactServer([stored]);
  const parts = { client: server.client, files: w.files, posixRoots: { directories: [data] } };
  return written(await listInputs(parts, [{ artifactId }], call));
}

describe("listing", () => {
  test("gives each file where it lies, with the size and hash that EMX2 was told", async () => {
    const row = { role: "input", directory: data, artifactId } as const;
    expect(await listed(posix())).toEqual({
      ...{ is: "ok", bytes: 5, bytesToCome: 0, sources: [{ artifactId, kind: "directory", path: data }] },
      rows: [
        { ...row, index: 0, path: "a b.txt", bytes: 3, sha256: sha256("aaa") },
        { ...row, index: 1, path: "sub/ü.txt", bytes: 2, sha256: sha256("bb") },
      ],
    });
  });

  test("takes a place that is one file, by whatever path EMX2 lists it, or by none", async () => {
    const path = join(data, "a b.txt");
    const contentUrl = pathToFileURL(path).href;
    const row = { role: "input", index: 0, directory: data, diskPath: "a b.txt", artifactId, bytes: 3 } as const;
    const sources = [{ artifactId, kind: "file", path }] as const;
    const expected = { is: "ok", bytes: 3, bytesToCome: 0, sources: [...sources] } as const;
    const one = await listed(posix({ contentUrl, files: { "out.bin": "aaa" } }));
    expect(one).toEqual({ ...expected, rows: [{ ...row, path: "out.bin", sha256: sha256("aaa") }] });
    const none = await listed(posix({ contentUrl, files: {}, sha256: sha256("aaa") }));
    expect(none).toEqual({ ...expected, rows: [{ ...row, path: "a b.txt", sha256: sha256("aaa") }] });
  });

  test.each([
    ["outside of the roots", { contentUrl: "file:///etc" }, "apptainer.posix_roots"],
    ["without a place", { contentUrl: "" }, "file:///"],
    ["on another host", { contentUrl: "file://host/data" }, "without a host"],
    ["with a way up in it", { contentUrl: "file:///data/%2e%2e/etc" }, 'a segment ".."'],
    ["of files that are not what its hash says", { sha256: sha256("x") }, "input_hash_mismatch: artifact"],
    ["that lists nothing of a directory", { files: {}, sha256: null }, "lists no files"],
    ["with a path that leads out of it", { files: { "../x": "" } }, 'has a segment ".."'],
    ["without hashes", { hidden: ["sha256"], sha256: null }, "tells no size and hash"],
  ] as const)("refuses one %s, saying which artifact and why", async (_, stored, cause) => {
    const answer = await listed(posix(stored));
    expect(answer).toEqual({ is: "refused", cause: expect.stringContaining(cause) });
    expect(answer).toEqual({ is: "refused", cause: expect.stringContaining(artifactId) });
  });
});

test.each([1.5, 2 ** 60, -1])(
  "a submitter's own description (2026-02) with the size %p tells none",
  async (size_bytes) => {
    const fetch: Fetch = async (url, init) => {
      const { pathname } = new URL(url);
      if (pathname.endsWith("/health")) return knownAs("2026-02")(url, init);
      if (pathname.endsWith("/files/a")) return Response.json({ sha256: sha256("a"), size_bytes });
      if (pathname.endsWith("/files")) return Response.json({ items: [{ path: "a" }], total_count: 1 });
      const facts = { id: artifactId, status: "COMMITTED", residence: "posix", content_url: pathToFileURL(data).href };
      return Response.json(facts);
    };
    const client = clientOf({ url: "http://emx2.test" }, { fetch });
    const parts = { client, files: w.files, posixRoots: { directories: [data] } };
    expect(await listInputs(parts, [{ artifactId }], call)).toMatchObject({
      ...{ is: "refused", cause: expect.stringContaining("tells no size and hash") },
    });
  },
);

describe("verifying", () => {
  const row = (path: string, content: string): FileRow => ({
    ...{ role: "input", index: 0, directory: data, artifactId, path },
    ...{ bytes: content.length, sha256: sha256(content) },
  });
  const verified = (file: FileRow) => verifyPosixFile(w.files, w.dir, file, { directories: [data] }, never);

  test("a file that is what EMX2 was told is used where it lies", async () => {
    expect(await verified(row("a b.txt", "aaa"))).toEqual({ is: "ok", bytes: 3 });
  });

  test.each([
    ["another content", row("a b.txt", "aab"), /^input_hash_mismatch: "a b.txt" of artifact .*expected sha256/],
    ["another size", row("a b.txt", "aaaa"), /^input_hash_mismatch: .*has another size$/],
    ["no file", row("none", ""), /^input artifact .*none" does not exist$/],
    ["a directory", row("sub", ""), /is no regular file$/],
  ])("%s is refused", async (_, file, cause) => {
    expect(await verified({ ...file, directory: data })).toEqual({
      is: "refused",
      cause: expect.stringMatching(cause),
    });
  });
});

test.each([
  ["file:///data/x", "/data/x"],
  ["file:///data/a%20b/%C3%BC", "/data/a b/ü"],
  ["file:///data/a b#1?x", "/data/a b#1?x"],
])("%s names %s", (url, path) => expect(pathOf(url)).toEqual({ path }));

test.each(["", "data/x", "/data/x", "http:///data", "file:///a%00b", "file:///%ff", "file:///a/../b"])(
  "%p names nothing",
  (url) => expect(pathOf(url)).toHaveProperty("wrong"),
);
