/** Directories that are gone: acts that need them end, and those that only look find nothing. */
import { expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createJobDirectory } from "../../../src/artifacts/job-directory.ts";
import type { JobFiles } from "../../../src/artifacts/job-files.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import { manualClock } from "../journal/records.ts";
import {
  contentOf,
  faultOf,
  inputRow,
  ownerOf,
  recordingLog,
  state,
  streamOf,
  type WorkDirectory,
  workDirectory,
} from "./work-directory.ts";

const minute = 60_000;
const outputRow: FileRow = { role: "output", index: 0, directory: "output", path: "a", bytes: 1, mtimeMs: 1 };

/** What needs the job directory, each by its name. */
const acts: Readonly<Record<string, (files: JobFiles, dir: string) => Promise<unknown>>> = {
  "listing outputs": (files, dir) => files.list({ dir: dir, outputDir: "output" }, "output"),
  "reading an output": (files, dir) => contentOf(files.read({ dir: dir }, outputRow)),
  "writing control files": (files, dir) => files.writeControl(dir, [{ name: "job.sh", content: "x" }]),
  "writing an input": (files, dir) => files.writeInput(dir, inputRow("a", "x"), streamOf("x")),
  "looking for an input": (files, dir) => files.hasInput(dir, inputRow("a", "x")),
};

async function world(): Promise<WorkDirectory & { readonly clock: ReturnType<typeof manualClock> }> {
  const work = workDirectory();
  const clock = manualClock();
  const files = createJobDirectory({ clock, state, log: recordingLog(work.warnings) });
  await files.create(work.dir, ownerOf());
  return { ...work, files, clock };
}

test.each(Object.entries(acts))("%s ends for good once the job directory was removed", async (_name, act) => {
  using w = await world();
  rmSync(w.dir, { recursive: true });
  expect(await faultOf(act(w.files, w.dir))).toMatchObject({
    name: "StorageError",
    permanent: true,
    message: `${w.dir} was removed`,
  });
});

test.each(Object.entries(acts))("%s waits where all of tmp_dir is out of reach", async (_name, act) => {
  using w = await world();
  const away = `${w.root}.away`;
  renameSync(w.root, away);
  try {
    for (let look = 0; look < 3; look += 1) {
      expect(await faultOf(act(w.files, w.dir))).toMatchObject({ name: "StorageError", permanent: false });
      w.clock.advance(60 * minute);
    }
  } finally {
    renameSync(away, w.root);
  }
});

test.each([
  ["listing outputs", "output"],
  ["writing control files", ".emx2"],
  ["writing an input", ".emx2"],
])("%s waits three minutes for a part of the directory to show, and no longer", async (name, part) => {
  using w = await world();
  const act = acts[name] ?? expect.unreachable();
  rmSync(join(w.dir, part), { recursive: true });
  for (const pauseMs of [2 * minute, minute - 1, 1]) {
    expect(await faultOf(act(w.files, w.dir))).toMatchObject({ code: "ENOENT", permanent: false });
    w.clock.advance(pauseMs);
  }
  expect(await faultOf(act(w.files, w.dir))).toMatchObject({
    permanent: true,
    message: `${join(w.dir, part)} was removed`,
  });
});

test("a part that showed in between starts anew", async () => {
  using w = await world();
  const output = join(w.dir, "output");
  rmSync(output, { recursive: true });
  await faultOf(w.files.list({ dir: w.dir, outputDir: "output" }, "output"));
  w.clock.advance(2 * minute);
  mkdirSync(output);
  expect([...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows]).toEqual([]);
  rmSync(output, { recursive: true });
  w.clock.advance(2 * minute);
  expect(await faultOf(w.files.list({ dir: w.dir, outputDir: "output" }, "output"))).toMatchObject({
    permanent: false,
  });
});

test("logs and stderr: what is left is taken, and nothing where nothing is", async () => {
  using w = await world();
  writeFileSync(join(w.dir, "output/run.log"), "said");
  rmSync(join(w.dir, ".emx2"), { recursive: true });
  expect([...(await w.files.list({ dir: w.dir, outputDir: "output" }, "log")).rows].map(({ path }) => path)).toEqual([
    "run.log",
  ]);
  expect(await w.files.stderrTail(w.dir, "7", 5)).toEqual([]);
  rmSync(w.dir, { recursive: true });
  expect([...(await w.files.list({ dir: w.dir, outputDir: "output" }, "log")).rows]).toEqual([]);
  expect(await w.files.stderrTail(w.dir, "7", 5)).toEqual([]);
  rmSync(w.root, { recursive: true });
  expect(await faultOf(w.files.list({ dir: w.dir, outputDir: "output" }, "log"))).toMatchObject({ permanent: false });
});

test("a source that is missing is looked for again for three minutes, then refused by name", async () => {
  using w = await world();
  const roots = { directories: [w.root] };
  const place = join(w.root, "late");
  for (const pauseMs of [120_000, 59_999, 1]) {
    expect(await faultOf(w.files.findSource(place, roots))).toMatchObject({ name: "StorageError", permanent: false });
    w.clock.advance(pauseMs);
  }
  expect(await w.files.findSource(place, roots)).toMatchObject({ is: "refused", why: `"${place}" does not exist` });
  expect(await w.files.findSource("/etc/no-such-file", roots)).toMatchObject({ is: "refused" });
});
