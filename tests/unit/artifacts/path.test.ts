import { describe, expect, test } from "bun:test";
import { join, normalize } from "node:path";
import fc from "fast-check";
import { checkArtifactPath, findCollision } from "../../../src/artifacts/path.ts";

describe("checkArtifactPath", () => {
  const refusals: readonly [string, string][] = [
    ["is empty", ""],
    ["is absolute", "/etc/passwd"],
    ['has a segment ".."', ".."],
    ['has a segment ".."', "a/../../b"],
    ['has a segment "."', "./d"],
    ["has an empty segment", "a//c"],
    ["has an empty segment", "a/"],
    ["holds a NUL character", "a\0b"],
    ["is not valid Unicode", "\ud800"],
    ["has a segment longer than 255 bytes", "x".repeat(256)],
    ["has a segment longer than 255 bytes", "é".repeat(128)],
    ["is longer than 3584 bytes", Array(40).fill("x".repeat(100)).join("/")],
    ["is more than 64 levels deep", Array(65).fill("d").join("/")],
  ];
  test.each(refusals)("refuses a path that %s", (why, path) => {
    expect(checkArtifactPath(path)).toEqual({ refused: expect.stringContaining(why) });
  });

  test("takes what is odd but legal on disk, unchanged", () => {
    for (const path of ["a\\b", "..a", "a..", "...", "a\nb", "-rf", "$(id)", " ", "%2e%2e", "é".repeat(127), "~"]) {
      expect(checkArtifactPath(path)).toEqual({ ok: [path] });
    }
    expect(checkArtifactPath("a/b/c")).toEqual({ ok: ["a", "b", "c"] });
  });

  test("a message is short and shows no control character, whatever the path", () => {
    const checked = checkArtifactPath(`/\u001b[2J${"x".repeat(10_000)}`);
    const reason = "refused" in checked ? checked.refused : expect.unreachable();
    expect(reason.length).toBeLessThan(300);
    expect(reason).not.toContain("\u001b");
  });

  test("what is taken names a place strictly below the directory, and no other", () => {
    const segment = fc.oneof(fc.constantFrom("..", ".", "", "a", "b", "\\", "..\\.."), fc.string({ unit: "binary" }));
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 6 }), (segments) => {
        const path = segments.join("/");
        const checked = checkArtifactPath(path);
        if ("refused" in checked) return;
        const place = join("/base", path);
        expect(place).toBe(`/base/${path}`);
        expect(normalize(place).startsWith("/base/")).toBe(true);
        expect(Buffer.from(path).toString()).toBe(path);
        expect(checked.ok.join("/")).toBe(path);
      }),
    );
  });
});

describe("findCollision", () => {
  const collisionOf = (paths: readonly string[]) => {
    const all = new Set(paths);
    return findCollision([...paths].sort(), (path) => all.has(path));
  };

  test("a path that occurs twice", () => {
    expect(collisionOf(["a", "b", "a"])).toBe('the path "a" occurs twice');
  });

  test("a file where another file needs a directory, in any order", () => {
    expect(collisionOf(["a/b/c", "a/b"])).toContain('"a/b" is a file');
    expect(collisionOf(["a", "a/b"])).toContain('"a" is a file');
  });

  test("is silent exactly where all files can lie side by side", () => {
    const path = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(path, { maxLength: 6 }), (lists) => {
        const paths = lists.map((segments) => segments.join("/"));
        const clash = paths.some((one, i) => paths.some((other, j) => i !== j && `${other}/`.startsWith(`${one}/`)));
        expect(collisionOf(paths) !== null).toBe(clash);
      }),
    );
  });

  test("siblings that share a beginning do not collide", () => {
    expect(collisionOf(["a", "ab", "a.b/c", "a-b"])).toBeNull();
  });
});
