/** Full disks, forbidden directories, large files: a process of its own under real limits. */
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownerOf, workDirectory } from "./work-directory.ts";

const isRoot = process.geteuid?.() === 0;
const program = join(import.meta.dir, "limits-child.ts");

/** Runs the child in a shell with `$@` standing for its command line. */
async function child(shell: string, ...args: readonly string[]): Promise<Record<string, unknown>> {
  const run = Bun.spawn(["sh", "-c", shell, "sh", process.execPath, program, ...args], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([new Response(run.stdout).text(), new Response(run.stderr).text()]);
  if ((await run.exited) !== 0) throw new Error(err);
  return JSON.parse(out);
}

/** Root passes every permission bit unless these capabilities are out of its reach. */
const asOwnerOnly = isRoot
  ? 'exec setpriv --inh-caps=-dac_override,-dac_read_search --bounding-set=-dac_override,-dac_read_search "$@"'
  : 'exec "$@"';

test("200 MB are staged, hashed and read with the memory of a few chunks, and timers keep running", async () => {
  using w = workDirectory();
  const came = await child('exec "$@"', "roundTrip", w.dir, String(200 * 1024 * 1024));
  expect(came).toMatchObject({ found: true, hashes: [true, true] });
  expect(came["grownBytes"]).toBeLessThan(64 * 1024 * 1024);
  expect(came["longestGapMs"]).toBeLessThan(500);
}, 60_000);

test("a file larger than the system allows is a fault that says so, and its beginning is taken away", async () => {
  using w = workDirectory();
  // ulimit counts in blocks of 512 bytes; the signal that comes with the limit would end the process.
  const came = await child("trap '' XFSZ; ulimit -f 64; exec \"$@\"", "stage", w.dir, String(1024 * 1024));
  expect(came).toMatchObject({ code: "EFBIG", permanent: false });
  expect(readdirSync(join(w.dir, ".emx2"))).toEqual(["owner"]);
});

test.skipIf(!isRoot)(
  "a full disk is a fault that says so, and what was begun gives its space back (needs root)",
  async () => {
    using w = workDirectory();
    const mount = join(w.root, "small");
    mkdirSync(mount);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", mount]);
    try {
      const dir = join(mount, "job");
      const came = await child('exec "$@"', "stage", dir, String(1024 * 1024));
      expect(came).toMatchObject({ code: "ENOSPC", permanent: false });
      expect(came["message"]).toContain("no space is left on the file system");
      expect(readdirSync(join(dir, ".emx2"))).toEqual(["owner"]);
      expect(await child('exec "$@"', "stage", dir, String(128 * 1024))).toMatchObject({ bytes: 128 * 1024 });
    } finally {
      execFileSync("umount", [mount]);
    }
  },
);

test("no room for what is listed is a fault that says where, and is tried again", async () => {
  using w = workDirectory();
  const limited = `export TMPDIR=${w.root}; trap '' XFSZ; ulimit -f 64; exec "$@"`;
  expect(await child(limited, "rows")).toEqual({
    ...{ code: "ENOSPC", permanent: false },
    message: expect.stringContaining(`a list of files can not be kept in ${w.root}`),
  });
  expect(await child(`export TMPDIR=${w.root}; exec "$@"`, "rows")).toEqual({ total: 30_000 });
  expect(readdirSync(w.root)).toEqual([]);
});

test.skipIf(!isRoot)("so is a full disk under it (needs root)", async () => {
  using w = workDirectory();
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", w.root]);
  try {
    const came = await child(`export TMPDIR=${w.root}; exec "$@"`, "rows");
    expect(came).toMatchObject({ code: "ENOSPC", permanent: false, message: expect.stringContaining(w.root) });
  } finally {
    execFileSync("umount", [w.root]);
  }
});

test("directories that the job closed to itself are opened, and removed", async () => {
  using w = workDirectory();
  await w.files.create(w.dir, ownerOf());
  const precious = join(w.root, "precious");
  mkdirSync(precious, { mode: 0o500 });
  const closed = join(w.dir, "output/closed");
  mkdirSync(join(closed, "inner"), { recursive: true });
  writeFileSync(join(closed, "inner/a"), "a");
  symlinkSync(precious, join(closed, "link"));
  for (const path of [join(closed, "inner"), closed, join(w.dir, "output")]) chmodSync(path, 0o000);
  expect(await child(asOwnerOnly, "remove", w.dir)).toEqual({ removed: true });
  expect(existsSync(w.dir)).toBe(false);
  expect(existsSync(precious)).toBe(true);
});

test("a job that shut its directory to us is still seen to end: what it shut is opened again", async () => {
  using w = workDirectory();
  await w.files.create(w.dir, ownerOf());
  symlinkSync("7", join(w.dir, ".emx2/lease.a1"));
  for (const path of [join(w.dir, ".emx2"), w.dir]) chmodSync(path, 0o000);
  expect(await child(asOwnerOnly, "receipts", w.dir)).toMatchObject({ directory: true, lease: "7" });
});

test.each([
  ["a file", "result.txt", 'output "result.txt" can not be uploaded: it can not be read (EACCES)'],
  ["a directory", "sub", 'output "sub" can not be uploaded: it can not be opened (EACCES)'],
])(
  "%s among the outputs that may not be read stops the upload: no job is COMPLETED with a part",
  async (_w, name, message) => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    mkdirSync(join(w.dir, "output/sub"));
    writeFileSync(join(w.dir, "output/sub/a"), "a");
    writeFileSync(join(w.dir, "output/result.txt"), "r");
    const path = join(w.dir, "output", name);
    chmodSync(path, 0o000);
    expect(await child(asOwnerOnly, "list", w.dir)).toEqual({ code: "EINVAL", message, permanent: true });
    chmodSync(path, 0o700);
    expect(await child(asOwnerOnly, "list", w.dir)).toEqual({ paths: ["result.txt", "sub/a"] });
  },
);
