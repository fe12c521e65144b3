/**
 * A process of its own for limits.test.ts, which gives it limits: `limits-child.ts ACT DIR [BYTES]`. Prints one JSON
 * object: what came of it, and how far the resident set grew.
 */
import { createHash } from "node:crypto";
import { createJobDirectory } from "../../../src/artifacts/job-directory.ts";
import { ResultRows } from "../../../src/artifacts/result-rows.ts";
import { systemClock } from "../../../src/clock.ts";
import { StorageError } from "../../../src/errors.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import { artifactId, ownerOf, recordingLog, state } from "./work-directory.ts";

const [act, dir = "", size = "0"] = process.argv.slice(2);
const bytes = Number(size);
const chunkBytes = 64 * 1024;
const lookEveryMs = 5;
const files = createJobDirectory({ clock: systemClock, state, log: recordingLog([]) });

const acts: Record<string, () => Promise<object>> = { stage, roundTrip, list, rows, remove, receipts };
try {
  const came = await acts[act ?? ""]?.();
  console.log(JSON.stringify({ ...came }));
} catch (error) {
  if (!(error instanceof StorageError)) throw error;
  const { code, message, permanent } = error;
  console.log(JSON.stringify({ code, message, permanent }));
}

async function stage(): Promise<object> {
  await files.create(dir, ownerOf());
  return files.writeInput(dir, row(), made());
}

/** Input, listing and upload of one large file. */
async function roundTrip(): Promise<object> {
  await files.create(dir, ownerOf());
  const before = process.memoryUsage.rss();
  let peak = before;
  let longestGapMs = 0;
  let last = systemClock.mono();
  const look = () => {
    const now = systemClock.mono();
    longestGapMs = Math.max(longestGapMs, now - last);
    last = now;
    peak = Math.max(peak, process.memoryUsage.rss());
    callOff = systemClock.timer(lookEveryMs, look);
  };
  let callOff = systemClock.timer(lookEveryMs, look);
  const { sha256 } = await files.writeInput(dir, row(), made());
  const found = await files.hasInput(dir, { ...row(), sha256 });
  await Bun.$`mv ${dir}/input/${artifactId}/big ${dir}/output/big`.quiet();
  const [listed] = [...(await files.list({ dir: dir, outputDir: "output" }, "output")).rows];
  if (!listed) throw new Error("the output is not listed");
  const hash = createHash("sha256");
  const reader = files.read({ dir: dir }, listed).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) hash.update(next.value);
  callOff();
  const hashes = [listed.sha256 === sha256, hash.digest("hex") === sha256];
  return { found, hashes, grownBytes: peak - before, longestGapMs };
}

async function list(): Promise<object> {
  return {
    paths: [...(await files.list({ dir: dir, outputDir: "output" }, "output")).rows].map((listed) => listed.path),
  };
}

/** More than is kept in memory. */
async function rows(): Promise<object> {
  using found = new ResultRows("output");
  for (let file = 0; file < 30_000; file++) {
    const path = `${"d".repeat(100)}/${file}`;
    found.add({ directory: "output", path, bytes: 1, mtimeMs: 1, sha256: "0".repeat(64) });
  }
  return { total: found.named().total };
}

async function remove(): Promise<object> {
  await files.remove(dir);
  return { removed: true };
}

function receipts(): Promise<object> {
  return files.receipts({ jobId: "j1", attempt: "a1", name: "emx2-j1", dir, notBefore: 0 });
}

function row(): FileRow {
  return { role: "input", index: 0, directory: `input/${artifactId}`, artifactId, path: "big", bytes };
}

function made(): ReadableStream<Uint8Array> {
  let left = bytes;
  return new ReadableStream(
    {
      pull(controller) {
        const chunk = new Uint8Array(Math.min(chunkBytes, left)).fill(left / chunkBytes);
        left -= chunk.length;
        controller.enqueue(chunk);
        if (left === 0) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}
