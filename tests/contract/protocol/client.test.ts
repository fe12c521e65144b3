/** What our client sends, seen from the emulator: which headers, how many requests, and what it stops before it is sent. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { type ServedEmulator, serve } from "../../../src/emulator/serve.ts";
import { addArtifact, addJob, addToken, addWorkerCredential } from "../../../src/emulator/submitter.ts";
import { createClient, type Emx2Client } from "../../../src/emx2/client.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { ApiError } from "../../../src/errors.ts";

const secret = "emx2hpc_contract-secret-0123456789abcdef";
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
  await client.register({ hostname: "head", capabilities: [] });
  await client.generation();
});

afterAll(() => server.stop());

function clientOf(mode: "hmac" | "token", value: string, workerId = "w1"): Emx2Client {
  return createClient({ baseUrl: server.url, workerId, credential: { mode, secret: () => value }, clock: systemClock });
}

async function refusalOf(call: Promise<unknown>): Promise<ApiError["answer"]> {
  const error = await call.then(
    () => undefined,
    (cause) => cause,
  );
  if (error instanceof ApiError) return error.answer;
  throw new Error(`expected an ApiError, got ${error}`);
}

test("health is asked without a header of ours", async () => {
  await client.health();
  const headers = seen.findLast((request) => request.url.endsWith("/health"))?.headers;
  for (const name of ["authorization", "x-worker-id", "x-nonce", "x-molgenis-token"])
    expect(headers?.get(name)).toBeNull();
});

test("with a token the signature's headers are not sent", async () => {
  const before = seen.length;
  expect((await clientOf("token", "token-of-an-editor").listJobs({ status: "PENDING" })).warnings).toEqual([]);
  const headers = seen[before]?.headers;
  expect(headers?.get("x-molgenis-token")).toBe("token-of-an-editor");
  expect(headers?.get("authorization")).toBeNull();
  expect(headers?.get("x-nonce")).toBeNull();
});

test("a worker learns from the heartbeat that it is unknown", async () => {
  addWorkerCredential(server.state, "w-new", secret);
  expect(await clientOf("hmac", secret, "w-new").heartbeat()).toBe("unknown");
});

test("250 jobs come in pages of 100, each once", async () => {
  const ids = Array.from({ length: 250 }, () => addJob(server.state, { processor: "paging", profile: "cpu" }));
  const before = seen.length;
  const { jobs, total, warnings } = await client.listJobs({ status: "PENDING", pageSize: 100 });
  expect(jobs.map(({ id }) => id)).toEqual(ids);
  expect({ total, warnings }).toEqual({ total: 250, warnings: [] });
  expect(seen.length - before).toBe(3);
  const some = await client.listJobs({ status: "PENDING", pageSize: 100, maxJobs: 130 });
  expect({ jobs: some.jobs.length, total: some.total }).toEqual({ jobs: 130, total: 250 });
});

test("a report about a job that EMX2 does not know is sent once", async () => {
  const before = seen.length;
  expect(await refusalOf(client.report(systemClock.uuid(), { status: "FAILED" }))).toMatchObject({ status: 404 });
  expect(seen.length - before).toBe(1);
});

test("more files than the limit are refused, more than a page are all listed", async () => {
  const files = Array.from({ length: 1_200 }, (_, index) => ({ path: `f${index}`, content: `${index}` }));
  const artifactId = addArtifact(server.state, { files });
  const listed = async (maxFiles: number) => (await Array.fromAsync(client.listFiles(artifactId, { maxFiles }))).flat();
  expect(await listed(1_200)).toHaveLength(1_200);
  await expect(listed(1_199)).rejects.toThrow("at most 1199 are allowed");
});

test("a file above the server's limit is refused with 413 before it is sent", async () => {
  const metadata = { jobId: "j", processor: "demo", profile: "cpu", role: "output" as const, createdBy: null };
  const { artifactId } = await client.createArtifact({
    type: "blob",
    residence: "managed",
    name: "output",
    metadata: { ...metadata, inputArtifactIds: [], parametersHash: sha256Hex("{}") },
  });
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
