/** What the files of a job are called in its artifact, and in which order, whichever way they were found. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FileRows } from "../../../src/artifacts/file-rows.ts";
import type { FoundFile } from "../../../src/artifacts/manifest.ts";
import { findCollision } from "../../../src/artifacts/path.ts";
import { ResultRows } from "../../../src/artifacts/result-rows.ts";
import type { UploadRole } from "../../../src/job/effect.ts";
import { hashInMemory, type NumberedRow, rowsInMemory } from "./rows-in-memory.ts";
import { sha256 } from "./work-directory.ts";

function collisionOf(paths: readonly string[]): string | null {
  const all = new Set(paths);
  return findCollision([...paths].sort(), (path) => all.has(path));
}

function numbered(role: UploadRole, files: readonly FoundFile[]): NumberedRow[] {
  using found = new ResultRows(role);
  for (const file of files) found.add(file);
  return [...found.named()];
}

describe("the rows of an artifact", () => {
  const found = (directory: string, path: string): FoundFile => {
    return { directory, path, bytes: 1, mtimeMs: 5, sha256: sha256(path) };
  };

  test("are sorted and numbered, and say what was found", () => {
    const rows = numbered("output", [found("output", "b"), found("output", "a/c"), found("output", "B")]);
    expect(rows.map((row) => [row.index, row.path])).toEqual([
      [0, "B"],
      [1, "a/c"],
      [2, "b"],
    ]);
    expect(rows[0]).toEqual({
      role: "output",
      index: 0,
      directory: "output",
      path: "B",
      bytes: 1,
      mtimeMs: 5,
      sha256: sha256("B"),
    });
  });

  test("a log of the job's own never takes the place of the run's", () => {
    const rows = numbered("log", [
      found("output", "slurm-7.out"),
      found("output", "output/slurm-7.out"),
      found("output", "run.log"),
      found(".emx2", "slurm-7.out"),
    ]);
    expect(rows.map((row) => [row.path, row.directory, row.diskPath])).toEqual([
      ["output/output/slurm-7.out", "output", "slurm-7.out"],
      ["output/slurm-7.out", "output", undefined],
      ["run.log", "output", undefined],
      ["slurm-7.out", ".emx2", undefined],
    ]);
  });

  test("neither do logs in a directory of that name, nor is anything put where a file needs to be a directory", () => {
    const rows = numbered("log", [
      found("output", "slurm-7.out/a.log"),
      found("output", "output/slurm-7.out"),
      found(".emx2", "slurm-7.out"),
    ]);
    expect(rows.map((row) => [row.path, row.diskPath])).toEqual([
      ["output/output/slurm-7.out/a.log", "slurm-7.out/a.log"],
      ["output/slurm-7.out", undefined],
      ["slurm-7.out", undefined],
    ]);
  });

  test("escaped names and moved logs never meet another file, whatever is there and in whatever order it is found", () => {
    const segment = fc.constantFrom("a", "%FF", "%25%FF", "%25", "output", "slurm-7.out", "x.log");
    const file = fc.record({
      ours: fc.constant(false),
      path: fc.array(segment, { minLength: 1, maxLength: 3 }).map((names) => names.join("/")),
      bytes: fc.option(fc.nat({ max: 3 }), { nil: undefined }),
    });
    const found_ = fc.uniqueArray(file, { maxLength: 12, selector: ({ path, bytes }) => `${path} ${bytes}` });
    fc.assert(
      fc.property(found_, fc.boolean(), fc.infiniteStream(fc.nat()), (files, withRunLog, order) => {
        const all: FoundFile[] = files.map(({ path, bytes }) =>
          bytes === undefined
            ? found("output", path)
            : { ...found("output", path), diskPath: `/${path}${bytes}`, isEscaped: true },
        );
        const plain = all.filter(({ isEscaped }) => !isEscaped).map(({ path }) => path);
        // A log is never called so.
        fc.pre(collisionOf(plain) === null && !plain.some((path) => /(^|\/)output$/.test(path)));
        fc.pre(all.every(({ path, isEscaped }) => !isEscaped || path.includes("%")));
        const ours = withRunLog ? [found(".emx2", "slurm-7.out")] : [];
        const rows = numbered("log", [...all, ...ours]);
        expect(collisionOf(rows.map(({ path }) => path))).toBeNull();
        expect(rows).toEqual(rowsInMemory("log", [...all, ...ours]));
        expect(rows).toHaveLength(all.length + ours.length);
        for (const row of rows) {
          if (row.directory === ".emx2") expect(row.path).toBe("slurm-7.out");
          else if (!row.isEscaped && !(withRunLog && /^slurm-7.out(\/|$)/.test(row.diskPath ?? row.path)))
            expect(row.diskPath).toBeUndefined();
        }
        const shuffled = all.map((one) => ({ one, key: order.next().value ?? 0 })).sort((a, b) => a.key - b.key);
        expect(numbered("log", [...ours, ...shuffled.map(({ one }) => one)])).toEqual(rows);
      }),
      { numRuns: 2_000 },
    );
  });
});

/** Of any code units, lone surrogates among them, so that order and bytes are told apart. */
const name = fc.string({
  unit: fc.constantFrom("a", "B", "/", "%", "\uff5e", "\u{1f600}", "\ud800", "\udfff", "\n"),
  minLength: 1,
});

test("order, content hash and sums are those of all files in memory, for any names", () => {
  const file = fc.record({ path: name, bytes: fc.nat({ max: 2 ** 40 }), content: fc.string() });
  fc.assert(
    fc.property(fc.array(file, { maxLength: 20 }), (given) => {
      const files = given.map(({ path, bytes, content }) => ({
        ...{ directory: "output", path, bytes, sha256: sha256(content) },
      }));
      using found = new ResultRows("output");
      for (const each of files) found.add(each);
      const rows = found.named();
      const expected = rowsInMemory("output", files);
      expect([...rows]).toEqual(expected);
      // As often as they are asked for.
      expect([...rows]).toEqual(expected);
      expect(rows.sha256).toBe(hashInMemory(files));
      expect(rows.total).toBe(files.length);
      expect(rows.bytes).toBe(files.reduce((sum, { bytes }) => sum + bytes, 0));
    }),
  );
});

test("several artifacts are one list, each with its own hash and collisions, and one can be listed anew", () => {
  const kept = (path: string) => ({ directory: "input", bytes: 2, sha256: sha256(path) });
  using rows = new FileRows("input");
  for (const path of ["b", "a"]) rows.add(path, kept(path), 0);
  for (const path of ["wrong", "wrong"]) rows.add(path, kept(path), 1);
  expect(rows.collision(0)).toBeNull();
  expect(rows.collision(1)).toBe('the path "wrong" occurs twice');
  rows.drop(1);
  for (const path of ["a/x", "a"]) rows.add(path, kept(path), 1, sha256("listed"));
  expect(rows.collision(1)).toBe('"a" is a file, and "a/x" needs it to be a directory');
  expect([...rows].map(({ index, path }) => [index, path])).toEqual([
    [0, "a"],
    [1, "b"],
    [2, "a"],
    [3, "a/x"],
  ]);
  expect(rows.contentHash(0)).toBe(hashInMemory(["a", "b"].map((path) => ({ path, sha256: sha256(path) }))));
  expect(rows.contentHash(1)).toBe(hashInMemory(["a", "a/x"].map((path) => ({ path, sha256: sha256("listed") }))));
  expect([rows.total, rows.bytes, rows.sumOf(1)]).toEqual([4, 8, { files: 2, bytes: 4 }]);
});
