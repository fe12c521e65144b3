import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { factsText, writeArtifact, writeReport } from "../../../src/emx2/bodies.ts";
import type { ArtifactMetadata, NewArtifact } from "../../../src/emx2/client.ts";
import {
  readArtifact,
  readGeneration,
  readHealth,
  readInputs,
  readJob,
  readListedJob,
  readPage,
} from "../../../src/emx2/wire.ts";
import type { Progress } from "../../../src/job/job.ts";

const a = "550e8400-e29b-41d4-a716-446655440000";
const b = "650e8400-e29b-41d4-a716-446655440000";
const job = { id: a, processor: "demo", status: "PENDING" };

describe("readInputs", () => {
  test.each([
    ["absent", undefined, []],
    ["null", null, []],
    ["ids", [a, b], [{ artifactId: a }, { artifactId: b }]],
    ["an id twice", [b, a, b], [{ artifactId: b }, { artifactId: a }]],
    ["artifact ids", [{ artifact_id: a }], [{ artifactId: a }]],
    ["enriched ids", [{ id: a, name: "in", type: "dataset", status: "COMMITTED" }], [{ artifactId: a }]],
    ["enriched artifact ids", [{ name: "x", artifact_id: a, id: b }], [{ artifactId: a }]],
    [
      "named, in a list",
      [{ dataset: a }, { reference: b }],
      [
        { artifactId: a, name: "dataset" },
        { artifactId: b, name: "reference" },
      ],
    ],
    [
      "named",
      { dataset: a, reference: b },
      [
        { artifactId: a, name: "dataset" },
        { artifactId: b, name: "reference" },
      ],
    ],
    ["a JSON text", JSON.stringify([a]), [{ artifactId: a }]],
    ["an empty text", "", []],
    ["a number for an id", [17], [{ artifactId: "17" }]],
  ])("%s", (_name, inputs, refs) => {
    expect(readInputs(inputs)).toEqual(refs);
  });

  test.each([["../../etc"], ["a/b"], [""], [[["x"]]], [{ x: { y: a } }], ["."]])("refuses %j as an id", (bad) => {
    expect(() => readInputs([bad])).toThrow();
  });
});

describe("readJob", () => {
  test.each([["../../etc"], ["a/b"], [""], ["."], ["a\n"], ["-rf"], ["x".repeat(101)], ["backup"], ["8bc71422"], [17]])(
    "refuses %j as an id: other programs may have named a job of Slurm's so",
    (bad) => {
      expect(() => readJob(JSON.stringify({ ...job, id: bad }))).toThrow();
    },
  );

  test("needs an id, a processor and a known status, and takes the rest as absent", () => {
    expect(readJob(JSON.stringify(job))).toEqual({
      id: a,
      processor: "demo",
      profile: null,
      status: "PENDING",
      workerId: null,
      submitUser: null,
      inputs: [],
      timeoutSeconds: null,
      parametersText: "{}",
    });
    for (const missing of ["id", "processor", "status"]) {
      expect(() => readJob(JSON.stringify({ ...job, [missing]: undefined }))).toThrow();
    }
  });

  test("takes numbers as text and text as numbers", () => {
    const read = readJob(JSON.stringify({ ...job, submit_user: 77, timeout_seconds: "600", extra: { deep: [1] } }));
    expect(read).toMatchObject({ submitUser: "77", timeoutSeconds: 600 });
  });

  test.each([
    ['{"10": 1.0 , "2":12345678901234567890}', '{"10": 1.0 , "2":12345678901234567890}'],
    [JSON.stringify(' {"x":1.0}'), ' {"x":1.0}'],
    ["null", "{}"],
    ['""', "{}"],
  ])("keeps parameters %s as they are", (parameters, text) => {
    expect(readJob(`{"id":"${a}","processor":"p","status":"PENDING","parameters":${parameters}}`).parametersText).toBe(
      text,
    );
  });

  test.each([
    ...["[1]", "7", '"[1]"', '"no JSON"'].map((parameters) => `"parameters":${parameters}`),
    ...['"xx yy"', "[null]", '[{"dataset":{"x":1}}]'].map((inputs) => `"inputs":${inputs}`),
  ])("knows a job with %s all the same, and why it can not be run", (member) => {
    const job = readJob(`{"id":"${a}","processor":"p","status":"PENDING",${member}}`);
    expect(job).toMatchObject({ id: a, inputs: [], parametersText: "{}" });
    expect(job.unreadable).toMatch(/inputs|parameters/);
  });

  test("quotes nothing of what it can not read", () => {
    const parameters = JSON.stringify('{"pw": hunter2secret}');
    const job = readJob(`{"id":"${a}","processor":"p","status":"PENDING","parameters":${parameters}}`);
    expect(job.unreadable).toBe("the job's parameters are not a JSON object");
  });

  test("does not mind a timeout that is none", () => {
    expect(readJob(`{"id":"${a}","processor":"p","status":"PENDING","timeout_seconds":-5}`).timeoutSeconds).toBeNull();
  });

  test("any parameters come back byte for byte", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (parameters) => {
        const text = JSON.stringify(parameters, null, 1);
        expect(readJob(`{"parameters" : ${text}, ${JSON.stringify(job).slice(1)}`).parametersText).toBe(text);
      }),
    );
  });
});

test("a page keeps each item's text", () => {
  expect(readPage('{"items": [ {"n":1.0}, 7 ], "total_count": "2", "count": 2}')).toEqual({
    items: ['{"n":1.0}', "7"],
    total: 2,
  });
  expect(readPage('{"items":[]}').total).toBeNull();
  expect(() => readPage('{"jobs":[]}')).toThrow();
});

test("an artifact's size may be text, its hash in capitals, its status a word of tomorrow", () => {
  const text = JSON.stringify({ id: a, status: "SEALED", size_bytes: "4096", sha256: "ABCD" });
  expect(readArtifact(text)).toMatchObject({ status: "SEALED", bytes: 4096, sha256: "abcd", residence: null });
});

test("health tells the generations apart", () => {
  const health = { status: "ok", api_version: "2025-01" };
  const shared = JSON.stringify({ ...health, hpc_enabled: false });
  expect(readHealth(shared)).toMatchObject({ workerCredentials: false, generation: "2026-02" });
  const perWorker = JSON.stringify({ ...health, worker_auth_mode: "per-worker-hmac" });
  expect(readHealth(perWorker)).toMatchObject({ workerCredentials: true, generation: "2026-05" });
});

test("the health of something else tells no generation", () => {
  expect(readHealth('{"status":"UP"}').generation).toBeNull();
  expect(() => readGeneration('{"status":"UP"}')).toThrow("it has no api_version");
});

describe("readListedJob", () => {
  const createdAt = (text: unknown) => readListedJob(JSON.stringify({ ...job, created_at: text })).createdAt;

  test("brings both shapes of a date-time into one that sorts", () => {
    const inOrder = [
      ["2026-11-22 15:10", "2026-11-22T15:10:00.000000000"],
      ["2026-11-22 15:10:37", "2026-11-22T15:10:37.000000000"],
      ["2026-11-22 15:10:37.67", "2026-11-22T15:10:37.670000000"],
      ["2026-11-22T15:10:37.671583129", "2026-11-22T15:10:37.671583129"],
      ["2026-11-22 15:10:37.68", "2026-11-22T15:10:37.680000000"],
    ];
    expect(inOrder.map(([text]) => createdAt(text))).toEqual(inOrder.map(([, sortable]) => sortable ?? ""));
    expect(inOrder.map(([text]) => createdAt(text)).toSorted()).toEqual(inOrder.map(([text]) => createdAt(text)));
  });

  test.each([[null], [undefined], [""], ["yesterday"], [1_763_824_237], ["2026-11-22 15:10:37.67\n"], [{}]])(
    "does not mind %j",
    (text) => {
      expect(createdAt(text)).toBeNull();
    },
  );

  test("has no parameters", () => {
    expect(readListedJob(JSON.stringify({ ...job, parameters: { x: 1 } }))).not.toHaveProperty("parametersText");
  });
});

describe("writeArtifact", () => {
  const metadata: ArtifactMetadata = {
    ...{ jobId: a, processor: "p", profile: "q", role: "output", createdBy: null },
    ...{ inputArtifactIds: [b], parametersHash: "00" },
  };
  const artifact: NewArtifact = { type: "blob", residence: "posix", name: "output-1", metadata };

  test("says where a posix artifact lies, and by which run it was made", () => {
    const run = {
      slurmJobId: "77",
      node: "gpu-01",
      elapsedSeconds: 2712,
      imageSha256: "ab",
      used: { maxRssBytes: 9, gpus: 2 },
    };
    const contentUrl = "file:///nfs/results/j1/output";
    const written = JSON.parse(writeArtifact("w1", { ...artifact, contentUrl, metadata: { ...metadata, ...run } }));
    expect(written).toMatchObject({ residence: "posix", content_url: contentUrl });
    expect(written.metadata).toMatchObject({
      ...{ slurm_job_id: "77", node: "gpu-01", elapsed_seconds: 2712, image_sha256: "ab", max_rss_bytes: 9, gpus: 2 },
    });
    expect(written.metadata).not.toHaveProperty("energy_joules");
  });

  test("leaves out what is not known", () => {
    const written = JSON.parse(writeArtifact("w1", artifact));
    expect(written).not.toHaveProperty("content_url");
    for (const key of ["slurm_job_id", "node", "elapsed_seconds"]) expect(written.metadata).not.toHaveProperty(key);
  });

  test("cuts no place short", () => {
    const contentUrl = `file:///${"x".repeat(1_020)}`;
    expect(() => writeArtifact("w1", { ...artifact, contentUrl })).toThrow("takes at most 1024");
  });
});

test("the same file of a posix artifact has the same text, byte for byte", () => {
  const file = { path: "x.txt", bytes: 4096, sha256: "ABCD" };
  expect(factsText(file)).toBe('{"sha256":"abcd","size_bytes":4096,"content_type":"text/plain"}');
});

test("a report says only what there is to say, within the server's limit", () => {
  expect(JSON.parse(writeReport("w1", { status: "STARTED" }))).toEqual({ status: "STARTED", worker_id: "w1" });
  const { detail } = JSON.parse(writeReport("w1", { status: "FAILED", detail: `${"x".repeat(65_535)}😀` }));
  expect(detail).toBe("x".repeat(65_535));
});

describe("a report's progress", () => {
  const written = (progress: Progress) => JSON.parse(writeReport("w1", { status: "STARTED", progress }));

  test("keeps within EMX2's bounds, and cuts no character in two", () => {
    const progress = { phase: `${"p".repeat(99)}😀`, message: `${"m".repeat(498)}😀x`, fraction: 0.25 };
    expect(written(progress)).toEqual({
      ...{ status: "STARTED", worker_id: "w1" },
      ...{ phase: "p".repeat(99), message: `${"m".repeat(498)}😀`, progress: 0.25 },
    });
    expect(written({ message: "a\0b\ud800" }).message).toBe("a\ufffdb\ufffd");
  });

  test.each([
    [-1, 0],
    [1.5, 1],
    [Number.POSITIVE_INFINITY, 1],
    [0, 0],
  ])("of %d is sent as %d", (fraction, sent) => {
    expect(written({ fraction }).progress).toBe(sent);
  });

  test("that is no number is left out", () => {
    expect(written({ fraction: Number.NaN, phase: "x" })).toEqual({ status: "STARTED", worker_id: "w1", phase: "x" });
  });

  test("is whole characters whatever the workload wrote", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 700 }), (message) => {
        const sent: string = written({ message }).message;
        expect(sent.length).toBeLessThanOrEqual(500);
        expect(sent.isWellFormed()).toBe(true);
        expect(sent).not.toContain("\0");
      }),
    );
  });
});

test("Slurm's id of a job, where it has one: what is none makes no stranger of the job", () => {
  expect(readJob(JSON.stringify({ ...job, slurm_job_id: 42 })).slurmJobId).toBe("42");
  for (const slurm_job_id of [null, undefined, { id: 1 }])
    expect(readJob(JSON.stringify({ ...job, slurm_job_id }))).not.toHaveProperty("slurmJobId");
});
