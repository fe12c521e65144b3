/** Files of posix artifacts: they lie on the cluster, and EMX2 knows what is told of them, each generation in its way. */
import { describe, expect, test } from "bun:test";
import { factsText } from "../../../src/emx2/bodies.ts";
import { concernsAll, judge } from "../../../src/emx2/retry.ts";
import { sha256Hex, signature } from "../../../src/emx2/signature.ts";
import { ApiError, IntegrityError } from "../../../src/errors.ts";
import { clientOf, faultOf, healthOf, http, rawServer, secret } from "./raw-server.ts";

const artifactId = "550e8400-e29b-41d4-a716-446655440000";
const file = { path: "d/out.bin", sha256: "ab".repeat(32), bytes: 4096 };
const text = factsText(file);
const ofText = { sha256: sha256Hex(text), bytes: Buffer.byteLength(text) };
const stored = ({ sha256, bytes }: { sha256: string; bytes: number }) =>
  http(201, JSON.stringify({ id: "1", path: file.path, sha256, size_bytes: bytes }));

describe("putFileFacts", () => {
  test.each([
    ["2026-05", "d/out.bin", file],
    ["2026-02", "d%2Fout.bin", ofText],
  ] as const)("gives the hash and size that %s goes by", async (generation, path, held) => {
    await using server = await rawServer(stored(held));
    server.health.answer = healthOf(generation);
    const client = clientOf(server);
    const facts = { sha256: held.sha256, bytes: held.bytes };
    expect(await client.putFileFacts(artifactId, file)).toEqual(facts);
    const [sent] = server.received;
    if (!sent) return expect.unreachable();
    const { method, target, headers, body } = sent;
    expect(`${method} ${target}`).toBe(`PUT /api/hpc/artifacts/${artifactId}/files/${path}`);
    expect(headers.get("content-type")).toBe("application/json");
    expect(body.toString()).toBe(text);
    const [timestamp = "", nonce = ""] = ["x-timestamp", "x-nonce"].map((name) => headers.get(name));
    const right = signature(secret, { method, target, bodySha256: sha256Hex(text), timestamp, nonce });
    expect(headers.get("authorization")).toBe(`HMAC-SHA256 ${right}`);
  });

  test("does not take another file for what was named", async () => {
    await using server = await rawServer(stored({ ...file, bytes: 1 }));
    expect(await faultOf(clientOf(server).putFileFacts(artifactId, file))).toBeInstanceOf(IntegrityError);
  });
});

describe("readFileText", () => {
  const limit = { maxBytes: 1_000 };

  test("gives what 2026-02 stored of a posix file", async () => {
    await using server = await rawServer(http(200, text));
    expect(await clientOf(server).readFileText(artifactId, "out.bin", limit)).toBe(text);
  });

  test("reads no more than the limit of what is said to describe a file", async () => {
    await using server = await rawServer(http(200, "x".repeat(1_001)));
    const error = await faultOf(clientOf(server).readFileText(artifactId, "out.bin", limit));
    expect(error).toBeInstanceOf(IntegrityError);
    expect(String(error)).toContain(`out.bin in artifact ${artifactId} is longer than 1000 bytes`);
    expect(server.received).toHaveLength(1);
  });
});

describe("getFile of a posix file on 2026-05", () => {
  const redirect = http(302, "Redirected", { Location: "file:///data/x/out.bin" });

  test("is refused, and says where the file lies", async () => {
    await using server = await rawServer(redirect);
    for (const call of [
      () => clientOf(server).getFile(artifactId, "out.bin"),
      () => clientOf(server).readFileText(artifactId, "out.bin", { maxBytes: 10 }),
    ]) {
      const error = await faultOf(call());
      if (!(error instanceof ApiError)) throw error;
      expect(error.answer).toMatchObject({ status: 302, form: "posix" });
      expect(error.message).toContain("the artifact is posix, and lies on the cluster as file:///data/x/out.bin");
      expect(judge(error, { repeatable: true })).toBe("refused");
      expect(concernsAll(error)).toBe(false);
    }
    expect(server.received).toHaveLength(2);
  });
});

test("an artifact tells where it lies", async () => {
  const posix = { id: artifactId, status: "COMMITTED", residence: "posix", content_url: "file:///data/x" };
  await using server = await rawServer(http(200, JSON.stringify(posix)));
  expect(await clientOf(server).readArtifact(artifactId)).toMatchObject({ contentUrl: "file:///data/x" });
});
