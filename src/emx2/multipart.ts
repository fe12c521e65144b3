/**
 * What stands around a file's bytes in `multipart/form-data`, by which alone 2026-02 takes more than its 10 MB. Its server
 * reads the parts `file` and `path`. A part `sha256` it would believe and store without looking, so none is sent: the hash
 * in its answer is then its own. (Source: EMX2's ArtifactsApi of that generation.)
 */
import type { Envelope } from "./exchange.ts";

interface EnvelopeOfType extends Envelope {
  readonly contentType: string;
}

/** `boundary`: what no path contains, such as a fresh UUID. */
export function fileEnvelope(path: string, mediaType: string, boundary: string): EnvelopeOfType {
  const head = [
    `--${boundary}`,
    'Content-Disposition: form-data; name="path"',
    "",
    path,
    `--${boundary}`,
    'Content-Disposition: form-data; name="file"; filename="file"',
    `Content-Type: ${mediaType}`,
    "",
    "",
  ];
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    head: Buffer.from(head.join("\r\n")),
    tail: Buffer.from(`\r\n--${boundary}--\r\n`),
  };
}
