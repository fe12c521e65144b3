import { describe, expect, test } from "bun:test";
import { FileRows } from "../../../src/artifacts/file-rows.ts";
import { contentHash, isRunLog, roleOfOutput } from "../../../src/artifacts/manifest.ts";
import { sha256 } from "./work-directory.ts";

describe("contentHash", () => {
  test("of one file is the hash of its bytes", () => {
    expect(contentHash([{ path: "any/name", sha256: sha256("hello") }])).toBe(sha256("hello"));
  });

  test("of several is made of path:hash without separators, in the order of UTF-16 code units", () => {
    // In UTF-8 and by code point U+FF5E comes before U+1F600; in UTF-16, whose surrogates are lower, after it.
    const paths = ["b", "\uff5e", "\u{1f600}", "a/z", "a", "B", "a.b"];
    const ordered = ["B", "a", "a.b", "a/z", "b", "\u{1f600}", "\uff5e"];
    using rows = new FileRows("output");
    for (const path of paths) rows.add(path, { directory: "output", bytes: 1, sha256: sha256(path) });
    expect(rows.sha256).toBe(sha256(ordered.map((path) => `${path}:${sha256(path)}`).join("")));
  });

  test("agrees with a hash that was made by sha256sum", () => {
    const files = [
      { path: "a.txt", sha256: sha256("a") },
      { path: "b.txt", sha256: sha256("b") },
    ];
    expect(contentHash(files)).toBe("e632ee830a2787084a05c5b5c36c81f8b5aa72812a28f72ef5ed892630c842ed");
  });

  test("is refused where a file has no hash", () => {
    expect(() => contentHash([{ path: "a" }, { path: "b" }])).toThrow("has no hash");
  });
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
