import { expect, test } from "bun:test";
import fc from "fast-check";
import { filePath, query, urlPath } from "../../../src/emx2/url-path.ts";

test("encodes each segment by itself, and all that servers read in two ways", () => {
  expect(filePath("id", "a b/c;d=1/it's (1)*!~/100%/ü?#\\")).toBe(
    "/artifacts/id/files/a%20b/c%3Bd%3D1/it%27s%20%281%29%2A%21~/100%25/%C3%BC%3F%23%5C",
  );
  expect(urlPath("workers", "a/b")).toBe("/workers/a%2Fb");
  expect(query({ status: "A&B", limit: 2 })).toBe("?status=A%26B&limit=2");
});

test("gives what the URL rules leave as it is, so that what is signed is what is sent", () => {
  const names = fc.array(fc.string({ unit: "binary", minLength: 1 }), { minLength: 1 });
  fc.assert(
    fc.property(names, (segments) => {
      fc.pre(segments.every((segment) => segment !== "." && segment !== ".."));
      const path = urlPath(...segments);
      expect(new URL(path, "http://host").pathname).toBe(path);
      expect(path.split("/").slice(1).map(decodeURIComponent)).toEqual(segments);
    }),
  );
});
