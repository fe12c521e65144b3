/** What every implementation of JobFiles must do: the real directory, and the simulation's in memory. */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { contentHash } from "../../../src/artifacts/manifest.ts";
import { IntegrityError, StorageError } from "../../../src/errors.ts";
import type { RunRef } from "../../../src/job/run.ts";
import { createMemoryFiles, type MemoryFiles } from "../../simulation/memory-files.ts";
import {
  contentOf,
  faultOf,
  inputRow,
  jobId,
  ownerOf,
  sha256,
  state,
  streamOf,
  workDirectory,
} from "./work-directory.ts";

interface World extends Disposable {
  readonly dir: string;
  /** JobFiles, and the hand of the batch script. */
  readonly files: MemoryFiles;
}

function memoryWorld(): World {
  return { dir: `/scratch/${jobId}`, files: createMemoryFiles({ state }), [Symbol.dispose]: () => {} };
}

function realWorld(): World {
  const work = workDirectory();
  const files: MemoryFiles = {
    ...work.files,
    put(dir, path, content) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), content);
    },
    symlink: (dir, path, target) => symlinkSync(target, join(dir, path)),
    contentOf: (dir, path) => (existsSync(join(dir, path)) ? readFileSync(join(dir, path)) : undefined),
    linkAt: (dir, path) => readlinkSync(join(dir, path)),
    has: (dir) => existsSync(dir),
  };
  return { dir: work.dir, files, [Symbol.dispose]: () => work[Symbol.dispose]() };
}

const foreignState = "22222222-2222-4222-8222-222222222222";

describe.each([
  ["the real directory", realWorld],
  ["the simulation's directory", memoryWorld],
] as const)("%s", (_name, world) => {
  test("is taken once, again by the same state, and by no other", async () => {
    using w = world();
    expect(await w.files.create(w.dir, ownerOf())).toEqual({ is: "ours" });
    expect(await w.files.create(w.dir, ownerOf())).toEqual({ is: "ours" });
    expect(await w.files.create(w.dir, ownerOf(foreignState))).toEqual({
      is: "foreign",
      owner: `state ${state} (/var/state on head, uid ${ownerOf().uid})`,
    });
  });

  test("says of itself how far its job had come, and is another state's once that has taken it over", async () => {
    using w = world();
    const { uid } = ownerOf();
    expect(await w.files.find(w.dir, uid)).toEqual({ is: "nothing" });
    await w.files.create(w.dir, ownerOf());
    const made = { is: "directory", ownership: { is: "state", owner: ownerOf() }, scripted: false, unreceipted: false };
    expect(await w.files.find(w.dir, uid)).toMatchObject(made);
    w.files.put(w.dir, ".emx2/parameters.json", "{}");
    w.files.put(w.dir, ".emx2/output-base", "/nfs/out\n");
    w.files.symlink(w.dir, ".emx2/lease.a1", "42");
    const run = { scripted: true, lease: { attempt: "a1", schedulerId: "42" }, outputBase: "/nfs/out" };
    expect(await w.files.find(w.dir, uid)).toMatchObject({ ...made, ...run });
    const owner = ownerOf(foreignState);
    expect(await w.files.takeOver(w.dir, owner, "directory")).toEqual({ is: "ours" });
    expect(await w.files.find(w.dir, uid)).toMatchObject({ ownership: { owner } });
    expect((await w.files.create(w.dir, ownerOf())).is).toBe("foreign");
  });

  test("control files can be replaced", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    await w.files.writeControl(w.dir, [{ name: "job.sh", content: "old", executable: true }]);
    await w.files.writeControl(w.dir, [
      { name: "job.sh", content: "#!/bin/sh\n", executable: true },
      { name: "parameters.json", content: Uint8Array.of(0x7b, 0x7d) },
    ]);
    expect(text(w.files.contentOf(w.dir, ".emx2/job.sh"))).toBe("#!/bin/sh\n");
    expect(text(w.files.contentOf(w.dir, ".emx2/parameters.json"))).toBe("{}");
  });

  test("an input gets to its place, and is found there", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    const row = inputRow("deep/er/a\\b\n.txt", "hello world", 7);
    expect(await w.files.hasInput(w.dir, row)).toBe(false);
    expect(await w.files.writeInput(w.dir, row, streamOf("hello", " ", "world"))).toEqual({
      bytes: 11,
      sha256: sha256("hello world"),
    });
    expect(await w.files.hasInput(w.dir, row)).toBe(true);
    expect(await w.files.hasInput(w.dir, inputRow(row.path, "hello World"))).toBe(false);
    expect(text(w.files.contentOf(w.dir, `${row.directory}/${row.path}`))).toBe("hello world");
  });

  test.each([
    ["too short", "hell", "bytes", "5", "4"],
    ["too long", "hello!", "bytes", "5", "6"],
    ["another", "jello", "sha256", sha256("hello"), sha256("jello")],
  ])("an input that is %s leaves nothing behind", async (_what, sent, what, expected, actual) => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    const row = inputRow("a", "hello");
    const fault = await faultOf(w.files.writeInput(w.dir, row, streamOf(sent)));
    expect(fault).toBeInstanceOf(IntegrityError);
    expect(fault).toMatchObject({ mismatch: { what, expected, actual } });
    expect(await w.files.hasInput(w.dir, row)).toBe(false);
    expect(w.files.contentOf(w.dir, `${row.directory}/a`)).toBeUndefined();
  });

  test("an input without end ends at its size, and is let go", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    let gone = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(Buffer.from("hello")),
      cancel() {
        gone = true;
      },
    });
    expect(await faultOf(w.files.writeInput(w.dir, inputRow("a", "hello"), endless))).toMatchObject({
      mismatch: { what: "bytes", expected: "5", actual: "10" },
    });
    expect(gone).toBe(true);
  });

  test("an input that breaks off leaves nothing behind, and the fault is the stream's own", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    const broken = new Error("reset by peer");
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(Buffer.from("hel")),
      pull: (controller) => controller.error(broken),
    });
    expect(await faultOf(w.files.writeInput(w.dir, inputRow("a", "hello"), body))).toBe(broken);
    expect(await w.files.hasInput(w.dir, inputRow("a", "hello"))).toBe(false);
  });

  test("outputs and logs are told apart, hashed and read", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    for (const path of ["output/b.txt", "output/sub/a.txt", "output/run.log", "output/slurm-7.out"]) {
      w.files.put(w.dir, path, path);
    }
    w.files.put(w.dir, "output/.hpc_progress.jsonl", "{}");
    w.files.put(w.dir, "output/empty", "");
    w.files.put(w.dir, "work/scratch.txt", "not an output");
    for (const name of ["slurm-7.out", "slurm-7.err", "exit.a1.0"]) w.files.put(w.dir, `.emx2/${name}`, "");

    const outputs = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    expect(outputs.map((row) => [row.index, row.path, row.bytes, row.sha256])).toEqual([
      [0, "b.txt", 12, sha256("output/b.txt")],
      [1, "empty", 0, sha256("")],
      [2, "sub/a.txt", 16, sha256("output/sub/a.txt")],
    ]);
    expect(contentHash(outputs)).toHaveLength(64);
    const read = await Promise.all(outputs.map((row) => contentOf(w.files.read({ dir: w.dir }, row))));
    expect(read).toEqual(["output/b.txt", "", "output/sub/a.txt"]);

    const logs = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "log")).rows];
    expect(logs.map((row) => [row.path, row.directory])).toEqual([
      ["output/slurm-7.out", "output"],
      ["run.log", "output"],
      ["slurm-7.err", ".emx2"],
      ["slurm-7.out", ".emx2"],
    ]);
    const [moved] = logs;
    expect(moved && (await contentOf(w.files.read({ dir: w.dir }, moved)))).toBe("output/slurm-7.out");
  });

  test("a file that changed since it was hashed is not given out whole", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    w.files.put(w.dir, "output/a", "before");
    const [row] = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    w.files.put(w.dir, "output/a", "longer than before");
    expect(await faultOf(contentOf(w.files.read({ dir: w.dir }, row ?? expect.unreachable())))).toBeInstanceOf(
      IntegrityError,
    );
  });

  test("of what was sealed nothing is taken that is not as it was, and what is missing is named", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    for (const path of ["output/as-it-was", "output/changed", "output/own.log"]) w.files.put(w.dir, path, "a");
    const rows = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    const listed = rows.map(({ bytes, mtimeMs = 0, path }) => `${bytes} ${(mtimeMs / 1_000).toFixed(3)} ${path}\0`);
    const hashed = rows.map(({ path, sha256: hash }) => `${hash} *./${path}\0`);
    const manifest = [...listed, ...hashed].join("");
    w.files.put(w.dir, ".emx2/manifest.a1.0", manifest);
    const place = { dir: w.dir, outputDir: "output", manifestSha256: sha256(manifest) };
    const again = await w.files.list(place, "output");
    expect({ ...again, rows: [...again.rows] }).toEqual({ rows, leftOut: { count: 0, names: [] } });
    w.files.put(w.dir, "output/later", "a");
    const later = await w.files.list(place, "output");
    expect([...later.rows]).toEqual(rows);
    expect(later.leftOut).toEqual({ count: 1, names: [`"later" (not sealed at the job's end)`] });
    expect((await w.files.list(place, "log")).unseen).toBeUndefined();
    // The one that its receipt speaks of may come into sight later.
    const other = await w.files.list({ ...place, manifestSha256: sha256("") }, "output");
    expect(other.unseen?.count).toBe(1);
    w.files.put(w.dir, "output/changed", "another");
    expect(await faultOf(w.files.list(place, "output"))).toMatchObject({
      ...{ name: "StorageError", permanent: true },
      message: expect.stringContaining(`output "changed" can not be uploaded: it was changed after the job's end`),
    });
  });

  test("a seal that names no output is not believed where outputs are there", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    for (const path of ["output/result", "output/sub/result"]) w.files.put(w.dir, path, "a");
    w.files.put(w.dir, ".emx2/manifest.a1.0", "");
    const place = { dir: w.dir, outputDir: "output" };
    const { rows, leftOut } = await w.files.list({ ...place, manifestSha256: sha256("") }, "output");
    expect([...rows]).toEqual([...(await w.files.list(place, "output")).rows]);
    expect([rows.total, leftOut.count]).toEqual([2, 0]);
  });

  test("a missing output directory is no empty one for outputs; the run's own logs are listed all the same", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    w.files.put(w.dir, ".emx2/slurm-7.err", "no space");
    expect(await faultOf(w.files.list({ dir: w.dir, outputDir: "output.a1.1" }, "output"))).toMatchObject({
      name: "StorageError",
      code: "ENOENT",
      permanent: false,
    });
    expect([...(await w.files.list({ dir: w.dir, outputDir: "output.a1.1" }, "log")).rows]).toHaveLength(1);
  });

  test("receipts: no directory, nothing yet, a lease and its newest run", async () => {
    using w = world();
    const run: RunRef = { jobId, attempt: "a1", name: `emx2-${jobId}`, dir: w.dir, notBefore: 0 };
    expect(await w.files.receipts(run)).toEqual({ directory: false, restart: 0, lost: [] });
    await w.files.create(w.dir, ownerOf());
    expect(await w.files.receipts(run)).toEqual({ directory: true, restart: 0, lost: [] });
    w.files.symlink(w.dir, ".emx2/lease.a1", "77");
    w.files.symlink(w.dir, ".emx2/lease.a1.0", "77.0.node1.4711");
    const head = { v: 1, attempt: "a1", job: "77", restart: 0, node: "node1" };
    w.files.put(w.dir, ".emx2/start.a1.0", JSON.stringify({ ...head, pid: 4711, start: 100 }));
    expect(await w.files.receipts(run)).toEqual({
      directory: true,
      lease: "77",
      restart: 0,
      start: { node: "node1", at: 100 },
      lost: [],
    });
  });

  test("an attempt is closed for ever, unless a run has it; a directory that is gone has none", async () => {
    using w = world();
    const run: RunRef = { jobId, attempt: "a1", name: `emx2-${jobId}`, dir: w.dir, notBefore: 0 };
    expect(await w.files.closeLease(run)).toEqual({ is: "closed" });
    await w.files.create(w.dir, ownerOf());
    w.files.symlink(w.dir, ".emx2/lease.a2", "77");
    expect(await w.files.closeLease({ ...run, attempt: "a2" })).toEqual({ is: "held", schedulerId: "77" });
    for (const _ of ["first", "again"]) expect(await w.files.closeLease(run)).toEqual({ is: "closed" });
    expect(w.files.linkAt(w.dir, ".emx2/lease.a1")).toBe("closed");
    expect(w.files.linkAt(w.dir, ".emx2/lease.a2")).toBe("77");
    w.files.symlink(w.dir, ".emx2/lease.a2.1", "77.1.node1.5");
    expect(await w.files.closeLease({ ...run, attempt: "a2" }, 0)).toEqual({ is: "held", schedulerId: "77" });
    for (const _ of ["first", "again"])
      expect(await w.files.closeLease({ ...run, attempt: "a2" }, 1)).toEqual({ is: "closed" });
    expect(w.files.linkAt(w.dir, ".emx2/lease.a2")).toBe("closed.77");
    expect(await w.files.receipts({ ...run, attempt: "a2" })).toMatchObject({ lease: "77", restart: 1 });
    expect(await w.files.receipts(run)).toEqual({ directory: true, restart: 0, lost: [] });
  });

  test("a lease that names no run holds up no job's end", async () => {
    using w = world();
    const run: RunRef = { jobId, attempt: "a1", name: `emx2-${jobId}`, dir: w.dir, notBefore: 0 };
    await w.files.create(w.dir, ownerOf());
    w.files.symlink(w.dir, ".emx2/lease.a1", "../../no run");
    expect(await w.files.closeLease(run)).toEqual({ is: "closed" });
  });

  test("the tail of stderr: the last lines, of the container's if it said anything", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    expect(await w.files.stderrTail(w.dir, "7", 2)).toEqual([]);
    w.files.put(w.dir, ".emx2/slurm-7.err", "one\ntwo\n\nthree\n");
    w.files.put(w.dir, ".emx2/container-stderr.log", "");
    expect(await w.files.stderrTail(w.dir, "7", 2)).toEqual(["", "three"]);
    expect(await w.files.stderrTail(w.dir, "7", 0)).toEqual([]);
    expect(await w.files.stderrTail(w.dir, undefined, 2)).toEqual([]);
    expect(await w.files.stderrTail(w.dir, "../slurm-7", 2)).toEqual([]);
    w.files.put(w.dir, ".emx2/container-stderr.log", "of the container");
    expect(await w.files.stderrTail(w.dir, undefined, 2)).toEqual(["of the container"]);
  });

  test("once it is gone, what needs it ends for good, and there are no logs", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    w.files.put(w.dir, "output/a", "a");
    const [row = expect.unreachable()] = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    await w.files.remove(w.dir);
    const acts = [
      () => w.files.list({ dir: w.dir, outputDir: "output" }, "output"),
      () => contentOf(w.files.read({ dir: w.dir }, row)),
      () => w.files.hasInput(w.dir, inputRow("a", "x")),
      () => w.files.writeInput(w.dir, inputRow("a", "x"), streamOf("x")),
      () => w.files.writeControl(w.dir, [{ name: "job.sh", content: "x" }]),
    ];
    for (const act of acts) {
      expect(await faultOf(act())).toMatchObject({ name: "StorageError", code: "ENOENT", permanent: true });
    }
    expect([...(await w.files.list({ dir: w.dir, outputDir: "output" }, "log")).rows]).toEqual([]);
    expect(await w.files.stderrTail(w.dir, "7", 5)).toEqual([]);
  });

  test("is removed by its own state alone; gone already is fine", async () => {
    using w = world();
    await w.files.remove(w.dir);
    await w.files.create(w.dir, ownerOf(foreignState));
    const fault = await faultOf(w.files.remove(w.dir));
    expect(fault).toBeInstanceOf(StorageError);
    expect(fault).toMatchObject({ permanent: true });
    expect(w.files.has(w.dir)).toBe(true);
  });

  test("is removed with all that is in it", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    w.files.put(w.dir, "output/deep/er/a", "a");
    w.files.symlink(w.dir, ".emx2/lease.a1", "77");
    await w.files.remove(w.dir);
    expect(w.files.has(w.dir)).toBe(false);
    await w.files.remove(w.dir);
  });

  test("is removed but for what is to be kept, however often it is tried", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    for (const path of ["output/deep/a", "logs/run.log", "work/a", ".emx2/job.sh"]) w.files.put(w.dir, path, "a");
    for (const _ of [1, 2]) {
      await w.files.remove(w.dir, ["output", "logs"]);
      expect(text(w.files.contentOf(w.dir, "output/deep/a"))).toBe("a");
      expect(text(w.files.contentOf(w.dir, "logs/run.log"))).toBe("a");
      expect(w.files.contentOf(w.dir, "work/a")).toBeUndefined();
      expect(w.files.contentOf(w.dir, ".emx2/job.sh")).toBeUndefined();
    }
  });

  test("has its outputs elsewhere where they are to stay, its own logs at home, and copies of the logs beside the outputs", async () => {
    using w = world();
    const place = { dir: w.dir, outputBase: `${w.dir}.results`, outputDir: "output" };
    await w.files.create(w.dir, ownerOf());
    expect(await w.files.makeOutputBase(place.outputBase)).toEqual({ is: "ours" });
    expect(await w.files.makeOutputBase(place.outputBase)).toEqual({ is: "ours" });
    w.files.put(place.outputBase, "output/result", "r");
    w.files.put(place.outputBase, "output/sub/own.log", "own");
    w.files.put(place.outputBase, "output/.hpc_progress.jsonl", '{"phase":"x"}\n');
    w.files.put(w.dir, ".emx2/slurm-7.out", "said");
    const outputs = await w.files.list(place, "output");
    expect([...outputs.rows].map((row) => row.path)).toEqual(["result"]);
    expect(await Promise.all([...outputs.rows].map((row) => contentOf(w.files.read(place, row))))).toEqual(["r"]);
    expect(await w.files.progress(place)).toEqual({ phase: "x" });
    const logs = await w.files.list(place, "log");
    expect([...logs.rows].map((row) => row.path)).toEqual(["slurm-7.out", "sub/own.log"]);
    await w.files.keepLogs(place, logs.rows, place.outputBase);
    expect(text(w.files.contentOf(place.outputBase, "logs/slurm-7.out"))).toBe("said");
    expect(text(w.files.contentOf(place.outputBase, "logs/sub/own.log"))).toBe("own");
  });

  test("keeps text of ours, and says where there is none", async () => {
    using w = world();
    await w.files.create(w.dir, ownerOf());
    expect(await w.files.readControl(w.dir, "inputs.json")).toBeNull();
    await w.files.writeControl(w.dir, [{ name: "inputs.json", content: "[]" }]);
    expect(await w.files.readControl(w.dir, "inputs.json")).toBe("[]");
  });
});

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes && Buffer.from(bytes).toString();
}
