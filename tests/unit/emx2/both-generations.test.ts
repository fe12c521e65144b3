/** The client against a server of each generation over a real socket, and against one that is upgraded beneath it. */
import { afterEach, describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { type ServedEmulator, serve } from "../../../src/emulator/serve.ts";
import {
  addArtifact,
  addJob,
  addSharedSecret,
  addWorkerCredential,
  artifact,
  upgrade,
} from "../../../src/emulator/submitter.ts";
import type { ArtifactMetadata, Emx2Client, NewArtifact } from "../../../src/emx2/client.ts";
import type { Generation } from "../../../src/emx2/generation.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { clientOf, faultOf, secret } from "./raw-server.ts";

let server: ServedEmulator | undefined;
afterEach(() => server?.stop());

async function start(
  generation: Generation,
): Promise<{ server: ServedEmulator; client: Emx2Client; health: () => number }> {
  let asked = 0;
  const started = await serve({
    clock: systemClock,
    generation,
    around: (request, answer) => {
      if (request.url.endsWith("/health")) asked += 1;
      return answer();
    },
  });
  server = started;
  addSharedSecret(started.state, secret);
  addWorkerCredential(started.state, "w1", secret);
  const client = clientOf(started);
  await client.register({ hostname: "h", capabilities: [{ processor: "p", profile: "q", maxConcurrentJobs: 9 }] });
  return { server: started, client, health: () => asked };
}

const metadata: ArtifactMetadata = {
  ...{ jobId: "j", processor: "p", profile: "q", role: "output", createdBy: null },
  ...{ inputArtifactIds: [], parametersHash: "00" },
};
const managed: NewArtifact = { type: "blob", residence: "managed", name: "output-1", metadata };

function fileOf(path: string, bytes: number) {
  const whole = Buffer.alloc(bytes, 7);
  return { path, bytes, sha256: sha256Hex(whole), body: () => new Blob([whole]).stream() };
}

const hashOf = (files: readonly { path: string; sha256: string }[]) => {
  const [first, second] = files;
  if (first && !second) return first.sha256;
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return sha256Hex(sorted.map(({ path, sha256 }) => `${path}:${sha256}`).join(""));
};
const sum = (files: readonly { bytes: number }[]) => files.reduce((total, { bytes }) => total + bytes, 0);

describe.each(["2026-02", "2026-05"] as const)("on %s", (generation) => {
  test("a job goes its whole way, with one question about the generation", async () => {
    const { server, client, health } = await start(generation);
    const jobId = addJob(server.state, { processor: "p", profile: "q" });
    expect((await client.listJobs({ status: "PENDING" })).jobs).toMatchObject([
      { id: jobId, createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}$/) },
    ]);
    await client.claim(jobId);
    await client.report(jobId, { status: "SUBMITTED", slurmJobId: "77" });
    await client.report(jobId, { status: "STARTED", progress: { phase: "align", message: "2 of 5", fraction: 1.5 } });
    const { artifactId } = await client.createArtifact(managed);
    const files = [fileOf("results/a b/é.bin", 5), fileOf("z.json", 0), fileOf("large/ü.bin", 10_000_001)];
    for (const file of files) await client.putFile(artifactId, file);
    for (const { path, bytes, sha256 } of files) {
      expect(await client.headFile(artifactId, path)).toEqual({ bytes, sha256 });
    }
    const { body } = await client.getFile(artifactId, "results/a b/é.bin");
    expect(await new Response(body).bytes()).toEqual(new Uint8Array(5).fill(7));
    await client.commit(artifactId, { sha256: hashOf(files), bytes: sum(files) });
    await client.report(jobId, { status: "COMPLETED", outputArtifactId: artifactId });
    expect((await client.readJob(jobId))?.status).toBe("COMPLETED");
    expect(await client.generation()).toBe(generation);
    expect(health()).toBe(1);
  });

  test("a large file that is sent twice is there once, and one that changed takes its place", async () => {
    const { client } = await start(generation);
    const { artifactId } = await client.createArtifact(managed);
    const [before, after] = [fileOf("d/f", 10_000_001), fileOf("d/f", 10_000_002)];
    for (const file of [before, before, after]) await client.putFile(artifactId, file);
    expect((await Array.fromAsync(client.listFiles(artifactId, { maxFiles: 10 }))).flat()).toHaveLength(1);
    expect(await client.commit(artifactId, after)).toMatchObject({ status: "COMMITTED" });
  });

  test("files of a posix artifact are named, and the artifact is committed by what the server holds", async () => {
    const { client, server } = await start(generation);
    const contentUrl = "file:///nfs/results/j/output";
    const { artifactId } = await client.createArtifact({ ...managed, residence: "posix", contentUrl });
    const named = ["a/b.txt", "c.bin"].map((path) => fileOf(path, 9));
    const held = [];
    for (const file of named) held.push({ path: file.path, ...(await client.putFileFacts(artifactId, file)) });
    await client.commit(artifactId, { sha256: hashOf(held), bytes: sum(held) });
    expect(await client.readArtifact(artifactId)).toMatchObject({
      status: "COMMITTED",
      residence: "posix",
      contentUrl,
    });
    expect(artifact(server.state, artifactId).contentUrl).toBe(contentUrl);
    const text = client.readFileText(artifactId, "a/b.txt", { maxBytes: 1_000 });
    if (generation === "2026-02")
      expect(JSON.parse(await text)).toMatchObject({ size_bytes: 9, sha256: named[0]?.sha256 });
    else expect(await faultOf(text)).toMatchObject({ answer: { form: "posix" } });
  });

  test("350 waiting jobs are all seen, each once", async () => {
    const { client, server } = await start(generation);
    const ids = Array.from({ length: 350 }, () => addJob(server.state, { processor: "p", profile: "q" }));
    const { jobs, total } = await client.listJobs({ status: "PENDING" });
    expect(total).toBe(350);
    expect(jobs.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
  });

  test("a wrong secret is said to be that", async () => {
    const { server } = await start(generation);
    const stranger = clientOf(server, { credential: { mode: "hmac", secret: () => "x".repeat(32) } });
    expect(String(await faultOf(stranger.heartbeat()))).toContain("check emx2.worker_id (w1) and the secret file");
  });
});

test("a server that is upgraded between two files of one artifact costs neither", async () => {
  const { client, server, health } = await start("2026-02");
  const jobId = addJob(server.state, { processor: "p", profile: "q" });
  await client.claim(jobId);
  const { artifactId } = await client.createArtifact(managed);
  const files = [fileOf("d/before", 5), fileOf("d/after", 6)];
  await client.putFile(artifactId, files[0] ?? expect.unreachable());
  upgrade(server.state);
  await client.putFile(artifactId, files[1] ?? expect.unreachable());
  expect(await client.generation()).toBe("2026-05");
  expect(health()).toBe(2);
  await client.commit(artifactId, { sha256: hashOf(files), bytes: sum(files) });
  const input = addArtifact(server.state, { files: [{ path: "a/b", content: "x" }] });
  expect(await new Response((await client.getFile(input, "a/b")).body).text()).toBe("x");
  await client.report(jobId, { status: "FAILED" });
  expect((await client.readJob(jobId))?.status).toBe("FAILED");
});
