/** What a job directory says of itself, and what a job that writes into it can make it say. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Found, FoundLease } from "../../../src/artifacts/found.ts";
import type { Owner } from "../../../src/artifacts/job-files.ts";
import { StorageError } from "../../../src/errors.ts";
import { faultOf, ownerOf, type WorkDirectory, workDirectory } from "./work-directory.ts";

const ours = ownerOf();
let work: WorkDirectory;
let control: string;

beforeEach(() => {
  work = workDirectory();
  control = join(work.dir, ".emx2");
});
afterEach(() => work[Symbol.dispose]());

const find = (): Promise<Found> => work.files.find(work.dir, ours.uid);

async function made(files: Readonly<Record<string, string>> = {}): Promise<void> {
  await work.files.create(work.dir, ours);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(control, name), content);
}

async function directory() {
  const found = await find();
  if (found.is !== "directory") throw new Error(`it is ${JSON.stringify(found)}`);
  return found;
}

test("no directory is nothing; a tmp_dir that is not there says nothing at all", async () => {
  expect(await find()).toEqual({ is: "nothing" });
  const elsewhere = join(work.root, "not-mounted", "job");
  expect(await faultOf(work.files.find(elsewhere, ours.uid))).toBeInstanceOf(StorageError);
});

test("a directory just made: its owner, no script, no lease", async () => {
  await made();
  expect(await find()).toEqual({
    is: "directory",
    ownership: { is: "state", owner: ours },
    scripted: false,
    unreceipted: false,
    since: expect.any(Number),
  });
});

test("a script is there once its last file is", async () => {
  await made({ "job.sh": "", "command.sh": "" });
  expect((await directory()).scripted).toBe(false);
  writeFileSync(join(control, "parameters.json"), "{}");
  expect((await directory()).scripted).toBe(true);
});

test("without .emx2 it is another program's, as old as its oldest part", async () => {
  mkdirSync(join(work.dir, "input"), { recursive: true });
  utimesSync(join(work.dir, "input"), 1_000, 1_000);
  expect(await find()).toEqual({ is: "bare", since: 1_000_000 });
});

test("how long it has been here is told by owner and script, not by what a run adds", async () => {
  await made({ "job.sh": "", "exit.a1.0": "{}" });
  utimesSync(join(control, "owner"), 2_000, 2_000);
  utimesSync(join(control, "exit.a1.0"), 1_000, 1_000);
  expect((await directory()).since).toBe(2_000_000);
});

describe("the lease", () => {
  const leases: readonly (readonly [string, Readonly<Record<string, string>>, FoundLease | undefined])[] = [
    ["none", {}, undefined],
    ["a run has it", { "lease.a1": "42" }, { attempt: "a1", schedulerId: "42" }],
    ["the newest of two", { "lease.a2": "43", "lease.a1": "42" }, { attempt: "a2", schedulerId: "43" }],
    ["numbers, not words, are newer", { "lease.a9": "42", "lease.a10": "43" }, { attempt: "a10", schedulerId: "43" }],
    ["closed", { "lease.a1": "closed" }, { attempt: "a1" }],
    [
      "a closed one yields to one that a run has",
      { "lease.a2": "closed", "lease.a1": "42" },
      { attempt: "a1", schedulerId: "42" },
    ],
    ["a run's own marks are none", { "lease.a1.0": "42.0.node.7" }, undefined],
    ["what names no run keeps every run from it", { "lease.a1": "../../etc/passwd" }, { attempt: "a1" }],
    ["attempts that nobody makes", { "lease.a0": "1", "lease.a1000": "2", "lease.ax": "3", "lease.": "4" }, undefined],
  ];
  test.each(leases)("%s", async (_, links, lease) => {
    await made();
    for (const [name, target] of Object.entries(links)) symlinkSync(target, join(control, name));
    expect((await directory()).lease).toEqual(lease);
  });

  test("a file or a directory of that name is none", async () => {
    await made({ "lease.a1": "42" });
    mkdirSync(join(control, "lease.a2"));
    expect((await directory()).lease).toBeUndefined();
  });
});

describe("output-base", () => {
  test("as the script has it", async () => {
    await made({ "output-base": "/nfs/results/j1\n" });
    expect((await directory()).outputBase).toBe("/nfs/results/j1");
  });

  test("megabytes, a FIFO or a link are no place", async () => {
    const place = join(control, "output-base");
    await made({ "output-base": "x".repeat(1_000_000) });
    expect((await directory()).outputBase).toEqual({ unusable: expect.stringContaining("larger") });
    rmSync(place);
    symlinkSync("/etc/passwd", place);
    expect((await directory()).outputBase).toEqual({ unusable: expect.any(String) });
    rmSync(place);
    expect(Bun.spawnSync(["mkfifo", place]).exitCode).toBe(0);
    expect((await directory()).outputBase).toEqual({ unusable: expect.any(String) });
  });
});

describe("what a job has done to it", () => {
  test("an owner that is a FIFO, a link, too long or no JSON is unreadable", async () => {
    await made();
    const place = join(control, "owner");
    const doings = [
      () => Bun.spawnSync(["mkfifo", place]),
      () => symlinkSync("/etc/hostname", place),
      () => writeFileSync(place, "x".repeat(1_000_000)),
      () => writeFileSync(place, "{}"),
    ];
    for (const act of doings) {
      rmSync(place);
      act();
      expect((await directory()).ownership).toEqual({ is: "unreadable", why: expect.any(String) });
    }
    rmSync(place);
    expect((await directory()).ownership).toEqual({ is: "nobody" });
  });

  test("a link or a file in the place of a directory makes a stranger of it", async () => {
    symlinkSync(work.root, work.dir);
    expect(await find()).toEqual({ is: "stranger", why: expect.stringContaining("no directory") });
    rmSync(work.dir);
    await made();
    rmSync(control, { recursive: true });
    symlinkSync(work.root, control);
    expect(await find()).toEqual({ is: "stranger", why: expect.stringContaining(".emx2") });
  });
});

test("a directory of another account's says nothing", async () => {
  await made();
  expect(await work.files.find(work.dir, ours.uid + 1)).toEqual({
    is: "stranger",
    why: `belongs to uid ${ours.uid}`,
  });
});

describe("takeOver", () => {
  const another: Owner = { ...ours, state: "22222222-2222-4222-8222-222222222222" };

  test("makes it ours, so that it is removed in the end; what lies in it stays", async () => {
    await work.files.create(work.dir, another);
    writeFileSync(join(work.dir, "output", "result"), "kept");
    expect(await work.files.takeOver(work.dir, ours, "directory")).toEqual({ is: "ours" });
    expect((await directory()).ownership).toEqual({ is: "state", owner: ours });
    expect(readFileSync(join(work.dir, "output", "result"), "utf8")).toBe("kept");
    await work.files.remove(work.dir);
    expect(await find()).toEqual({ is: "nothing" });
  });

  test("gives a directory of the Python daemon an owner, and remembers whose it was", async () => {
    mkdirSync(join(work.dir, "output"), { recursive: true });
    await work.files.takeOver(work.dir, ours, "bare");
    expect(await directory()).toMatchObject({ ownership: { is: "state", owner: ours }, unreceipted: true });
  });

  test("never writes through a link that stands where the owner file was", async () => {
    await work.files.create(work.dir, another);
    const outside = join(work.root, "outside");
    writeFileSync(outside, "untouched");
    rmSync(join(control, "owner"));
    symlinkSync(outside, join(control, "owner"));
    await work.files.takeOver(work.dir, ours, "directory");
    expect(readFileSync(outside, "utf8")).toBe("untouched");
    expect((await directory()).ownership).toEqual({ is: "state", owner: ours });
  });
});
