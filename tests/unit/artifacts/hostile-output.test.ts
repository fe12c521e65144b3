/** Output directories as a job may leave them: to read what it may not, to hang the daemon, or by accident. */
import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chownSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { open, rename } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { openRegular } from "../../../src/artifacts/no-follow.ts";
import { walk } from "../../../src/artifacts/walk.ts";
import { systemClock } from "../../../src/clock.ts";
import { contentOf, faultOf, ownerOf, type WorkDirectory, workDirectory } from "./work-directory.ts";

const secretText = "AKIA-secret";

async function finishedJob(): Promise<WorkDirectory & { readonly secret: string }> {
  const w = workDirectory();
  await w.files.create(w.dir, ownerOf());
  const secret = join(w.root, "secret");
  writeFileSync(secret, secretText);
  writeFileSync(join(w.dir, "output/result.txt"), "the result!");
  return { ...w, secret };
}

const pathsOf = async (w: WorkDirectory, role: "output" | "log" = "output") =>
  [...(await w.files.list({ dir: w.dir, outputDir: "output" }, role)).rows].map((row) => row.path);

describe("what is no regular file", () => {
  test("links to a secret, to a directory, to nothing are not listed, and are named", async () => {
    using w = await finishedJob();
    symlinkSync(w.secret, join(w.dir, "output/link.txt"));
    symlinkSync(w.secret, join(w.dir, "output/link.log"));
    symlinkSync(w.root, join(w.dir, "output/dir"));
    symlinkSync("nowhere", join(w.dir, "output/broken"));
    expect(await pathsOf(w)).toEqual(["result.txt"]);
    expect(await pathsOf(w, "log")).toEqual([]);
    const { leftOut } = await w.files.list({ dir: w.dir, outputDir: "output" }, "output");
    expect(leftOut.count).toBe(4);
    expect([...leftOut.names].sort()).toEqual([
      '"broken" (symbolic link to nothing)',
      ...["dir", "link.log", "link.txt"].map((name) => `"${name}" (symbolic link out of the output directory)`),
    ]);
    expect(w.warnings).toEqual([expect.stringContaining("4 left out of the outputs: ")]);
  });

  test("a FIFO and a socket hang nothing", async () => {
    using w = await finishedJob();
    execFileSync("mkfifo", [
      join(w.dir, "output/fifo"),
      join(w.dir, "output/fifo.log"),
      join(w.dir, ".emx2/slurm-7.err"),
    ]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(w.dir, "output/s"), resolve));
    expect(await pathsOf(w)).toEqual(["result.txt"]);
    expect(await pathsOf(w, "log")).toEqual([]);
    expect(await w.files.stderrTail(w.dir, "7", 5)).toEqual([]);
    await new Promise((resolve) => server.close(resolve));
  });

  test("an output directory that is itself a link is not entered", async () => {
    using w = await finishedJob();
    renameSync(join(w.dir, "output"), join(w.root, "elsewhere"));
    symlinkSync(join(w.root, "elsewhere"), join(w.dir, "output"));
    writeFileSync(join(w.dir, ".emx2/slurm-7.err"), "why");
    expect(await faultOf(pathsOf(w))).toMatchObject({ permanent: true, message: expect.stringContaining("ENOTDIR") });
    expect(await pathsOf(w, "log")).toEqual(["slurm-7.err"]);
  });

  test.skipIf(process.geteuid?.() !== 0)("a hard link to another user's file is no output (needs root)", async () => {
    using w = await finishedJob();
    chownSync(w.secret, 12345, 12345);
    linkSync(w.secret, join(w.dir, "output/hard.txt"));
    expect(await faultOf(pathsOf(w))).toMatchObject({
      permanent: true,
      message: 'output "hard.txt" can not be uploaded: it belongs to another user (uid 12345)',
    });
  });
});

describe("a file that is swapped between the listing and the upload", () => {
  test.each(["a link to a secret", "another file", "a directory", "nothing", "a FIFO"])("for %s", async (what) => {
    using w = await finishedJob();
    const path = join(w.dir, "output/result.txt");
    const [row] = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    rmSync(path);
    if (what === "a link to a secret") symlinkSync(w.secret, path);
    if (what === "another file") renameSync(w.secret, path);
    if (what === "a directory") mkdirSync(path);
    if (what === "a FIFO") execFileSync("mkfifo", [path]);
    if (what === "another file") utimesSync(path, new Date(0), new Date(0));
    const received: Uint8Array[] = [];
    const fault = await faultOf(drain(w.files.read({ dir: w.dir }, row ?? expect.unreachable()), received));
    expect(fault).toMatchObject({ name: "IntegrityError" });
    expect(Buffer.concat(received).toString()).toBe("");
  });

  test("a job directory that is out of reach says nothing about its files: the upload may be tried again", async () => {
    using w = await finishedJob();
    const [row] = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    renameSync(w.root, `${w.root}.away`);
    const fault = await faultOf(contentOf(w.files.read({ dir: w.dir }, row ?? expect.unreachable())));
    renameSync(`${w.root}.away`, w.root);
    expect(fault).toMatchObject({ name: "StorageError", code: "ENOENT", permanent: false });
  });

  test("a directory on the way is swapped for a link to one with the same names", async () => {
    using w = await finishedJob();
    mkdirSync(join(w.dir, "output/sub"));
    writeFileSync(join(w.dir, "output/sub/secret"), "AKIA-public");
    const rows = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    const { mtimeMs } = statSync(join(w.dir, "output/sub/secret"));
    utimesSync(w.secret, mtimeMs / 1000, mtimeMs / 1000);
    renameSync(join(w.dir, "output/sub"), join(w.dir, "work/sub"));
    symlinkSync(w.root, join(w.dir, "output/sub"));
    const row = rows.find(({ path }) => path === "sub/secret") ?? expect.unreachable();
    expect(await faultOf(contentOf(w.files.read({ dir: w.dir }, row)))).toMatchObject({ name: "IntegrityError" });
  });

  test("a file that grows while it is read is never given out to its end", async () => {
    using w = await finishedJob();
    const path = join(w.dir, "output/result.txt");
    writeFileSync(path, Buffer.alloc(1024 * 1024));
    const [row] = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    const reader = w.files.read({ dir: w.dir }, row ?? expect.unreachable()).getReader();
    expect((await reader.read()).value?.length).toBeLessThan(1024 * 1024);
    appendFileSync(path, "more");
    const rest = async () => {
      for (let bytes = 0; ; ) {
        const { done, value } = await reader.read();
        if (done) return bytes;
        bytes += value.length;
      }
    };
    expect(await faultOf(rest())).toMatchObject({ name: "IntegrityError", mismatch: { what: "bytes" } });
  });

  test("a large file that changed before it is read gives out nothing at all", async () => {
    using w = await finishedJob();
    const path = join(w.dir, "output/result.txt");
    writeFileSync(path, Buffer.alloc(1024 * 1024));
    const [row] = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    appendFileSync(path, "more");
    const received: Uint8Array[] = [];
    await faultOf(drain(w.files.read({ dir: w.dir }, row ?? expect.unreachable()), received));
    expect(received).toEqual([]);
  });

  test("however fast a name turns from a file into a link and back, the link is never followed", async () => {
    using w = await finishedJob();
    const turn = async (name: string) => {
      symlinkSync(w.secret, join(w.root, "link"));
      await rename(join(w.root, "link"), name);
      writeFileSync(join(w.root, "file"), "the result!");
      await rename(join(w.root, "file"), name);
    };
    const output = await open(join(w.dir, "output"));
    const seen = new Set<string>();
    for (let round = 0; round < 300; round++) {
      const turning = turn(join(w.dir, "output/result.txt"));
      for (let look = 0; look < 4; look++) {
        const file = await openRegular(output, "result.txt");
        if (file) seen.add(await file.readFile("utf8"));
        await file?.close();
      }
      await turning;
    }
    await output.close();
    expect([...seen]).toEqual(["the result!"]);
  });

  test("a reader that goes away lets the file go", async () => {
    using w = await finishedJob();
    const path = join(w.dir, "output/result.txt");
    writeFileSync(path, Buffer.alloc(1024 * 1024));
    const [row] = [...(await w.files.list({ dir: w.dir, outputDir: "output" }, "output")).rows];
    const openFiles = () =>
      Number(execFileSync("sh", ["-c", `ls -l /proc/${process.pid}/fd | grep -c result.txt || :`]));
    const reader = w.files.read({ dir: w.dir }, row ?? expect.unreachable()).getReader();
    await reader.read();
    expect(openFiles()).toBe(1);
    const pending = reader.read();
    await reader.cancel();
    await pending;
    expect(openFiles()).toBe(0);
  });
});

test("a file that is still written to while it is hashed is not sealed, and may be later", async () => {
  using w = await finishedJob();
  const path = join(w.dir, "output/growing");
  writeFileSync(path, Buffer.alloc(32 * 1024 * 1024));
  let settled = false;
  const listing = faultOf(pathsOf(w)).finally(() => {
    settled = true;
  });
  while (!settled) {
    appendFileSync(path, "x");
    await systemClock.sleep(0);
  }
  expect(await listing).toMatchObject({ name: "StorageError", code: "EBUSY", permanent: false });
  expect(await pathsOf(w)).toEqual(["growing", "result.txt"]);
});

describe("what EMX2 can not take", () => {
  const odd = Buffer.from([0x62, 0xff, 0x2e, 0x6c, 0x6f, 0x67]); // b\xff.log

  test("a name that is no UTF-8 is escaped, told of, and read under its own name, be it an output's or a log's", async () => {
    using w = await finishedJob();
    const place = (name: Uint8Array) => Buffer.concat([Buffer.from(join(w.dir, "output/")), name]);
    writeFileSync(place(odd), "log");
    writeFileSync(place(Buffer.from([0x61, 0xff])), "one");
    writeFileSync(place(Buffer.from([0x61, 0xfe])), "other");
    writeFileSync(place(Buffer.from("a%FF")), "namesake");
    for (const [role, expected] of [
      ["output", { "a%FF": "namesake", "%25a%FF": "one", "a%FE": "other", "result.txt": "the result!" }],
      ["log", { "b%FF.log": "log" }],
    ] as const) {
      const { rows, escaped } = await w.files.list({ dir: w.dir, outputDir: "output" }, role);
      const read = [...rows].map(async (row) => [row.path, await contentOf(w.files.read({ dir: w.dir }, row))]);
      expect(Object.fromEntries(await Promise.all(read))).toEqual(expected);
      const names = Object.keys(expected).filter((name) => /%F[EF]/.test(name) && name !== "a%FF");
      expect(escaped).toEqual({ count: names.length, names: names.sort() });
    }
    expect(w.warnings).toEqual([
      '2 output file(s) whose names EMX2 can not take get others: "%25a%FF", "a%FE"',
      '1 log file(s) whose names EMX2 can not take get others: "b%FF.log"',
    ]);
  });

  test("a path longer than EMX2's column stops the upload", async () => {
    using w = await finishedJob();
    const deep = join(w.dir, "output", ...Array(11).fill("d".repeat(100)));
    mkdirSync(deep, { recursive: true });
    writeFileSync(join(deep, "x"), "x");
    expect(await faultOf(pathsOf(w))).toMatchObject({
      message: expect.stringContaining("longer than 1024 characters"),
    });
  });

  test("a tree deeper than the bound stops the upload", async () => {
    using w = await finishedJob();
    mkdirSync(join(w.dir, "output", ...Array(70).fill("d")), { recursive: true });
    expect(await faultOf(pathsOf(w))).toMatchObject({
      message: expect.stringMatching(/^output "d\/.*more than 64 levels deep: the job should pack/),
    });
  });

  test("names of any other kind pass as they are", async () => {
    using w = await finishedJob();
    const names = ["-rf", "a\nb", "a\\b", "\u001b[2J", "$(id)", "é", "\u{1f600}", " "];
    for (const name of names) writeFileSync(join(w.dir, "output", name), name);
    expect(await pathsOf(w)).toEqual([...names, "result.txt"].sort());
  });

  test("more entries than the bound end the walk", async () => {
    using w = await finishedJob();
    for (let i = 0; i < 10; i++) writeFileSync(join(w.dir, `output/${i}`), "");
    const output = await open(join(w.dir, "output"));
    const seen: string[] = [];
    for await (const walked of walk(output, join(w.dir, "output"), { limit: 3 })) seen.push(walked.is);
    await output.close();
    expect(seen).toEqual(["file", "file", "file", "trouble"]);
  });
});

async function drain(stream: ReadableStream<Uint8Array>, received: Uint8Array[]): Promise<void> {
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) received.push(next.value);
}
