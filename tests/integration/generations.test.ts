/** What hangs on the generation of EMX2, through the executable: inputs in every form, large files, an upgrade beneath us. */
import { expect, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { addArtifact, addJob, artifact, upgrade } from "../../src/emulator/submitter.ts";
import { committed, sha256Of } from "./committed.ts";
import { generations } from "./course.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";

const testMs = 60_000;
const listing = 'cd "$HPC_INPUT_DIR"; for id in *; do echo "$id $(cat "$id/a.txt")"; done >"$HPC_OUTPUT_DIR/seen.txt"';
const untilToldTo = 'while [ ! -e "$HPC_WORK_DIR/go-on" ]; do sleep 0.1; done';

/** Each stands for the artifacts `a` and `b`, or for `a` alone. Source: the protocol's list of forms. */
const forms: readonly (readonly [string, (a: string, b: string) => unknown, number])[] = [
  ["a list of ids", (a, b) => [a, b], 2],
  ["a list of objects with artifact_id", (a, b) => [{ artifact_id: a }, { artifact_id: b, name: "b" }], 2],
  ["a list of objects with a name of their own", (a, b) => [{ dataset: a }, { reference: b }], 2],
  ["an object of names", (a, b) => ({ dataset: a, reference: b }), 2],
  ["a JSON text of a list", (a, b) => JSON.stringify([a, b]), 2],
  ["a JSON text of an object", (a, b) => JSON.stringify({ x: a, y: b }), 2],
  ["the same artifact twice", (a) => [a, { artifact_id: a }], 1],
];

function seen(stage: Stage, id: string): string[] {
  const text = committed(stage, stage.job(id).outputArtifactId).get("seen.txt");
  return new TextDecoder().decode(text).trim().split("\n").sort();
}

test.each(generations)(
  "EMX2 %s: inputs arrive in every form, below the id of their artifact",
  async (generation) => {
    await using stage = await openStage({ generation, profiles: { list: { program: listing } } });
    const { state } = stage;
    const [a, b] = ["one", "two"].map((content) => addArtifact(state, { files: [{ path: "a.txt", content }] }));
    if (a === undefined || b === undefined) throw new Error("there are no inputs");
    const jobs = forms.map(([name, form, count]) => {
      const job = { processor: "list", profile: "default", parametersText: "{}", inputs: form(a, b) };
      return { name, count, id: addJob(state, job) };
    });
    stage.start("run");
    for (const { name, count, id } of jobs) {
      await stage.untilStatus(id, "COMPLETED");
      expect({ name, seen: seen(stage, id) }).toEqual({ name, seen: [`${a} one`, `${b} two`].slice(0, count).sort() });
    }
  },
  testMs,
);

test.each(generations)(
  "EMX2 %s: 12 MB come and go, in directories, and a job without inputs or outputs needs neither",
  async (generation) => {
    const copy = 'mkdir -p "$HPC_OUTPUT_DIR/a b/c"; cp "$HPC_INPUT_DIR"/*/in/big.bin "$HPC_OUTPUT_DIR/a b/c/big.bin"';
    await using stage = await openStage({
      generation,
      profiles: { copy: { program: copy }, none: { program: "true" } },
    });
    const content = randomFillSync(new Uint8Array(12_000_000));
    const big = stage.submit("copy", { files: [{ path: "in/big.bin", content }] });
    const none = stage.submit("none");
    stage.start("run");
    await stage.untilStatus(big, "COMPLETED");
    await stage.untilStatus(none, "COMPLETED");
    const output = committed(stage, stage.job(big).outputArtifactId);
    expect([...output.keys()]).toEqual(["a b/c/big.bin"]);
    expect(sha256Of(output.get("a b/c/big.bin") ?? "")).toBe(sha256Of(content));
    expect(stage.job(none).outputArtifactId).toBeNull();
  },
  testMs,
);

test.each(generations)(
  "EMX2 %s: JSON keeps its content, and nothing is called what EMX2 or a browser would take for more than a file",
  async (generation) => {
    const program = `cd "$HPC_OUTPUT_DIR"
      printf '{"sha256":"00","size_bytes":1}' >a.json; echo '{}' >a.ndjson; echo '{}' >a.geojson; echo 1,2 >a.CSV
      echo '<script>' >a.html; echo '<svg/>' >a.svg; echo run >own.log
      head -c 11000000 /dev/zero >big.txt; head -c 11000000 /dev/zero >big.json`;
    await using stage = await openStage({ generation, profiles: { makes: { program } } });
    const sent = new Map<string, string | null>();
    stage.around = async (request, answer) => {
      const [, name] = /^PUT .*\/files\/([^/]+)$/.exec(`${request.method} ${request.url}`) ?? [];
      if (name !== undefined) sent.set(name, request.headers.get("content-type"));
      return answer();
    };
    const id = stage.submit("makes");
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    const { outputArtifactId, logArtifactId } = stage.job(id);
    const outputs = committed(stage, outputArtifactId);
    const jsonText = new TextDecoder().decode(outputs.get("a.json"));
    expect([outputs.size, jsonText, outputs.get("big.json")?.length]).toEqual([
      8,
      '{"sha256":"00","size_bytes":1}',
      11e6,
    ]);
    const noKind = "application/octet-stream";
    const small = { "a.json": noKind, "a.ndjson": noKind, "a.geojson": noKind, "a.CSV": "text/csv" };
    const active = { "a.html": noKind, "a.svg": noKind };
    expect(Object.fromEntries(sent)).toMatchObject({ ...small, ...active, "own.log": "text/plain" });
    // 2026-02 takes the larger ones as parts of a form, and keeps the type that it was told.
    if (generation === "2026-05")
      return expect(Object.fromEntries(sent)).toMatchObject({ "big.txt": "text/plain", "big.json": noKind });
    const kept = [outputArtifactId, logArtifactId].flatMap((artifactId) => [
      ...artifact(stage.state, artifactId ?? "").files.values(),
    ]);
    const typeOf = Object.fromEntries(kept.map(({ path, contentType }) => [path, contentType]));
    expect(typeOf).toMatchObject({ ...small, ...active, "own.log": "text/plain" });
  },
  testMs,
);

test(
  "an EMX2 that is upgraded beneath a running daemon is learnt anew: what runs comes to its end, what is new begins",
  async () => {
    const program = `${untilToldTo}; mkdir "$HPC_OUTPUT_DIR/d"; echo done >"$HPC_OUTPUT_DIR/d/done.txt"`;
    await using stage = await openStage({ generation: "2026-02", profiles: { waits: { program } } });
    const before = stage.submit("waits");
    stage.start("run");
    await stage.untilStatus(before, "STARTED");
    upgrade(stage.state);
    const after = stage.submit("waits");
    await stage.untilStatus(after, "STARTED");
    for (const id of [before, after]) writeFileSync(join(stage.jobsDir, id, "work/go-on"), "");
    for (const id of [before, after]) {
      await stage.untilStatus(id, "COMPLETED");
      expect(statusesOf(stage.job(id))).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
      expect([...committed(stage, stage.job(id).outputArtifactId).keys()]).toEqual(["d/done.txt"]);
    }
    expect(stage.ledger().sort()).toEqual([before, after].sort());
    expect(stage.requests.some((request) => request.endsWith(`/jobs/${before}/complete`))).toBe(true);
  },
  testMs,
);
