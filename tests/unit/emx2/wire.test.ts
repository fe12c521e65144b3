import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { readArtifact, readHealth, readInputs, readJob, readPage, writeReport } from "../../../src/emx2/wire.ts";

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
  test.each([["../../etc"], ["a/b"], [""], ["."], ["a\n"], ["-rf"], ["x".repeat(101)]])(
    "refuses %j as an id",
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
  expect(readHealth('{"status":"ok","api_version":"2025-01","hpc_enabled":false}').workerCredentials).toBe(false);
  expect(readHealth('{"status":"ok","worker_auth_mode":"per-worker-hmac"}').workerCredentials).toBe(true);
});

test("a report says only what there is to say, within the server's limit", () => {
  expect(JSON.parse(writeReport("w1", { status: "STARTED" }))).toEqual({ status: "STARTED", worker_id: "w1" });
  const { detail } = JSON.parse(writeReport("w1", { status: "FAILED", detail: `${"x".repeat(65_535)}😀` }));
  expect(detail).toBe(`${"x".repeat(65_535)}\ufffd`);
});
