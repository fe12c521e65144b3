/**
 * Inputs and outputs of a size, and of a number, that nothing can hold in memory. Here they are small, to show that the
 * tests themselves work; `npm run test:large` plays them in full, by EMX2_TEST_LARGE_BYTES and EMX2_TEST_LARGE_FILES.
 * Prints what it cost.
 */
import { expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, ftruncateSync, openSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { artifact } from "../../src/emulator/submitter.ts";
import { committed, sha256Of } from "./committed.ts";
import { generations } from "./course.ts";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const bytes = Number(process.env["EMX2_TEST_LARGE_BYTES"] || 64 * 1024 * 1024);
const files = Number(process.env["EMX2_TEST_LARGE_FILES"] || 500);
const boundMs = 30_000 + bytes / 20_000 + files * 60;
const testMs = boundMs + 60_000;
const maxPeakBytes = 150 * 1e6;
const heartbeatMs = 2_000;
const worker = { heartbeat_interval_seconds: heartbeatMs / 1_000, poll_interval_seconds: 0.5 };
/** The input as EMX2 holds it and as the job gets it, and the output as EMX2 gets it; the job's own is as sparse as the first. */
const copiesOnDisk = 3;
const copies = 'cp -R --sparse=always "$HPC_INPUT_DIR"/*/. "$HPC_OUTPUT_DIR"';

/** Mostly holes, with marks that tell its parts apart. */
async function sparseFile(path: string): Promise<{ readonly large: Blob; readonly sha256: string }> {
  const marks = 64;
  const file = openSync(path, "wx");
  ftruncateSync(file, bytes);
  for (let mark = 0; mark < marks; mark++)
    writeSync(file, randomBytes(4_096), 0, 4_096, Math.floor((bytes / marks) * mark));
  closeSync(file);
  const large = Bun.file(path);
  const hash = createHash("sha256");
  for await (const chunk of large.stream()) hash.update(chunk);
  return { large, sha256: hash.digest("hex") };
}

/** When EMX2 has heard of the worker, monotonic milliseconds. */
function heartbeatsOf(stage: Stage): () => number {
  const times: number[] = [];
  stage.around = (request, answer) => {
    if (/\/(heartbeat|register)$/.test(request.url)) times.push(systemClock.mono());
    return answer();
  };
  return () => {
    const all = [...times, systemClock.mono()];
    return Math.max(...all.slice(1).map((time, index) => time - (all[index] ?? 0)));
  };
}

/** Runs the one job of the stage to its end, tells what that took, and gives how much of files the daemon has read. */
async function play(
  stage: Stage,
  what: string,
  submit: () => string,
): Promise<{ readonly id: string; readonly readBytes: number }> {
  const longestGapMs = heartbeatsOf(stage);
  const id = submit();
  const begun = systemClock.mono();
  const daemon = stage.start("run");
  await stage.untilStatus(id, "COMPLETED", boundMs);
  const wallMs = systemClock.mono() - begun;
  const gapMs = longestGapMs();
  const readBytes = daemon.readBytes().all;
  console.log(`${what}: ${JSON.stringify({ wallS: wallMs / 1_000, gapMs, ...costs(stage, daemon, id) }, rounded)}`);
  expect(daemon.peakBytes()).toBeLessThan(maxPeakBytes);
  expect(gapMs).toBeLessThan(2 * heartbeatMs);
  expect(stage.ledger()).toEqual([id]);
  return { id, readBytes };
}

function costs(stage: Stage, daemon: Program, id: string) {
  const job = stage.job(id);
  const { createdAt, committedAt, sizeBytes } = artifact(stage.state, job.outputArtifactId ?? "");
  const megabytes = (sizeBytes ?? 0) / 1e6;
  const read = daemon.readBytes();
  return {
    inputMBs: megabytes / (((job.submittedAt ?? 0) - (job.claimedAt ?? 0)) / 1_000),
    outputMBs: megabytes / (((committedAt ?? 0) - createdAt) / 1_000),
    peakMB: daemon.peakBytes() / 1e6,
    requests: stage.requests.length,
    cpuS: daemon.cpuSeconds(),
    readMB: read.all / 1e6,
    readFromDiskMB: read.disk / 1e6,
  };
}

function rounded(_: string, value: unknown): unknown {
  return typeof value === "number" ? Math.round(value * 10) / 10 : value;
}

test(
  `a file of ${Math.round(bytes / 1024 ** 2)} MiB comes in and goes out, streamed`,
  async () => {
    await using stage = await openStage({ profiles: { copy: { program: copies } }, worker, largeOnDisk: true });
    const { bavail, bsize } = statfsSync(stage.dir);
    if (bavail * bsize < copiesOnDisk * bytes)
      throw new Error(`${stage.dir}: no room for ${copiesOnDisk * bytes} bytes`);
    stage.state.settings.maxUploadBytes = bytes;
    const file = await sparseFile(join(stage.dir, "content", "input"));
    const submit = () => stage.submit("copy", { files: [{ path: "dir/big.bin", ...file }] });
    const { id, readBytes } = await play(stage, `one file of ${bytes} bytes`, submit);
    // It came over the network, and was hashed on the compute node: for the upload alone.
    expect(Math.round(readBytes / bytes)).toBe(1);
    const output = artifact(stage.state, stage.job(id).outputArtifactId ?? "");
    expect(output).toMatchObject({ status: "COMMITTED", sha256: file.sha256, sizeBytes: bytes });
    expect([...output.files.values()].map(({ path, sha256 }) => [path, sha256])).toEqual([
      ["dir/big.bin", file.sha256],
    ]);
  },
  testMs,
);

test.each(generations)(
  `%s: ${files} files come in and go out`,
  async (generation) => {
    // One with a seal, one without: what is found is listed either way.
    const copy = { program: copies, seal_outputs: generation === "2026-05" };
    await using stage = await openStage({ generation, profiles: { copy }, worker });
    const input = Array.from({ length: files }, (_, index) => ({
      path: `${Math.floor(index / 100)}/${index}.dat`,
      content: `${index}\n`.repeat(1 + (index % 300)),
    }));
    const { id } = await play(stage, `${generation}: ${files} files`, () => stage.submit("copy", { files: input }));
    const held = [...committed(stage, stage.job(id).outputArtifactId)].map(([path, content]) => [
      path,
      sha256Of(content),
    ]);
    const expected = input.map(({ path, content }) => [path, sha256Of(content)]);
    expect(new Map(held as [string, string][])).toEqual(new Map(expected as [string, string][]));
  },
  testMs,
);
