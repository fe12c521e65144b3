/** Outputs and logs that stay, where other accounts and the job itself may have been before us. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { faultOf, ownerOf, type WorkDirectory, workDirectory } from "./work-directory.ts";

let w: WorkDirectory;
let base: string;
let place: { dir: string; outputBase: string; outputDir: string };
beforeEach(async () => {
  w = workDirectory();
  base = join(w.root, "results");
  place = { dir: w.dir, outputBase: base, outputDir: "output" };
  await w.files.create(w.dir, ownerOf());
});
afterEach(() => w[Symbol.dispose]());

const mode = (path: string) => statSync(path).mode & 0o7777;

describe("the directory for what stays", () => {
  test("is for us and our group, whatever the umask, and keeps a group that the site hands down", async () => {
    chmodSync(w.root, 0o2770);
    const before = process.umask(0o077);
    try {
      expect(await w.files.makeOutputBase(base)).toEqual({ is: "ours" });
    } finally {
      process.umask(before);
    }
    expect(mode(base)).toBe(0o2750);
  });

  test("is not made where its parent is missing: that file system is not mounted", async () => {
    const fault = await faultOf(w.files.makeOutputBase(join(base, "job")));
    expect(fault).toMatchObject({ name: "StorageError", code: "ENOENT", permanent: false });
  });

  test("is not taken from a link, from a file, or from somebody else", async () => {
    symlinkSync(w.dir, base);
    expect(await w.files.makeOutputBase(base)).toEqual({ is: "foreign", owner: "a symbolic link" });
    writeFileSync(join(w.root, "file"), "");
    expect(await w.files.makeOutputBase(join(w.root, "file"))).toMatchObject({ is: "foreign" });
    const theirs = join(w.root, "theirs");
    mkdirSync(theirs);
    if (process.geteuid?.() === 0) chownSync(theirs, 65534, 65534);
    expect((await w.files.makeOutputBase(theirs)).is).toBe(process.geteuid?.() === 0 ? "foreign" : "ours");
  });
});

describe("kept logs", () => {
  const listed = async () => [...(await w.files.list(place, "log")).rows];
  beforeEach(async () => {
    await w.files.makeOutputBase(base);
    mkdirSync(join(base, "output"));
    writeFileSync(join(w.dir, ".emx2/slurm-7.out"), "said");
  });

  test("are the same files where the file system has one, and take no room", async () => {
    const rows = await listed();
    await w.files.keepLogs(place, rows, base);
    await w.files.keepLogs(place, rows, base);
    expect(statSync(join(base, "logs/slurm-7.out")).ino).toBe(statSync(join(w.dir, ".emx2/slurm-7.out")).ino);
    expect(mode(join(base, "logs"))).toBe(0o750);
  });

  test("of a name that is not UTF-8 lie under the name that EMX2 knows, unless that is too long: then it is said", async () => {
    const odd = (first: string) =>
      Buffer.concat([Buffer.from(join(base, "output", first)), Buffer.from("\xff.log", "latin1")]);
    writeFileSync(odd("b"), "odd");
    await w.files.keepLogs(place, await listed(), base);
    expect(readFileSync(join(base, "logs/b%FF.log"), "utf8")).toBe("odd");
    writeFileSync(odd("%".repeat(100)), "long");
    const fault = await faultOf(w.files.keepLogs(place, await listed(), base));
    expect(fault).toMatchObject({ permanent: true, message: expect.stringContaining("longer than 255 bytes") });
  });

  test("replace what the job put under their names, and follow nothing that it left", async () => {
    const precious = join(w.root, "precious");
    writeFileSync(precious, "x");
    mkdirSync(join(base, "logs"));
    symlinkSync(precious, join(base, "logs/slurm-7.out"));
    await w.files.keepLogs(place, await listed(), base);
    expect(readFileSync(join(base, "logs/slurm-7.out"), "utf8")).toBe("said");
    expect(readFileSync(precious, "utf8")).toBe("x");
  });

  test("have no place where the job made a link or a directory of it, which trying again does not change", async () => {
    symlinkSync(w.root, join(base, "logs"));
    const rows = await listed();
    expect(await faultOf(w.files.keepLogs(place, rows, base))).toMatchObject({ permanent: true });
    const other = join(w.root, "other");
    mkdirSync(join(other, "logs/slurm-7.out"), { recursive: true });
    expect(await faultOf(w.files.keepLogs(place, rows, other))).toMatchObject({ permanent: true });
  });

  test("are the files that were hashed, or none", async () => {
    const rows = await listed();
    writeFileSync(join(w.dir, ".emx2/slurm-7.out"), "another");
    expect(await faultOf(w.files.keepLogs(place, rows, base))).toMatchObject({ name: "IntegrityError" });
  });
});

test("progress is nothing where the job shut or replaced its own directory", async () => {
  await w.files.makeOutputBase(base);
  expect(await w.files.progress(place)).toBeNull();
  symlinkSync(w.root, join(base, "output"));
  expect(await w.files.progress(place)).toBeNull();
});
