import { expect, test } from "bun:test";
import fc from "fast-check";
import { filePath, query, urlPath } from "../../../src/emx2/url-path.ts";

test("encodes each segment by itself, and all that servers read in two ways", () => {
  const path = "a b/c;d=1/it's (1)*!~/100%/ü?#\\";
  const encoded = "a%20b/c%3Bd%3D1/it%27s%20%281%29%2A%21~/100%25/%C3%BC%3F%23%5C";
  expect(filePath("id", path, "2026-05")).toBe(`/artifacts/id/files/${encoded}`);
  expect(filePath("id", path, "2026-02")).toBe(`/artifacts/id/files/${encoded.replaceAll("/", "%2F")}`);
  expect(urlPath("workers", "a/b")).toBe("/workers/a%2Fb");
  expect(query({ status: "A&B", limit: 2 })).toBe("?status=A%26B&limit=2");
});

test.each([
  ["2026-02", 255],
  ["2026-05", 1_024],
] as const)("refuses by name a path that is longer than %s stores", (generation, maxChars) => {
  const path = `d/${"x".repeat(maxChars - 2)}`;
  expect(filePath("id", path, generation)).toEndWith("x");
  const longer = `${path}y`;
  expect(() => filePath("id", longer, generation)).toThrow(
    `${longer.slice(0, 80)}…" has ${maxChars + 1} characters; EMX2 (${generation}) takes at most ${maxChars}`,
  );
});

test("gives what the URL rules leave as it is, so that what is signed is what is sent", () => {
  const names = fc.array(fc.string({ unit: "binary", minLength: 1 }), { minLength: 1 });
  fc.assert(
    fc.property(names, (segments) => {
      fc.pre(segments.every((segment) => segment !== "." && segment !== ".."));
      const path = urlPath(...segments);
      expect(new URL(path, "http://host").pathname).toBe(path);
      const inOne = filePath("id", segments.join("/"), "2026-02");
      expect(new URL(inOne, "http://host").pathname).toBe(inOne);
      expect(path.split("/").slice(1).map(decodeURIComponent)).toEqual(segments);
    }),
  );
});
