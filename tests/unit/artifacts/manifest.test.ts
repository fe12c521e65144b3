import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  contentHash,
  type FoundFile,
  isRunLog,
  numberRows,
  roleOfOutput,
  sumBytes,
} from "../../../src/artifacts/manifest.ts";
import { findCollision } from "../../../src/artifacts/path.ts";
import { sha256 } from "./work-directory.ts";

describe("contentHash", () => {
  test("of one file is the hash of its bytes", () => {
    expect(contentHash([{ path: "any/name", sha256: sha256("hello") }])).toBe(sha256("hello"));
  });

  test("of several is made of path:hash without separators, in the order of UTF-16 code units", () => {
    // In UTF-8 and by code point U+FF5E comes before U+1F600; in UTF-16, whose surrogates are lower, after it.
    const paths = ["b", "\uff5e", "\u{1f600}", "a/z", "a", "B", "a.b"];
    const ordered = ["B", "a", "a.b", "a/z", "b", "\u{1f600}", "\uff5e"];
    const files = paths.map((path) => ({ path, sha256: sha256(path) }));
    expect(contentHash(files)).toBe(sha256(ordered.map((path) => `${path}:${sha256(path)}`).join("")));
  });

  test("agrees with a hash that was made by sha256sum", () => {
    const files = [
      { path: "b.txt", sha256: sha256("b") },
      { path: "a.txt", sha256: sha256("a") },
    ];
    expect(contentHash(files)).toBe("e632ee830a2787084a05c5b5c36c81f8b5aa72812a28f72ef5ed892630c842ed");
  });

  test("is refused where a file has no hash", () => {
    expect(() => contentHash([{ path: "a" }, { path: "b" }])).toThrow("has no hash");
  });
});

test("bytes are summed", () => {
  expect(sumBytes([{ bytes: 2 ** 40 }, { bytes: 0 }, { bytes: 3 }])).toBe(2 ** 40 + 3);
});

describe("roleOfOutput", () => {
  test.each([
    ["slurm-7.out", "log"],
    ["deep/er/slurm-x", "log"],
    ["run.log", "log"],
    ["deep/.log", "log"],
    ["result.log.gz", "output"],
    ["slurm", "output"],
    ["my-slurm-1.out", "output"],
    ["slurm-dir/result.txt", "output"],
    [".hpc_progress.jsonl", null],
    [".hpc_progress.json", null],
    ["sub/.hpc_progress.json", "output"],
    [".hidden", "output"],
  ] as const)("%s: %p", (path, role) => {
    expect(roleOfOutput(path)).toBe(role);
  });
});

test("of the control directory only the run's own logs are uploaded", () => {
  const logs = ["slurm-7.out", "slurm-7.err", "slurm-4711-88.err", "container-stdout.log", "container-stderr.log"];
  const others = ["owner", "job.sh", "environment.sh", "parameters.json", "exit.a1.0", "other.log", "slurm-7"];
  expect([...logs, ...others].filter(isRunLog)).toEqual(logs);
});

describe("numberRows", () => {
  const found = (directory: string, path: string): FoundFile => {
    return { directory, path, bytes: 1, mtimeMs: 5, sha256: sha256(path) };
  };

  test("sorts and numbers, and says what was found", () => {
    const rows = numberRows("output", [found("output", "b"), found("output", "a/c"), found("output", "B")]);
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
    const rows = numberRows("log", [
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
    const rows = numberRows("log", [
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
        fc.pre(findCollision(plain) === null && !plain.includes("output"));
        fc.pre(all.every(({ path, isEscaped }) => !isEscaped || path.includes("%")));
        const ours = withRunLog ? [found(".emx2", "slurm-7.out")] : [];
        const rows = numberRows("log", [...all, ...ours]);
        expect(findCollision(rows.map(({ path }) => path))).toBeNull();
        expect(rows).toHaveLength(all.length + ours.length);
        for (const row of rows) {
          if (row.directory === ".emx2") expect(row.path).toBe("slurm-7.out");
          else if (!row.isEscaped && !(withRunLog && /^slurm-7.out(\/|$)/.test(row.diskPath ?? row.path)))
            expect(row.diskPath).toBeUndefined();
        }
        const shuffled = all.map((one) => ({ one, key: order.next().value ?? 0 })).sort((a, b) => a.key - b.key);
        expect(numberRows("log", [...ours, ...shuffled.map(({ one }) => one)])).toEqual(rows);
      }),
      { numRuns: 2_000 },
    );
  });
});
