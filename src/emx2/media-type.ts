/**
 * The media type that a file is sent with, by its extension. EMX2 of 2026-02 keeps it and serves the file with it (2026-05
 * guesses for itself), and the signature does not cover it. Two kinds are left out on purpose, and go as bytes of no kind:
 *
 * - What EMX2 reads instead of storing: 2026-05 takes any JSON for a description of a file and drops the content; forms
 *   (`multipart/…`, `application/x-www-form-urlencoded`) are taken apart by the server's framework.
 * - What a browser would run in EMX2's own origin, with the reader's session: HTML, SVG, XML and scripts. A job's output may
 *   be hostile.
 */
export const noKind = "application/octet-stream";

const typesByExtension: ReadonlyMap<string, string> = new Map([
  ...["txt", "log", "out", "err", "md", "fa", "fasta", "fastq", "fq", "vcf", "bed", "gff", "gtf", "sam"].map(
    (extension) => [extension, "text/plain"] as const,
  ),
  ["csv", "text/csv"],
  ["tsv", "text/tab-separated-values"],
  ["tab", "text/tab-separated-values"],
  ["png", "image/png"],
  ["jpg", "image/jpeg"],
  ["jpeg", "image/jpeg"],
  ["gif", "image/gif"],
  ["webp", "image/webp"],
  ["tif", "image/tiff"],
  ["tiff", "image/tiff"],
  ["pdf", "application/pdf"],
  ["gz", "application/gzip"],
  ["tgz", "application/gzip"],
  ["bz2", "application/x-bzip2"],
  ["xz", "application/x-xz"],
  ["zst", "application/zstd"],
  ["zip", "application/zip"],
  ["tar", "application/x-tar"],
  ["h5", "application/x-hdf5"],
  ["hdf5", "application/x-hdf5"],
  ["nc", "application/x-netcdf"],
  ["parquet", "application/vnd.apache.parquet"],
  ["arrow", "application/vnd.apache.arrow.file"],
]);

export function mediaType(path: string): string {
  const [, extension = ""] = /[^/]\.([^./]+)$/.exec(path) ?? [];
  return typesByExtension.get(extension.toLowerCase()) ?? noKind;
}
