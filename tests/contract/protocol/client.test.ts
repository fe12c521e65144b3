/** The client against the emulator over a real socket: the calls of the protocol, one life of a job, and the refusals. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { type ServedEmulator, serve } from "../../../src/emulator/serve.ts";
import {
  addArtifact,
  addJob,
  addToken,
  addWorkerCredential,
  artifact,
  cancelJob,
  job,
} from "../../../src/emulator/submitter.ts";
import { createClient, type Emx2Client, type NewArtifact } from "../../../src/emx2/client.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { ApiError } from "../../../src/errors.ts";

const secret = "emx2hpc_contract-secret-0123456789abcdef";
const capabilities = [{ processor: "demo", profile: "cpu", maxConcurrentJobs: 1_000 }];
const seen: Request[] = [];
let server: ServedEmulator;
let client: Emx2Client;

beforeAll(async () => {
  server = await serve({
    clock: systemClock,
    around: (request, answer) => {
      seen.push(request);
      return answer();
    },
  });
  addWorkerCredential(server.state, "w1", secret);
  addToken(server.state, "token-of-an-editor", "editor1", "editor");
  client = clientOf("hmac", secret);
  await client.register({ hostname: "head", capabilities });
});

afterAll(() => server.stop());

function clientOf(mode: "hmac" | "token", value: string): Emx2Client {
  return createClient({
    baseUrl: server.url,
    workerId: "w1",
    credential: { mode, secret: () => value },
    clock: systemClock,
  });
}

async function refusalOf(call: Promise<unknown>): Promise<ApiError["answer"]> {
  const error = await call.then(
    () => undefined,
    (cause) => cause,
  );
  if (error instanceof ApiError) return error.answer;
  throw new Error(`expected an ApiError, got ${error}`);
}

function outputOf(jobId: string): NewArtifact {
  const metadata = {
    jobId,
    processor: "demo",
    profile: "cpu",
    role: "output" as const,
    createdBy: "submitter",
    inputArtifactIds: [],
    parametersHash: sha256Hex("{}"),
  };
  return { type: "blob", residence: "managed", name: `output-${jobId.slice(0, 8)}`, metadata };
}

function streamOf(...chunks: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
      controller.close();
    },
  });
}

describe("worker", () => {
  test("health tells the generation, without a header of ours", async () => {
    expect(await client.health()).toEqual({
      status: "ok",
      apiVersion: "2025-01",
      hpcEnabled: true,
      workerCredentials: true,
      generation: "2026-05",
    });
    const headers = seen.findLast((request) => request.url.endsWith("/health"))?.headers;
    for (const name of ["authorization", "x-worker-id", "x-nonce", "x-molgenis-token"])
      expect(headers?.get(name)).toBeNull();
  });

  test("registers again and beats", async () => {
    await client.register({ hostname: "head", capabilities });
    expect(await client.heartbeat()).toBe("ok");
    expect(server.state.workers.get("w1")?.capabilities).toEqual(capabilities);
  });

  test("learns from the heartbeat that it is unknown", async () => {
    addWorkerCredential(server.state, "w-new", secret);
    const stranger = createClient({
      baseUrl: server.url,
      workerId: "w-new",
      credential: { mode: "hmac", secret: () => secret },
      clock: systemClock,
    });
    expect(await stranger.heartbeat()).toBe("unknown");
  });

  test("a token does in place of a signature, and the signature's headers are not sent then", async () => {
    const before = seen.length;
    expect((await clientOf("token", "token-of-an-editor").listJobs({ status: "PENDING" })).warnings).toEqual([]);
    const headers = seen[before]?.headers;
    expect(headers?.get("x-molgenis-token")).toBe("token-of-an-editor");
    expect(headers?.get("authorization")).toBeNull();
    expect(headers?.get("x-nonce")).toBeNull();
  });

  test("a wrong secret is refused as 401", async () => {
    expect(await refusalOf(clientOf("hmac", "wrong").heartbeat())).toMatchObject({
      status: 401,
      title: "Unauthorized",
    });
  });
});

describe("job", () => {
  test("is read with its parameters as they were written and its inputs", async () => {
    const input = addArtifact(server.state, { name: "in", files: [{ path: "a", content: "x" }] });
    const parametersText = '{"b":1.0,"a":12345678901234567890,"s":"é😀"}';
    const jobId = addJob(server.state, { processor: "demo", profile: "cpu", parametersText, inputs: { reads: input } });
    const found = await client.readJob(jobId);
    expect(found).toMatchObject({ id: jobId, status: "PENDING", profile: "cpu", workerId: null, parametersText });
    expect(found?.inputs).toEqual([{ artifactId: input, name: "reads" }]);
  });

  test("unknown to EMX2 reads as null", async () => {
    expect(await client.readJob(systemClock.uuid())).toBeNull();
  });

  test("250 of them come in pages of 100, each once", async () => {
    const ids = Array.from({ length: 250 }, () => addJob(server.state, { processor: "paging", profile: "cpu" }));
    await client.generation();
    const before = seen.length;
    const { jobs, total, warnings } = await client.listJobs({ status: "PENDING", pageSize: 100 });
    const listed = jobs.map(({ id }) => id);
    expect(listed.filter((id) => ids.includes(id))).toEqual(ids);
    expect(new Set(listed).size).toBe(listed.length);
    expect({ total, warnings }).toEqual({ total: listed.length, warnings: [] });
    expect(seen.length - before).toBe(Math.ceil(total / 100));
    const some = await client.listJobs({ status: "PENDING", pageSize: 100, maxJobs: 130 });
    expect(some.jobs).toHaveLength(130);
    expect(some.total).toBe(total);
  });

  test("is claimed once: a second claim is 409 even for the same worker", async () => {
    const jobId = addJob(server.state, { processor: "demo", profile: "cpu" });
    expect(await client.claim(jobId)).toMatchObject({ id: jobId, status: "CLAIMED", workerId: "w1" });
    expect(await refusalOf(client.claim(jobId))).toMatchObject({ status: 409, title: "Conflict" });
  });

  test("walks through its statuses, a repeated report changing nothing", async () => {
    const jobId = addJob(server.state, { processor: "demo", profile: "cpu" });
    await client.claim(jobId);
    await client.report(jobId, { status: "SUBMITTED", slurmJobId: "77", detail: "queued" });
    await client.report(jobId, { status: "SUBMITTED", slurmJobId: "77", detail: "queued" });
    await client.report(jobId, { status: "STARTED" });
    await client.report(jobId, { status: "COMPLETED", detail: "done" });
    await client.report(jobId, { status: "COMPLETED", detail: "done" });
    expect(job(server.state, jobId)).toMatchObject({ status: "COMPLETED", slurmJobId: "77" });
    expect(job(server.state, jobId).transitions.map(({ to }) => to)).toEqual([
      "PENDING",
      "CLAIMED",
      "SUBMITTED",
      "STARTED",
      "COMPLETED",
    ]);
    expect(await refusalOf(client.report(jobId, { status: "FAILED" }))).toMatchObject({ status: 409 });
  });

  test("cancelled by its submitter refuses SUBMITTED", async () => {
    const jobId = addJob(server.state, { processor: "demo", profile: "cpu" });
    await client.claim(jobId);
    cancelJob(server.state, jobId);
    expect(await refusalOf(client.report(jobId, { status: "SUBMITTED" }))).toMatchObject({ status: 409 });
  });

  test("unknown to EMX2 is reported once, and refused", async () => {
    await client.generation();
    const before = seen.length;
    expect(await refusalOf(client.report(systemClock.uuid(), { status: "FAILED" }))).toMatchObject({ status: 404 });
    expect(seen.length - before).toBe(1);
  });

  test("a detail with NUL and half a surrogate pair is stored without them", async () => {
    const jobId = addJob(server.state, { processor: "demo", profile: "cpu" });
    await client.claim(jobId);
    await client.report(jobId, { status: "FAILED", detail: "a\0b\ud800c" });
    expect(job(server.state, jobId).transitions.at(-1)?.detail).toBe("a\ufffdb\ufffdc");
  });
});

describe("artifact", () => {
  const names = [
    "plain.txt",
    "a/b/nested.bin",
    "ü & 😀.txt",
    "semi;v=1",
    "100%",
    "q?x#y",
    "it's (1)*!~",
    "back\\slash",
    "data.json",
  ];

  test("takes files of any name and type, gives them back, and is committed once, under its content hash", async () => {
    const { artifactId } = await client.createArtifact(outputOf(systemClock.uuid()));
    for (const path of names) {
      const file = { path, bytes: Buffer.byteLength(path), sha256: sha256Hex(path) };
      await client.putFile(artifactId, { ...file, body: () => streamOf(path) });
    }
    const files = await client.listFiles(artifactId, { maxFiles: 100 });
    expect(files.map(({ path }) => path).sort()).toEqual([...names].sort());
    for (const path of names) {
      const facts = { bytes: Buffer.byteLength(path), sha256: sha256Hex(path) };
      expect(await client.headFile(artifactId, path)).toEqual(facts);
      const { body, ...got } = await client.getFile(artifactId, path);
      expect(got).toEqual(facts);
      expect(await new Response(body).text()).toBe(path);
    }
    const sha256 = sha256Hex(
      [...names]
        .sort()
        .map((path) => `${path}:${sha256Hex(path)}`)
        .join(""),
    );
    const bytes = names.reduce((sum, path) => sum + Buffer.byteLength(path), 0);
    expect(await client.commit(artifactId, { sha256, bytes })).toMatchObject({ status: "COMMITTED", sha256, bytes });
    expect(await client.commit(artifactId, { sha256, bytes })).toMatchObject({ status: "COMMITTED", sha256 });
    expect(await refusalOf(client.commit(artifactId, { sha256: sha256Hex("other"), bytes }))).toMatchObject({
      status: 409,
    });
    expect(artifact(server.state, artifactId).status).toBe("COMMITTED");
  });

  test("an empty file is a file", async () => {
    const { artifactId } = await client.createArtifact(outputOf(systemClock.uuid()));
    await client.putFile(artifactId, { path: "empty", bytes: 0, sha256: sha256Hex(""), body: () => streamOf() });
    const { body, bytes } = await client.getFile(artifactId, "empty");
    expect({ bytes, text: await new Response(body).text() }).toEqual({ bytes: 0, text: "" });
  });

  test("what is not there reads as null", async () => {
    const { artifactId } = await client.createArtifact(outputOf(systemClock.uuid()));
    expect(await client.headFile(artifactId, "nope")).toBeNull();
    expect(await client.readArtifact(systemClock.uuid())).toBeNull();
    expect(await refusalOf(client.getFile(artifactId, "nope"))).toMatchObject({ status: 404 });
  });

  test("more files than the limit are refused, more than a page are all listed", async () => {
    const files = Array.from({ length: 1_200 }, (_, index) => ({ path: `f${index}`, content: `${index}` }));
    const artifactId = addArtifact(server.state, { files });
    expect(await client.listFiles(artifactId, { maxFiles: 1_200 })).toHaveLength(1_200);
    expect(client.listFiles(artifactId, { maxFiles: 1_199 })).rejects.toThrow("at most 1199 are allowed");
  });

  test("a file above the server's limit is refused with 413 before it is sent", async () => {
    const { artifactId } = await client.createArtifact(outputOf(systemClock.uuid()));
    const bytes = server.state.settings.maxUploadBytes + 1;
    let taken = 0;
    const body = () =>
      new ReadableStream<Uint8Array>({
        pull(controller) {
          taken += 65_536;
          controller.enqueue(new Uint8Array(65_536));
        },
      });
    const upload = client.putFile(artifactId, { path: "big", bytes, sha256: sha256Hex(""), body });
    expect(await refusalOf(upload)).toMatchObject({ status: 413 });
    expect(taken).toBeLessThan(bytes / 10);
  });
});
