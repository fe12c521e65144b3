/** Paths below `/api/hpc`, percent-encoded as they go on the wire and into the signature. */
import { ApiError } from "../errors.ts";

export function urlPath(...segments: readonly string[]): string {
  return segments.map((segment) => `/${encodeSegment(segment)}`).join("");
}

/** A file's path in an artifact keeps its slashes: proxies dislike `%2F`. */
export function filePath(artifactId: string, path: string): string {
  return `${urlPath("artifacts", artifactId, "files")}${urlPath(...path.split("/"))}`;
}

export function query(parameters: Readonly<Record<string, string | number>>): string {
  return `?${Object.entries(parameters)
    .map(([name, value]) => `${name}=${encodeSegment(String(value))}`)
    .join("&")}`;
}

/** fetch would resolve `.` and `..`, also as `%2e`, and the request would reach something else than what was signed. */
function encodeSegment(segment: string): string {
  if (segment === "." || segment === ".." || !segment.isWellFormed()) {
    const message = `a path with the segment ${JSON.stringify(segment)} cannot be sent to EMX2`;
    throw new ApiError(message, { status: 400, method: "", path: "", form: "unsent" });
  }
  // encodeURIComponent leaves these, and servers differ in whether they mean the same encoded.
  return encodeURIComponent(segment).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
