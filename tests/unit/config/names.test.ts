import { describe, expect, test } from "bun:test";
import { nearestName } from "../../../src/config/check.ts";
import { excerpt, shellWord } from "../../../src/config/printable.ts";
import { pairOf } from "../../../src/config/profile.ts";

describe("the pair that a profile's key means", () => {
  test.each([
    ["text-embedding:v3/gpu-medium", "text-embedding:v3", "gpu-medium"],
    ["a/b/c", "a/b", "c"],
    ["a:b", "a", "b"],
    ["a:b:c/d:e", "a:b:c", "d:e"],
  ])("%s", (key, processor, profile) => {
    expect(pairOf(key, {})).toEqual({ processor, profile });
  });

  test.each([
    ["a:b:c", "write processor/profile"],
    ["a", "must be processor/profile"],
    ["a/", "on both sides"],
    ["/a", "on both sides"],
    [":a", "on both sides"],
  ])("%s is none", (key, message) => {
    expect(pairOf(key, {})).toContain(message);
  });

  test("what stands inside counts, both or neither", () => {
    expect(pairOf("a:b:c", { processor: "p", profile: "q" })).toEqual({ processor: "p", profile: "q" });
    expect(pairOf("a/b", { processor: "p" })).toContain("both processor and profile");
  });
});

test.each([
  ["poll_intervall_seconds", "poll_interval_seconds"],
  ["maxConcurrentJobs", "max_concurrent_jobs"],
  ["max-concurrent-jobs", "max_concurrent_jobs"],
  ["qos", undefined],
  ["x".repeat(10_000), undefined],
])("%.30s is near to %s", (given, name) => {
  expect(nearestName(given, ["poll_interval_seconds", "max_concurrent_jobs", "state_dir"])).toBe(name);
});

test("what could move the cursor or turn the text around is spelt out", () => {
  expect(excerpt("x".repeat(500)).length).toBeLessThan(100);
  expect(excerpt("\u001b")).toBe('"\\u001b"');
  expect(excerpt("\u202e")).toBe('"\\u202e"');
  expect(shellWord("/a b")).toBe("'/a b'");
  expect(shellWord("/a\u001b[2J")).toBe("'/a\\x1b[2J'");
});
