import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JobFiles } from "../../../src/artifacts/job-files.ts";
import { listInputs, stageFile } from "../../../src/artifacts/stage.ts";
import { systemClock } from "../../../src/clock.ts";
import type { Emx2Client } from "../../../src/emx2/client.ts";
import { createMemoryFiles } from "../../simulation/memory-files.ts";
import { clientOf, rawServer } from "../emx2/raw-server.ts";
import { artifactServer, call, type Stored, written } from "./artifact-server.ts";
import { artifactId, faultOf, inputRow, ownerOf, sha256, state, workDirectory } from "./work-directory.ts";

const otherId = "6b2f8c1e-0000-4000-8000-000000000002";
const posixRoots = { directories: [] };
const listed = async (client: Emx2Client, ...ids: string[]) => {
  const parts = { client, files: createMemoryFiles({ state }), posixRoots };
  const inputs = (ids.length > 0 ? ids : [artifactId]).map((id) => ({ artifactId: id }));
  return written(await listInputs(parts, inputs, call));
};

describe("listInputs", () => {
  test("numbers the files of all inputs through, with sizes and hashes", async () => {
    await using server = artifactServer([
      { files: { "b.txt": "bb", "sub/a.txt": "a" } },
      { id: otherId, files: { x: "" } },
    ]);
    const row = { role: "input", directory: `input/${artifactId}`, artifactId } as const;
    expect(await listed(server.client, artifactId, otherId)).toEqual({
      ...{ is: "ok", bytes: 3, bytesToCome: 3 },
      sources: [],
      rows: [
        { ...row, index: 0, path: "b.txt", bytes: 2, sha256: sha256("bb") },
        { ...row, index: 1, path: "sub/a.txt", bytes: 1, sha256: sha256("a") },
        {
          ...row,
          index: 2,
          path: "x",
          bytes: 0,
          sha256: sha256(""),
          directory: `input/${otherId}`,
          artifactId: otherId,
        },
      ],
    });
  });

  test("a list of any length is read page by page, each file once", async () => {
    const files = Object.fromEntries(Array.from({ length: 2_500 }, (_, index) => [`f${index}`, String(index)]));
    await using server = artifactServer([{ files }]);
    const answer = await listed(server.client);
    if (answer.is !== "ok") throw new Error(answer.cause);
    expect(new Set(answer.rows.map((row) => row.path)).size).toBe(2_500);
    expect(answer.rows.map((row) => row.index)).toEqual(Array.from({ length: 2_500 }, (_, index) => index));
    expect(server.requests.filter((request) => request.endsWith("/files"))).toHaveLength(3);
  });

  test("a job without inputs asks nothing", async () => {
    await using server = artifactServer([]);
    const parts = { client: server.client, files: createMemoryFiles({ state }), posixRoots };
    const nothing = { is: "ok", bytes: 0, bytesToCome: 0 } as const;
    expect(written(await listInputs(parts, [], call))).toEqual({ ...nothing, rows: [], sources: [] });
    expect(server.requests).toEqual([]);
  });

  const refusals: readonly [string, Stored, string][] = [
    [
      "not committed",
      { files: { a: "a" }, status: "UPLOADING" },
      `input artifact ${artifactId} is UPLOADING, not COMMITTED`,
    ],
    ...["s3", "http", "reference"].map((residence): [string, Stored, string] => [
      `of residence ${residence}`,
      { files: { a: "a" }, residence },
      `input artifact ${artifactId} has residence ${residence}: only managed and posix inputs can be had here`,
    ]),
    ["without files", { files: {}, sha256: null }, `input artifact ${artifactId} has no files`],
    [
      "with a path that leads out",
      { files: { "a/../../b": "" } },
      'can not be written: "a/../../b" has a segment ".."',
    ],
    ["with an absolute path", { files: { "/etc/passwd": "" } }, 'can not be written: "/etc/passwd" is absolute'],
    ["with a file where a directory must be", { files: { a: "", "a/b": "" } }, '"a" is a file, and "a/b" needs it'],
    [
      "whose files are not what its hash says",
      { files: { a: "a", b: "b" }, sha256: "AB".repeat(32) },
      `input_hash_mismatch: artifact ${artifactId} has sha256 ${"ab".repeat(32)}, its files make `,
    ],
  ];
  test.each(refusals)("an artifact %s is refused, and the cause says so", async (_what, stored, cause) => {
    await using server = artifactServer([stored]);
    expect(await listed(server.client)).toEqual({ is: "refused", cause: expect.stringContaining(cause) });
  });

  test("an artifact that EMX2 does not know is refused", async () => {
    await using server = artifactServer([]);
    expect(await listed(server.client)).toEqual({
      is: "refused",
      cause: `input artifact ${artifactId} is unknown to EMX2`,
    });
    expect(server.requests).toHaveLength(1);
  });

  test("what the list does not tell is asked with HEAD", async () => {
    await using server = artifactServer([{ files: { a: "aa", b: "b" }, hidden: ["sha256", "size_bytes"] }]);
    const answer = await listed(server.client);
    expect(answer).toMatchObject({ is: "ok", bytes: 3, rows: [{ sha256: sha256("aa") }, { sha256: sha256("b") }] });
    expect(server.requests.filter((request) => request.startsWith("HEAD"))).toHaveLength(2);
  });

  test("what HEAD does not tell either is measured, so that the artifact's own hash still counts", async () => {
    const silent = { files: { a: "aa", b: "b" }, hidden: ["sha256"], hiddenHeaders: ["X-Content-SHA256"] } as const;
    await using server = artifactServer([silent]);
    expect(await listed(server.client)).toMatchObject({ is: "ok", rows: [{ bytes: 2, sha256: sha256("aa") }, {}] });
    await using wrong = artifactServer([{ ...silent, sha256: sha256("c") }]);
    expect(await listed(wrong.client)).toMatchObject({
      is: "refused",
      cause: expect.stringMatching(/^input_hash_mismatch/),
    });
  });

  test("one wrong answer in between is not believed", async () => {
    let lies = 1;
    await using server = artifactServer([{ files: { a: "a", b: "b" } }], (_request, path) => {
      if (!path.endsWith("/files") || lies-- <= 0) return undefined;
      const item = { path: "a", sha256: sha256("x"), size_bytes: "1" };
      return Response.json({ items: [item], count: 1, total_count: 1 });
    });
    expect(await listed(server.client)).toMatchObject({ is: "ok", bytes: 2 });
  });

  test("a server that fails is no refusal", async () => {
    await using server = artifactServer([], () => new Response("<html>", { status: 502 }));
    expect(await faultOf(listed(server.client))).toMatchObject({ name: "ApiError", answer: { status: 502 } });
  });
});

describe("stageFile", () => {
  const row = inputRow("sub dir/a%2F.txt", "hello");

  test("fetches a file once", async () => {
    await using server = artifactServer([{ files: { [row.path]: "hello" } }]);
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    expect(await stageFile(server.client, w.files, w.dir, row, call)).toEqual({ is: "ok", bytes: 5 });
    expect(await stageFile(server.client, w.files, w.dir, row, call)).toEqual({ is: "ok", bytes: 5 });
    expect(server.requests).toEqual([`GET ${artifactId}/files/${row.path}`]);
    expect(readFileSync(join(w.dir, row.directory, row.path), "utf8")).toBe("hello");
  });

  test("fetches again what lies there with the right size and other bytes, as a crash may leave it", async () => {
    await using server = artifactServer([{ files: { [row.path]: "hello" } }]);
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    await stageFile(server.client, w.files, w.dir, row, call);
    const place = join(w.dir, row.directory, row.path);
    writeFileSync(place, Buffer.alloc(5));
    expect(await stageFile(server.client, w.files, w.dir, row, call)).toEqual({ is: "ok", bytes: 5 });
    expect(server.requests).toHaveLength(2);
    expect(readFileSync(place, "utf8")).toBe("hello");
  });

  test("content that is wrong twice is refused, with what was expected and what came", async () => {
    await using server = artifactServer([{ files: { [row.path]: "jello" } }]);
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    expect(await stageFile(server.client, w.files, w.dir, row, call)).toEqual({
      is: "refused",
      cause: `input_hash_mismatch: "${row.path}" of artifact ${artifactId}: expected sha256 ${sha256("hello")}, got ${sha256("jello")}`,
    });
    expect(server.requests).toHaveLength(2);
    expect(await w.files.hasInput(w.dir, row)).toBe(false);
  });

  test("storage that refuses before the download is read lets go of the answer", async () => {
    const gone = Promise.withResolvers<string>();
    const body = "x".repeat(10_000);
    await using server = await rawServer((_request, socket) => {
      socket.once("close", () => gone.resolve("gone"));
      return `HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n${body}`;
    });
    using w = workDirectory();
    const full = Object.assign(new Error("quota"), { code: "EDQUOT", syscall: "open" });
    let held: ReadableStream | undefined;
    const writeInput: JobFiles["writeInput"] = (_dir, _row, download) => {
      held = download; // else the collector lets go of it
      return Promise.reject(full);
    };
    const files = { ...w.files, hasInput: async () => false, writeInput };
    expect(await faultOf(stageFile(clientOf(server), files, w.dir, row, call))).toBe(full);
    const late = systemClock.sleep(5_000).then(() => "still open");
    expect(await Promise.race([gone.promise, late])).toBe("gone");
    expect(held?.locked).toBe(false);
  });

  test("content that is wrong once is fetched anew", async () => {
    let lies = 1;
    const stored = { files: { [row.path]: "hello" } };
    await using server = artifactServer([stored], () =>
      lies-- > 0 ? new Response("jello", { headers: { "X-Content-SHA256": sha256("hello") } }) : undefined,
    );
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    expect(await stageFile(server.client, w.files, w.dir, row, call)).toEqual({ is: "ok", bytes: 5 });
  });

  test("content that is shorter than EMX2 lists it, and all that EMX2 has, is tried once more and refused", async () => {
    let gets = 0;
    await using server = artifactServer([], () => {
      gets += 1;
      return new Response("hel", { headers: { "X-Content-SHA256": sha256("hel") } });
    });
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    expect(await stageFile(server.client, w.files, w.dir, row, call)).toEqual({
      is: "refused",
      cause: expect.stringContaining("expected bytes 5, got 3"),
    });
    expect(gets).toBe(2);
  });

  test.each([
    ["a proxy's page with status 200", () => new Response("<html>please log in</html>"), "ApiError"],
    [
      "a body that ends early",
      () => new Response("hel", { headers: { "X-Content-SHA256": sha256("hello") } }),
      "NetworkError",
    ],
    ["a 404", () => Response.json({ title: "Not Found", status: 404 }, { status: 404 }), "ApiError"],
  ])("%s is no proof against the artifact", async (_what, answer, name) => {
    await using server = artifactServer([], answer);
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    expect(await faultOf(stageFile(server.client, w.files, w.dir, row, call))).toMatchObject({ name });
  });
});
