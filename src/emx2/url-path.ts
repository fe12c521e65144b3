/** Paths below `/api/hpc`, percent-encoded as they go on the wire and into the signature. */
import { ApiError } from "../errors.ts";
import type { Generation } from "./generation.ts";

export function urlPath(...segments: readonly string[]): string {
  return segments.map((segment) => `/${encodeSegment(segment)}`).join("");
}

/** The longest path of a file that EMX2 stores, in characters. */
const maxPathChars: Readonly<Record<Generation, number>> = { "2026-02": 255, "2026-05": 1_024 };

/** A file's path in an artifact keeps its slashes, since proxies dislike `%2F`; 2026-02 knows paths of one segment alone. */
export function filePath(artifactId: string, path: string, generation: Generation): string {
  const maxChars = maxPathChars[generation];
  if (path.length > maxChars) {
    const name = JSON.stringify(`${path.slice(0, 80).toWellFormed()}…`);
    throw unsent(`the path ${name} has ${path.length} characters; EMX2 (${generation}) takes at most ${maxChars}`);
  }
  const segments = path.split("/").map(encodeSegment);
  return `${urlPath("artifacts", artifactId, "files")}/${segments.join(generation === "2026-02" ? "%2F" : "/")}`;
}

export function query(parameters: Readonly<Record<string, string | number>>): string {
  return `?${Object.entries(parameters)
    .map(([name, value]) => `${name}=${encodeSegment(String(value))}`)
    .join("&")}`;
}

/** fetch would resolve `.` and `..`, also as `%2e`, and the request would reach something else than what was signed. */
function encodeSegment(segment: string): string {
  if (segment === "." || segment === ".." || !segment.isWellFormed()) {
    throw unsent(`a path with the segment ${JSON.stringify(segment)} cannot be sent to EMX2`);
  }
  // encodeURIComponent leaves these, and servers differ in whether they mean the same encoded.
  return encodeURIComponent(segment).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** What can not be sent as it is, and is refused here. */
export function unsent(message: string): ApiError {
  return new ApiError(message, { status: 400, method: "", path: "", form: "unsent" });
}
