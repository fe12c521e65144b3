import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  artifactPathOf,
  bytesOfArtifactPath,
  diskPathOf,
  latin,
  ofLatin,
  segmentsOnDisk,
} from "../../../src/artifacts/disk-path.ts";

const row = { role: "output", index: 0, directory: "output", path: "x", bytes: 0 } as const;
const onDisk = (diskPath: string) => segmentsOnDisk({ ...row, diskPath }).map((name) => Buffer.from(name));

/** Of any bytes, often such that are nearly characters or nearly escapes. */
const name = fc
  .oneof(
    fc.uint8Array({ min: 1, minLength: 1, maxLength: 12 }),
    fc
      .array(fc.constantFrom("a", "%", "%FF", "%25", "é", "\u{1f600}", "\ufeff", "\xff", "\xc3", "\xed\xa0\x80"), {
        minLength: 1,
        maxLength: 5,
      })
      .map((parts) =>
        Buffer.concat(parts.map((part) => Buffer.from(part, /^[\x80-\xff]+$/.test(part) ? "latin1" : "utf8"))),
      ),
  )
  .map((bytes) => Buffer.from(bytes))
  .filter((bytes) => !bytes.includes("/") && bytes.toString() !== "." && bytes.toString() !== "..");
const path = fc.array(name, { minLength: 1, maxLength: 4 });
const joined = (names: readonly Uint8Array[]) => ofLatin(names.map(latin).join("/"));
const isUtf8 = (bytes: Uint8Array) => Buffer.from(Buffer.from(bytes).toString()).equals(bytes);

describe("a place on disk", () => {
  test("comes back from its text byte for byte, and the text is one that SQLite, JSON and terminals can hold", () => {
    fc.assert(
      fc.property(path, (names) => {
        const text = diskPathOf(joined(names));
        expect(onDisk(text).slice(1)).toEqual(names);
        expect(text.isWellFormed()).toBe(true);
        expect(text.startsWith("/")).toBe(!isUtf8(joined(names)));
      }),
      { numRuns: 2_000 },
    );
  });

  test("that is UTF-8 is its own text", () => {
    for (const text of ["a b", "100%", "%FF", "\ufeffbom", "e\u0301", "é", "\ufffd", "a\nb"]) {
      expect([diskPathOf(Buffer.from(text)), artifactPathOf(Buffer.from(text), false)]).toEqual([
        text,
        { path: text, isEscaped: false },
      ]);
    }
  });

  test("is checked before anything is opened", () => {
    for (const diskPath of ["/..%FF/..", "/a%FF//b", "/%00%FF", "/./%FF", "../x"])
      expect(() => onDisk(diskPath)).toThrow("unchecked");
  });
});

describe("a path in the artifact", () => {
  test("escapes the names that are not UTF-8 and no others, so that percent-decoding gives them back", () => {
    expect(artifactPathOf(Buffer.from("100%/caf\xe9 10%", "latin1"), false).path).toBe("100%/caf%E9 10%25");
    fc.assert(
      fc.property(path, (names) => {
        const { path: text, isEscaped } = artifactPathOf(joined(names), false);
        expect(isEscaped).toBe(!names.every(isUtf8));
        // A name that is spelt as one that was escaped can not be told from it.
        if (!names.some((bytes) => isUtf8(bytes) && bytes.includes("%")))
          expect(bytesOfArtifactPath(text)).toEqual(joined(names));
        const parts = text.split("/");
        for (const [level, bytes] of names.entries()) {
          const part = parts[level] ?? "";
          const decoded = part.split(/%([0-9A-F]{2})/).map((piece, at) => Buffer.from(piece, at % 2 ? "hex" : "utf8"));
          expect(isUtf8(bytes) ? Buffer.from(part) : Buffer.concat(decoded)).toEqual(bytes);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("of plain names alone is plain or percent-escaped, and percent-decoding gives back which", () => {
    expect(artifactPathOf(Buffer.from("run-1/a b;é.txt"), true)).toEqual({
      path: "run-1/a%20b%3B%C3%A9.txt",
      isEscaped: true,
    });
    fc.assert(
      fc.property(path, (names) => {
        const { path: text, isEscaped } = artifactPathOf(joined(names), true);
        expect(text).toMatch(/^[A-Za-z0-9._~%/-]*$/);
        expect(isEscaped).toBe(text !== joined(names).toString());
        const decoded = text.split(/%([0-9A-F]{2})/).map((piece, at) => Buffer.from(piece, at % 2 ? "hex" : "utf8"));
        expect(Buffer.concat(decoded).equals(joined(names))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
