/** Logs that are too large to go whole, and logs that somebody still writes to. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { Listed } from "../../../src/artifacts/job-files.ts";
import { systemClock } from "../../../src/clock.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import { contentOf, faultOf, ownerOf, sha256, type WorkDirectory, workDirectory } from "./work-directory.ts";

const limit = 1024 * 1024;
const log = ".emx2/slurm-7.out";

let w: WorkDirectory;
beforeEach(async () => {
  w = workDirectory();
  await w.files.create(w.dir, ownerOf());
});
afterEach(() => w[Symbol.dispose]());

const place = () => ({ dir: w.dir, outputDir: "output" });
const list = (maxLogBytes?: number) => w.files.list(place(), "log", { maxLogBytes });
const read = (row: FileRow) => contentOf(w.files.read(place(), row));
const onlyRow = ({ rows: [row, ...others] }: Listed) => (others.length === 0 && row) || expect.unreachable();
const write = (path: string, content: string | Uint8Array) => writeFileSync(join(w.dir, path), content);

describe("a log that is larger than the limit", () => {
  test("is its first and its last part and a line that says what is missing; a smaller one, and any output, is whole", async () => {
    const text = (bytes: number) =>
      fc.string({ unit: fc.constantFrom("a", "b", "\n"), minLength: bytes, maxLength: bytes });
    const content = fc.nat({ max: 300 }).chain(text);
    await fc.assert(
      fc.asyncProperty(content, fc.nat({ max: 300 }), async (full, maxLogBytes) => {
        write(log, full);
        const row = onlyRow(await list(maxLogBytes));
        const sent = await read(row);
        expect([sent.length, sha256(sent)]).toEqual([row.bytes, row.sha256 ?? ""]);
        if (full.length <= maxLogBytes) return expect(sent).toBe(full);
        const part = Math.floor(maxLogBytes / 2);
        const line = `\n[emx2-hpc-daemon: ${full.length - 2 * part} of the ${full.length} bytes of ".emx2/slurm-7.out" are left out here; all of it is in the job's directory on the cluster, while that is kept]\n`;
        expect(sent).toBe(full.slice(0, part) + line + full.slice(full.length - part));
      }),
    );
  });

  test("where it is the run's own, Slurm's or the container's; what the job itself has left is never cut", async () => {
    const big = "x".repeat(100);
    mkdirSync(join(w.dir, "output/deep"));
    for (const path of [log, ".emx2/slurm-7.err", ".emx2/container-stderr.log", "output/deep/own.log", "output/big"])
      write(path, big);
    const { rows } = await list(10);
    expect([...rows].map(({ path, cut }) => [path, cut?.diskBytes])).toEqual([
      ["container-stderr.log", 100],
      ["deep/own.log", undefined],
      ["slurm-7.err", 100],
      ["slurm-7.out", 100],
    ]);
    const outputs = await w.files.list(place(), "output", { maxLogBytes: 10 });
    expect(await read(onlyRow(outputs))).toBe(big);
  });

  test("goes as it was when it was hashed, however much is added; changed otherwise it never goes whole", async () => {
    write(log, Buffer.alloc(3 * limit, "a"));
    const row = onlyRow(await list(2 * limit));
    appendFileSync(join(w.dir, log), "more");
    const sent = await read(row);
    expect([sent.length, sha256(sent)]).toEqual([row.bytes, row.sha256 ?? ""]);
    write(log, Buffer.alloc(3 * limit, "b"));
    expect(await faultOf(read(row))).toMatchObject({ name: "IntegrityError", mismatch: { what: "sha256" } });
    truncateSync(join(w.dir, log), 1);
    expect(await faultOf(read(row))).toMatchObject({ name: "IntegrityError", mismatch: { what: "bytes" } });
  });
});

describe("a log that somebody still writes to", () => {
  async function whileAppending<T>(path: string, work: () => Promise<T>): Promise<T> {
    let settled = false;
    const working = work().finally(() => {
      settled = true;
    });
    while (!settled) {
      appendFileSync(path, "x");
      await systemClock.sleep(0);
    }
    return working;
  }

  test("is named, and taken as far as it was written at the first look", async () => {
    const path = join(w.dir, log);
    writeFileSync(path, Buffer.alloc(32 * limit, "a"));
    const listed = await whileAppending(path, () => list());
    expect(listed.growing).toEqual({ count: 1, names: ['"slurm-7.out"'] });
    const row = onlyRow(listed);
    expect(row.mtimeMs).toBeUndefined();
    expect(statSync(path).size).toBeGreaterThan(row.bytes);
    expect(sha256(await read(row))).toBe(row.sha256 ?? "");
    expect((await list()).growing).toBeUndefined();
  });

  test("is kept as a copy that grows no more", async () => {
    const path = join(w.dir, log);
    const base = join(w.root, "results");
    await w.files.makeOutputBase(base);
    for (const isKnown of [true, false]) {
      writeFileSync(path, "said");
      const { mtimeMs, ...row } = onlyRow(await list());
      if (isKnown) appendFileSync(path, "more");
      await w.files.keepLogs(place(), [isKnown ? { ...row, mtimeMs: mtimeMs ?? 0 } : row], base);
      appendFileSync(path, "and more");
      expect(readFileSync(join(base, "logs/slurm-7.out"), "utf8")).toBe("said");
    }
  });
});
