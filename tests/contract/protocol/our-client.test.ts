/** Our client speaks it: each of its calls, and whole lives of jobs, with what the server tells of them afterwards. */
import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import type { Emx2Client, FileUpload, NewArtifact } from "../../../src/emx2/client.ts";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import { ApiError } from "../../../src/errors.ts";
import { conformance } from "./conformance.ts";

function outputOf(jobId: string, place: Partial<NewArtifact> = {}): NewArtifact {
  const metadata = {
    jobId,
    processor: "conformance",
    profile: "cpu",
    role: "output" as const,
    createdBy: "submitter",
    inputArtifactIds: [],
    parametersHash: sha256Hex("{}"),
  };
  return { type: "blob", residence: "managed", name: `output-${jobId.slice(0, 8)}`, metadata, ...place };
}

function fileOf(path: string, content: Uint8Array | string): FileUpload {
  const bytes = new Uint8Array(Buffer.from(content));
  return { path, bytes: bytes.length, sha256: sha256Hex(bytes), body: () => new Blob([bytes]).stream() };
}

/** Of an artifact with these files, as EMX2 makes it. */
function contentOf(files: readonly { path: string; sha256: string; bytes: number }[]) {
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const [only] = sorted;
  const tree = sha256Hex(sorted.map(({ path, sha256 }) => `${path}:${sha256}`).join(""));
  return {
    sha256: sorted.length === 1 && only ? only.sha256 : tree,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

async function refusalOf(call: Promise<unknown>): Promise<ApiError["answer"]> {
  const error = await call.then(
    () => undefined,
    (cause) => cause,
  );
  if (error instanceof ApiError) return error.answer;
  throw new Error(`expected an ApiError, got ${error}`);
}

async function download(client: Emx2Client, artifactId: string, path: string): Promise<string> {
  return new Response((await client.getFile(artifactId, path)).body).text();
}

await conformance("our client", (server) => {
  const { client, clientWith, generation, expected, sender, processor, submit, jobIn, read, input, adopt } = server;
  const capabilities = [{ processor, profile: "cpu", maxConcurrentJobs: 10 }];
  const create = async (artifact: NewArtifact) => {
    const { artifactId } = await client.createArtifact(artifact);
    adopt(artifactId);
    return artifactId;
  };

  describe("worker", () => {
    test("health tells the generation", async () => {
      const { workerCredentials, ...health } = await client.health();
      expect(health).toEqual({ status: "ok", apiVersion: "2025-01", hpcEnabled: true, generation });
      expect(workerCredentials).toBe(expected.healthNamesWorkerCredentials);
    });

    test("registers again and beats", async () => {
      await client.register({ hostname: "conformance", capabilities });
      await client.register({ hostname: "conformance", capabilities });
      expect(await client.heartbeat()).toBe("ok");
    });

    test("a wrong secret is refused as 401", async () => {
      const wrong = clientWith({ mode: "hmac", secret: "another-secret-0123456789abcdef0123456789" });
      expect(await refusalOf(wrong.heartbeat())).toMatchObject({ status: 401 });
    });

    test.skipIf(sender.token === undefined)("a token does in place of a signature", async () => {
      const jobId = await submit();
      const bearer = clientWith({ mode: "token", secret: sender.token ?? "" });
      expect(await bearer.readJob(jobId)).toMatchObject({ id: jobId, status: "PENDING" });
    });
  });

  describe("job", () => {
    test("is claimed once: a second claim is 409 even for the same worker", async () => {
      const jobId = await submit();
      expect(await client.claim(jobId)).toMatchObject({ id: jobId, status: "CLAIMED", workerId: sender.workerId });
      expect(await refusalOf(client.claim(jobId))).toMatchObject({ status: 409, title: "Conflict" });
    });

    test("a repeated report changes nothing, another end is refused", async () => {
      const jobId = await jobIn("CLAIMED");
      const end = { status: "COMPLETED", detail: "done" } as const;
      for (const report of [{ status: "SUBMITTED", slurmJobId: "77" }, { status: "STARTED" }, end, end] as const)
        await client.report(jobId, report);
      expect(await read(jobId)).toMatchObject({ status: "COMPLETED", slurm_job_id: "77" });
      expect(await refusalOf(client.report(jobId, { status: "FAILED" }))).toMatchObject({ status: 409 });
    });

    test("cancelled by its submitter refuses SUBMITTED, and takes CANCELLED", async () => {
      const jobId = await jobIn("CANCELLED");
      expect(await refusalOf(client.report(jobId, { status: "SUBMITTED" }))).toMatchObject({ status: 409 });
      await client.report(jobId, { status: "CANCELLED", detail: "its logs" });
    });

    test("unknown to EMX2 is null, and its report refused", async () => {
      expect(await client.readJob(systemClock.uuid())).toBeNull();
      expect(await refusalOf(client.report(systemClock.uuid(), { status: "FAILED" }))).toMatchObject({ status: 404 });
    });

    test("a detail with NUL and half a surrogate pair is stored without them", async () => {
      const jobId = await jobIn("CLAIMED");
      await client.report(jobId, { status: "FAILED", detail: "a\0b\ud800c" });
      const { items } = (await server.call("GET", `/jobs/${jobId}/transitions`)).json;
      expect(items).toEqual(expect.arrayContaining([expect.objectContaining({ detail: "a\ufffdb\ufffdc" })]));
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
      "\u00e9",
      "e\u0301",
      "a+b",
      "-rf",
      "dot.",
      " ends ",
    ];

    test("takes files of any name and type, gives them back, and is committed once, under its content hash", async () => {
      const artifactId = await create(outputOf(systemClock.uuid()));
      const files = names.map((path) => fileOf(path, path));
      for (const file of files) await client.putFile(artifactId, file);
      const listed = (await Array.fromAsync(client.listFiles(artifactId, { maxFiles: 100 }))).flat();
      expect(listed.map(({ path }) => path).toSorted()).toEqual(names.toSorted());
      for (const { path, bytes, sha256 } of files) {
        expect(await client.headFile(artifactId, path)).toEqual({ bytes, sha256 });
        expect(await download(client, artifactId, path)).toBe(path);
      }
      const content = contentOf(files);
      for (let time = 0; time < 2; time++)
        expect(await client.commit(artifactId, content)).toMatchObject({ status: "COMMITTED", ...content });
      const other = { ...content, sha256: sha256Hex("other") };
      expect(await refusalOf(client.commit(artifactId, other))).toMatchObject({ status: 409 });
    });

    test("an empty file is a file", async () => {
      const artifactId = await create(outputOf(systemClock.uuid()));
      await client.putFile(artifactId, fileOf("empty", ""));
      expect(await client.headFile(artifactId, "empty")).toEqual({ bytes: 0, sha256: sha256Hex("") });
      expect(await download(client, artifactId, "empty")).toBe("");
    });

    test("what is not there reads as null", async () => {
      const artifactId = await create(outputOf(systemClock.uuid()));
      expect(await client.headFile(artifactId, "nope")).toBeNull();
      expect(await client.readArtifact(systemClock.uuid())).toBeNull();
      expect(await refusalOf(client.getFile(artifactId, "nope"))).toMatchObject({ status: 404 });
    });
  });

  describe("a whole life", () => {
    const started = async (jobId: string) => {
      await client.report(jobId, { status: "SUBMITTED", slurmJobId: "77", detail: "sbatch 77" });
      await client.report(jobId, { status: "STARTED", detail: "running" });
    };

    test("from PENDING to COMPLETED, with more than 10 MB of output in a directory, and its log", async () => {
      const inputId = await input("reads");
      const jobId = await submit({ parameters: { args: ["-n", 1.5] }, inputs: [inputId] });
      const { jobs } = await client.listJobs({ status: "PENDING", processor, profile: "cpu" });
      expect(jobs.map(({ id }) => id)).toEqual([jobId]);
      const job = await client.claim(jobId);
      expect(job.inputs.map(({ artifactId }) => artifactId)).toEqual([inputId]);
      expect(await client.readArtifact(inputId)).toMatchObject({ status: "COMMITTED", sha256: sha256Hex("reads") });
      expect(await download(client, inputId, "a.txt")).toBe("reads");
      await started(jobId);
      await client.report(jobId, { status: "STARTED", progress: { phase: "align", fraction: 0.5 } });

      const [outputId, logId] = [
        await create(outputOf(jobId)),
        await create(outputOf(jobId, { type: "log", name: `log-${jobId.slice(0, 8)}` })),
      ];
      const large = Buffer.alloc(10_000_001, "0123456789abcdef");
      const outputs = [fileOf("deep/er/large.bin", large), fileOf("summary.json", '{"n":1}')];
      // Twice, as after a lost answer.
      for (const file of [...outputs, ...outputs]) await client.putFile(outputId, file);
      await client.putFile(logId, fileOf("slurm-77.out", "done\n"));
      expect(await client.commit(outputId, contentOf(outputs))).toMatchObject(contentOf(outputs));
      await client.commit(logId, contentOf([fileOf("slurm-77.out", "done\n")]));
      const ids = { outputArtifactId: outputId, logArtifactId: logId };
      await client.report(jobId, { status: "COMPLETED", detail: "slurm_state=COMPLETED; exit_code=0:0", ...ids });

      expect(await read(jobId)).toMatchObject({
        status: "COMPLETED",
        slurm_job_id: "77",
        output_artifact: { id: outputId, name: `output-${jobId.slice(0, 8)}`, type: "blob", status: "COMMITTED" },
        log_artifact: { id: logId, type: "log", status: "COMMITTED" },
        ...(expected.keepsProgress && { phase: "align", progress: 0.5 }),
      });
      const got = new Uint8Array(
        await new Response((await client.getFile(outputId, "deep/er/large.bin")).body).arrayBuffer(),
      );
      expect(Buffer.compare(got, large)).toBe(0);
    });

    test("with its output left where it lies", async () => {
      const jobId = await jobIn("CLAIMED");
      await started(jobId);
      const contentUrl = `file:///nfs/results/${jobId}/output`;
      const outputId = await create(outputOf(jobId, { residence: "posix", contentUrl }));
      const files = ["a.csv", "d/b.csv"].map((path) => ({
        path,
        bytes: 7,
        sha256: sha256Hex(path),
      }));
      const held = [];
      for (const file of files) held.push({ path: file.path, ...(await client.putFileFacts(outputId, file)) });
      expect(await client.commit(outputId, contentOf(held))).toMatchObject({ status: "COMMITTED", contentUrl });
      await client.report(jobId, { status: "COMPLETED", outputArtifactId: outputId });
      expect(await read(jobId)).toMatchObject({ status: "COMPLETED", output_artifact_id: outputId });
      const listed = (await Array.fromAsync(client.listFiles(outputId, { maxFiles: 10 }))).flat();
      expect(listed.map(({ path }) => path).toSorted()).toEqual(["a.csv", "d/b.csv"]);
      const text = client.readFileText(outputId, "d/b.csv", { maxBytes: 1_000 });
      if (expected.readOfPosixFile === 302) expect(await refusalOf(text)).toMatchObject({ form: "posix" });
      else expect(JSON.parse(await text)).toMatchObject({ sha256: sha256Hex("d/b.csv"), size_bytes: 7 });
    });
  });
});
