import { expect, test } from "bun:test";
import fc from "fast-check";
import { mediaType } from "../../../src/emx2/media-type.ts";

const noKind = "application/octet-stream";

test.each([
  ["slurm-4711.out", "text/plain"],
  ["container-stderr.log", "text/plain"],
  ["a/b.c/table.TSV", "text/tab-separated-values"],
  ["plot.jpeg", "image/jpeg"],
  ["counts.tar.gz", "application/gzip"],
  ["model.h5", "application/x-hdf5"],
  ["t.parquet", "application/vnd.apache.parquet"],
  ["README", noKind],
  [".png", noKind],
  ["d.png/x", noKind],
  ["x.", noKind],
  ["x.constructor", noKind],
])("%s is %s", (path, type) => expect(mediaType(path)).toBe(type));

test.each(["json", "jsonld", "geojson", "ipynb", "JSON", "html", "htm", "xhtml", "svg", "xml", "js", "mjs", "css"])(
  "*.%s goes as bytes of no kind",
  (extension) => expect(mediaType(`x.${extension}`)).toBe(noKind),
);

test("whatever a file is called, its type is none that EMX2 would read or a browser run", () => {
  const name = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("x.md", "x.zip", "x.csv", "x.gif", "x.nc"));
  fc.assert(
    fc.property(name, (path) => {
      const type = mediaType(path);
      expect(type).toMatch(/^[a-z]+\/[a-z0-9.-]+$/);
      expect(type).not.toMatch(/json|xml|html|svg|script|multipart|form/);
    }),
  );
});
