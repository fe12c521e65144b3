/** The seal of a run's outputs, made by job.sh in real shells and read as the daemon reads it. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { readSeal, type Seal, type SealedFile, sealOf } from "../../../src/artifacts/seal.ts";
import { jobRunning, receipt, runToEnd, shells, shellsByPath } from "./job-directory.ts";

setDefaultTimeout(60_000);

type Sealed = ReadonlyMap<string, ReturnType<Seal["get"]>>;

/** All that it names. */
function whole(seal: Seal | null): Sealed | null {
  using read = seal;
  return read && new Map(read.unseen(1_000).names.map((path) => [path, read.get(path)]));
}

const sha256 = (content: string | Uint8Array) => createHash("sha256").update(content).digest("hex");

for (const shell of shells.filter((shell) => !shellsByPath.includes(shell))) {
  test(`in ${shell.join(" ")}, whose find is not GNU's, nothing is sealed`, async () => {
    const dir = jobRunning('echo out >"$HPC_OUTPUT_DIR/out"');
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "7" });
    expect(receipt(dir, "done.a1.0")).toMatchObject({ exit: 0, manifest_sha256: null });
    rmSync(dir, { recursive: true });
  });
}

describe.each(shellsByPath.map((shell) => [shell.join(" "), shell] as const))("in %s", (_, shell) => {
  let dir = "";
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  async function sealed(program: string, outputDir = "output", environment = {}): Promise<Sealed | null> {
    dir = jobRunning(program);
    expect((await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "7", ...environment })).exitCode).toBe(0);
    const done = receipt(dir, `done.a1.${outputDir === "output" ? 0 : 1}`);
    expect(done).toMatchObject({ v: 1, attempt: "a1", job: "7", exit: 0 });
    expect(readdirSync(join(dir, ".emx2")).filter((name) => name.startsWith("."))).toEqual([]);
    return whole(await readSeal(dir, outputDir, String(done["manifest_sha256"])));
  }

  /** As this host sees them. */
  function seen(outputDir = "output"): Map<string, SealedFile> {
    const names = readdirSync(join(dir, outputDir), { recursive: true, encoding: "utf8" });
    const files = names.filter((name) => statSync(join(dir, outputDir, name)).isFile());
    return new Map(
      files.map((name) => {
        const { size, mtimeMs } = statSync(join(dir, outputDir, name));
        const facts = { bytes: size, mtimeMs: Math.floor(mtimeMs) };
        return [name, { ...facts, sha256: sha256(readFileSync(join(dir, outputDir, name))) }];
      }),
    );
  }

  test("every regular file and link, whatever its name, as it is", async () => {
    const names = [
      "plain",
      "a b",
      "a#?%+;&",
      'it\'s "q"',
      "-rf",
      "back\\slash",
      "new\nline",
      "ünï",
      "tab\there",
      " lead",
      "*",
    ];
    const quoted = names.map((name) => `'${name.replaceAll("'", "'\\''")}'`).join(" ");
    const seal = await sealed(
      `cd "$HPC_OUTPUT_DIR"; mkdir -p sub/deep; for n in ${quoted}; do echo "$n" >"./$n"; done; : >empty; echo x >sub/deep/x; ln -s plain link; mkfifo pipe`,
    );
    expect(seal?.size).toBe(names.length + 3);
    expect(Object.fromEntries(seal ?? [])).toEqual({ ...Object.fromEntries(seen()), link: "link" });
  });

  test.each(["", "head -c 70000000 /dev/zero >big; "])(
    "names that are not UTF-8 are told apart (%p)",
    async (first) => {
      const seal = await sealed(
        `cd "$HPC_OUTPUT_DIR"; ${first}for b in 351 377; do echo $b >"$(printf "caf\\\\$b%%.txt")"; done`,
      );
      const facts = (content: string) => expect.objectContaining({ bytes: 4, sha256: sha256(content) });
      expect(seal?.get("/caf%E9%25.txt")).toEqual(facts("351\n"));
      expect(seal?.get("/caf%FF%25.txt")).toEqual(facts("377\n"));
    },
  );

  test("large files, with whichever program is faster, and later runs by themselves", async () => {
    const big = 'head -c 70000000 /dev/zero >"$HPC_OUTPUT_DIR/big file"; echo small >"$HPC_OUTPUT_DIR/small"';
    expect(await sealed(big)).toEqual(seen());
    rmSync(dir, { recursive: true });
    const later = await sealed('echo again >"$HPC_OUTPUT_DIR/again"', "output.a1.1", { SLURM_RESTART_COUNT: "1" });
    expect(later).toEqual(seen("output.a1.1"));
    expect(later?.size).toBe(1);
  });

  test("nothing is an empty seal", async () => {
    expect((await sealed("exit 0"))?.size).toBe(0);
  });

  test.each([
    ["a run that failed", 'echo half >"$HPC_OUTPUT_DIR/half"; exit 3', []],
    [
      "what somebody still writes to",
      '(while :; do echo x >>"$HPC_OUTPUT_DIR/log"; done) >/dev/null 2>&1 & echo $! >pid',
      ["done.a1.0"],
    ],
  ])("%s has none", async (_what, program, left) => {
    dir = jobRunning(program);
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "7" });
    const pid = join(dir, "work/pid");
    if (existsSync(pid)) process.kill(Number(readFileSync(pid, "utf8")), "SIGKILL");
    expect(readdirSync(join(dir, ".emx2")).filter((name) => /^(done|manifest)/.test(name))).toEqual(left);
    if (left.length > 0) expect(receipt(dir, "done.a1.0")).toMatchObject({ exit: 0, manifest_sha256: null });
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ how: "exit" });
  });

  /** Programs that are found before the real ones, which come after them as `$real`. */
  function inFront(programs: Readonly<Record<string, string>>): string {
    const bin = join(dir, "bin");
    mkdirSync(bin);
    for (const [name, body] of Object.entries(programs))
      writeFileSync(join(bin, name), `#!/bin/sh\nreal=/usr/bin/${name}\n${body}\n`, { mode: 0o755 });
    return `${bin}:/usr/bin:/bin`;
  }

  test("a limit of nothing is no time at all, not no limit", async () => {
    dir = jobRunning('echo out >"$HPC_OUTPUT_DIR/out"', {}, 0);
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "7" });
    expect(receipt(dir, "done.a1.0")).toMatchObject({ exit: 0, manifest_sha256: null });
  });

  test("the limit is one for all of the seal's steps together", async () => {
    dir = jobRunning('echo out >"$HPC_OUTPUT_DIR/out"', {}, 5_000);
    const notes = 'echo "$3" >>"$(dirname "$0")/limits"; sleep 0.3; exec $real "$@"';
    const PATH = inFront({ timeout: notes });
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "7", PATH });
    const limits = readFileSync(join(dir, "bin/limits"), "utf8").trim().split("\n").map(Number);
    expect(limits.length).toBeGreaterThan(5);
    expect(limits).toEqual(limits.toSorted((a, b) => b - a));
    expect(limits.at(-1)).toBeLessThan(limits[0] ?? 0);
  });

  test.each([
    ["the output directory", '"$HPC_OUTPUT_DIR"'],
    ["the directory above it", '"$(dirname "$HPC_OUTPUT_DIR")"'],
  ])("a link in the place of %s is not followed", async (_what, place) => {
    const outside = mkdtempSync(join(tmpdir(), "emx2-outside-"));
    const base = mkdtempSync(join(tmpdir(), "emx2-base-"));
    try {
      mkdirSync(join(outside, "output"));
      dir = jobRunning(`mv ${place} ${place}.moved; ln -s ${outside} ${place}`);
      writeFileSync(join(dir, ".emx2/output-base"), `${base}/results\n`);
      mkdirSync(join(base, "results"));
      const PATH = inFront({ find: 'pwd -P >>"$(dirname "$0")/found"; exec $real "$@"' });
      expect((await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "7", PATH })).exitCode).toBe(0);
      expect(existsSync(join(dir, "bin/found"))).toBe(false);
      expect(receipt(dir, "done.a1.0")).toMatchObject({ exit: 0, manifest_sha256: null });
    } finally {
      for (const path of [outside, base]) rmSync(path, { recursive: true });
    }
  });

  test("a profile that seals nothing has none", async () => {
    dir = jobRunning('echo out >"$HPC_OUTPUT_DIR/out"', { sealOutputs: false });
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "7" });
    expect(existsSync(join(dir, ".emx2/done.a1.0"))).toBe(false);
  });
});

test("a manifest that is not the one of its receipt is none, and any bytes are read", async () => {
  const dir = jobRunning("exit 0");
  const manifest = `1 5.5 a\0${sha256("a")}  ./a\0`;
  writeFileSync(join(dir, ".emx2/manifest.a1.0"), manifest);
  expect(whole(await readSeal(dir, "output", sha256(manifest)))).toEqual(
    new Map([["a", { bytes: 1, mtimeMs: 5_500, sha256: sha256("a") }]]),
  );
  expect(await readSeal(dir, "output", sha256("another"))).toBeNull();
  expect(await readSeal(dir, "output.a1.1", sha256(manifest))).toBeNull();
  rmSync(dir, { recursive: true });
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void sealOf(bytes)));
});

const hashed = (path: string) => `${sha256("a")}  ./${path}\0`;

test.each([
  ["1 5.5 a\0", 'no hash of "a"'],
  [hashed("a"), 'a hash of "a" and not its size'],
  [`1 5.5 a\0${hashed("b")}`, 'no hash of "a"'],
  ["nonsense\0", 'it holds "nonsense"'],
  [`-1 5.5 a\0${hashed("a")}`, 'it holds "-1 5.5 a"'],
  [`9999999999999999 5.5 a\0${hashed("a")}`, "it holds"],
  ...["../../x", "/etc/passwd", "a//b", "a/", "./a", "a/../b", "."].flatMap((path) => [
    [`1 5.5 ${path}\0${hashed(path)}`, `${JSON.stringify(path)}, which is no path below`],
    [`link ${path}\0`, `${JSON.stringify(path)}, which is no path below`],
  ]),
  [`1 5.5 a\0${"2 6.5 a\0"}${hashed("a")}`, '"a" twice'],
  [`1 5.5 a\0${hashed("a")}${hashed("a")}`, '"a" twice'],
  ["link a\0link a\0", '"a" twice'],
  [`link a\0${"1 5.5 a\0"}${hashed("a")}`, '"a" twice'],
])("a manifest that no script has made is refused at once, and why: %j", async (manifest, why) => {
  const dir = jobRunning("exit 0");
  try {
    writeFileSync(join(dir, ".emx2/manifest.a1.0"), manifest);
    const fault = await readSeal(dir, "output", sha256(manifest)).catch((error) => error);
    expect(fault).toMatchObject({ name: "StorageError", permanent: true, message: expect.stringContaining(why) });
  } finally {
    rmSync(dir, { recursive: true });
  }
});
