import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { artifactFor, putFile, registeredContent, registerFile } from "../../../src/artifacts/upload.ts";
import { IntegrityError } from "../../../src/errors.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import type { Job } from "../../../src/job/job.ts";
import type { Outcome } from "../../../src/job/run.ts";
import { artifactServer, call } from "./artifact-server.ts";
import { artifactId, faultOf, jobId, ownerOf, sha256, type WorkDirectory, workDirectory } from "./work-directory.ts";

const job: Job = {
  id: jobId,
  processor: "embed",
  serverProfile: "gpu",
  profileKey: "embed/gpu",
  backend: "slurm",
  dir: "/scratch/job",
  workerId: "w1",
  traceId: "t",
  submitUser: "alice",
  inputRefs: [{ artifactId, name: "in" }],
  timeoutSeconds: null,
  parametersHash: "ab",
  offeredAt: 0,
  server: { status: "STARTED", doubt: false },
  claim: { stage: "ours", at: 0 },
  inputs: { stage: "ready", total: 0, bytes: 0 },
  run: { stage: "none" },
  logs: { stage: "waiting" },
  outputs: { stage: "waiting" },
  outbox: [],
  announced: "STARTED",
  cleaned: false,
  waits: {},
};

describe("artifactFor", () => {
  test("outputs", () => {
    expect(artifactFor(job, "output")).toEqual({
      type: "blob",
      residence: "managed",
      name: "output-550e8400",
      metadata: {
        jobId,
        processor: "embed",
        profile: "gpu",
        role: "output",
        createdBy: "alice",
        inputArtifactIds: [artifactId],
        parametersHash: "ab",
      },
    });
  });

  test("tells of its own files that could not keep their names", () => {
    const escaped = { output: { count: 12, names: ["caf%E9"] } };
    expect(artifactFor({ ...job, escaped }, "output").metadata.escapedNames).toEqual(escaped.output);
    expect(artifactFor({ ...job, escaped }, "log").metadata).not.toHaveProperty("escapedNames");
  });

  test("logs, and what was only simulated says so", () => {
    const artifact = artifactFor({ ...job, backend: "simulate" }, "log");
    expect(artifact).toMatchObject({ type: "log", name: "log-550e8400", metadata: { role: "log", simulated: true } });
  });
});

describe("what stays in place", () => {
  const ref = { jobId, attempt: "a1", name: "n", schedulerId: "4711", dir: "/scratch/job", notBefore: 0 };
  const outcome: Outcome = {
    ...{ result: "succeeded", proof: "receipt", state: "COMPLETED", exitCode: 0 },
    ...{ node: "n1", elapsed: "1-00:01:05", outputDir: "output.a1.1" },
  };
  const ended: Job = { ...job, run: { stage: "ended", ref, outcome, stderrTail: [] } };

  test("outputs and logs each have their own residence and place, percent-encoded", () => {
    const outputs = { ...ended, outputBase: "/nfs/re sults/%1", inPlace: { outputs: true } };
    expect(artifactFor(outputs, "output")).toMatchObject({
      ...{ residence: "posix", contentUrl: "file:///nfs/re%20sults/%251/output.a1.1" },
    });
    expect(artifactFor(outputs, "log")).toMatchObject({ residence: "managed" });
    const logs = { ...ended, inPlace: { outputs: false, logs: "/scratch/job/logs" } };
    expect(artifactFor(logs, "output")).toMatchObject({ residence: "managed" });
    expect(artifactFor(logs, "log")).toMatchObject({ residence: "posix", contentUrl: "file:///scratch/job/logs" });
    const athome = artifactFor({ ...ended, inPlace: { outputs: true } }, "output");
    expect(athome.contentUrl).toBe("file:///scratch/job/output.a1.1");
  });

  test("the run that made it is told, and the job's own profile, which may be none", () => {
    expect(artifactFor({ ...ended, serverProfile: null }, "output").metadata).toMatchObject({
      ...{ profile: null, slurmJobId: "4711", node: "n1", elapsedSeconds: 86_465 },
    });
    const image = { path: "/images/a.sif", state: "1 2 3", sha256: "ab" };
    expect(artifactFor({ ...ended, image }, "output").metadata).toMatchObject({ imageSha256: "ab" });
    const { run } = ended;
    if (run.stage !== "ended") throw new Error("it has ended");
    const changed = {
      ...ended,
      image,
      run: { ...run, outcome: { ...run.outcome, imageChanged: true as const, used: { nodes: 1 } } },
    };
    // Which of the two ran is not known.
    expect(artifactFor(changed, "output").metadata).not.toHaveProperty("imageSha256");
    expect(artifactFor(changed, "output").metadata).toMatchObject({ imageChanged: true, used: { nodes: 1 } });
  });

  test("its files are told by hash and size, and the commit is of what EMX2 holds of them", async () => {
    const held = { a: "{description of a}", b: "{description of b}" };
    await using server = artifactServer([{ files: held }], (request, path) => {
      if (request.method !== "PUT") return undefined;
      const stored = { id: "f", artifact_id: artifactId, path: path.split("/files/")[1] };
      return Response.json({ ...stored, sha256: sha256("content"), size_bytes: 7 }, { status: 201 });
    });
    const row: FileRow = {
      ...{ role: "output", index: 0, directory: "output", path: "a", bytes: 7, sha256: sha256("content") },
    };
    await registerFile(server.client, row, artifactId, call);
    expect(await registeredContent(server.client, artifactId, 2, call)).toEqual({
      sha256: sha256(`a:${sha256(held.a)}b:${sha256(held.b)}`),
      bytes: 36,
    });
    expect(await faultOf(registeredContent(server.client, artifactId, 3, call))).toBeInstanceOf(IntegrityError);
  });
});

describe("putFile", () => {
  async function withOutput(path: string, content: string): Promise<WorkDirectory & { readonly row: FileRow }> {
    const w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    mkdirSync(join(w.dir, "output/sub"));
    writeFileSync(join(w.dir, "output", path), content);
    const [row] = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    return { ...w, row: row ?? expect.unreachable() };
  }

  test("sends the bytes with their length and hash, never as JSON", async () => {
    let headers = new Headers();
    await using server = artifactServer([], (request) => {
      headers = request.headers;
      return undefined;
    });
    using w = await withOutput("sub/r%2F é.json", '{"a":1}');
    await putFile(server.client, w.files, { dir: w.dir }, w.row, artifactId, call);
    expect(server.put).toEqual(new Map([["sub/r%2F é.json", '{"a":1}']]));
    expect(server.requests).toEqual([`PUT ${artifactId}/files/sub/r%2F é.json`]);
    expect(headers.get("content-length")).toBe("7");
    expect(headers.get("content-sha256")).toBe(sha256('{"a":1}'));
    expect(headers.get("content-type")).toBe("application/octet-stream");
  });

  test("an empty file is sent, too", async () => {
    await using server = artifactServer([]);
    using w = await withOutput("empty", "");
    await putFile(server.client, w.files, { dir: w.dir }, w.row, artifactId, call);
    expect(server.put).toEqual(new Map([["empty", ""]]));
  });

  test("a large file that has arrived before is not sent again; another one in its place is replaced", async () => {
    const large = "x".repeat(2 * 1024 * 1024);
    using w = await withOutput("large", large);
    await using arrived = artifactServer([{ files: { large } }]);
    await putFile(arrived.client, w.files, { dir: w.dir }, w.row, artifactId, call);
    expect(arrived.requests).toEqual([`HEAD ${artifactId}/files/large`]);
    await using half = artifactServer([{ files: { large: large.slice(1) } }]);
    await putFile(half.client, w.files, { dir: w.dir }, w.row, artifactId, call);
    await using nothing = artifactServer([]);
    await putFile(nothing.client, w.files, { dir: w.dir }, w.row, artifactId, call);
    expect([half.put.get("large") === large, nothing.put.get("large") === large]).toEqual([true, true]);
  });

  test("a file that changed since it was hashed is not sent whole, and the fault says so", async () => {
    await using server = artifactServer([]);
    using w = await withOutput("a", "before");
    writeFileSync(join(w.dir, "output/a"), "longer than before");
    const fault = await faultOf(putFile(server.client, w.files, { dir: w.dir }, w.row, artifactId, call));
    expect(fault).toMatchObject({
      name: "IntegrityError",
      message: expect.stringContaining("changed while it was read"),
    });
    expect(server.put.size).toBe(0);
  });

  test.each([
    ["PUT", "BodyNotTaken"],
    ["HEAD", "ApiError"],
  ])("a large file is one that EMX2 does not take where its %s fails", async (method, name) => {
    await using server = artifactServer([], async (request) => {
      await request.arrayBuffer();
      return request.method === method ? Response.json({ title: "no" }, { status: 500 }) : undefined;
    });
    using w = await withOutput("large", "x".repeat(10_000_000));
    const put = putFile(server.client, w.files, { dir: w.dir }, w.row, artifactId, { ...call, attempts: 1 });
    expect(await faultOf(put)).toMatchObject({ name });
  });

  test("too large for EMX2: the fault says where large outputs belong", async () => {
    await using server = artifactServer([], async (request) => {
      await request.text();
      return Response.json({ title: "Too Large", status: 413, detail: "max 10" }, { status: 413 });
    });
    using w = await withOutput("a", "before");
    const fault = await faultOf(putFile(server.client, w.files, { dir: w.dir }, w.row, artifactId, call));
    expect(fault).toMatchObject({
      name: "ApiError",
      message: expect.stringContaining("posix residence"),
      answer: { status: 413 },
    });
  });
});
