/**
 * An answer as data, and how it becomes a Response. From 1,500 bytes on the server compresses for whoever names gzip in
 * `Accept-Encoding`, even as `gzip;q=0`; on a file it then leaves the length of the plain content in `Content-Length`, so
 * that the download never completes (seen on 2026-05).
 */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** A Blob is a large file of this host, and is never compressed. */
  readonly body?: Uint8Array<ArrayBuffer> | Blob;
  /** A file's content: the one body whose compression is broken. */
  readonly download?: boolean;
}

export function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body: new TextEncoder().encode(jsonText(value)),
  };
}

/** No content at all; the server calls it text. */
export function nothing(status: number): Answer {
  const length = status === 204 ? undefined : { "content-length": "0" };
  return { status, headers: { "content-type": "text/plain", ...length } };
}

const compressedFromBytes = 1_500;

export function toResponse(answer: Answer, acceptEncoding: string | null): Response {
  const headers = new Headers(answer.headers);
  const { status, body, download } = answer;
  if (body === undefined) return new Response(null, { status, headers });
  if (body instanceof Blob) {
    headers.set("content-length", String(body.size));
    return new Response(body.stream(), { status, headers });
  }
  if (!acceptEncoding?.includes("gzip") || body.length < compressedFromBytes) {
    headers.set("content-length", String(body.length));
    return new Response(body, { status, headers });
  }
  const compressed = Bun.gzipSync(body);
  headers.set("content-encoding", "gzip");
  headers.set("content-length", String(download ? body.length : compressed.length));
  return new Response(compressed, { status, headers });
}

/**
 * A JSON text that stands in a value as it is: `parameters` and `metadata` come back as they were sent, which JSON.parse
 * and JSON.stringify would not do (`1.0`, integers of twenty digits, keys that look like array indices). JSON.rawJSON
 * takes primitives only.
 */
export class RawJson {
  constructor(readonly text: string) {}
}

/** As JSON.stringify, and knows RawJson. Members that are undefined are left out. */
function jsonText(value: unknown): string {
  if (value instanceof RawJson) return value.text;
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${jsonText(member)}`).join(",")}}`;
}
