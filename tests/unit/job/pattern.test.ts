import { expect, test } from "bun:test";
import fc from "fast-check";
import { allowsSubmitter, matchesAny } from "../../../src/job/pattern.ts";

test.each<[string, string, boolean]>([
  ["jo", "jo", true],
  ["jo", "Jo", false],
  ["jo", "*", true],
  ["", "*", true],
  ["jo", "", false],
  ["lab-a", "lab-*", true],
  ["a-lab-", "lab-*", false],
  ["jo@site.org", "*@site.org", true],
  ["jo@siteXorg", "*@site.org", false],
  ["aba", "ab*ba", false],
  ["abXcdYef", "ab*cd*ef", true],
  ["a\nb", "a*b", true],
  ["axbx", "a*x*x", true],
  ["ax", "a*x*x", false],
])("%j against %j: %p", (text, pattern, expected) => {
  expect(matchesAny(text, [pattern])).toBe(expected);
});

test("a pattern matches what its stars were made from, and nothing that lacks a piece", () => {
  const piece = fc.string({ maxLength: 3, unit: fc.constantFrom("a", "b", ".", "(") });
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 4 }), fc.array(piece, { maxLength: 4 }), (pieces, fill) => {
      const text = pieces.map((part, index) => part + (index < pieces.length - 1 ? (fill[index] ?? "") : "")).join("");
      expect(matchesAny(text, [pieces.join("*")])).toBe(true);
      expect(matchesAny(text, [`${pieces.join("*")}*z*`])).toBe(false);
    }),
  );
});

test("a job of nobody's is for those who take everybody's", () => {
  expect(allowsSubmitter(["*"], null)).toBe(true);
  expect(allowsSubmitter(["**"], null)).toBe(true);
  expect(allowsSubmitter(["jo", "lab-*"], null)).toBe(false);
  expect(allowsSubmitter([], null)).toBe(false);
  expect(allowsSubmitter([], "jo")).toBe(false);
});
