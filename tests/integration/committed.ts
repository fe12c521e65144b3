/** What EMX2 holds in a committed artifact, every hash and size made anew from the bytes. */
import { createHash } from "node:crypto";
import type { StoredArtifact } from "../../src/emulator/state.ts";
import { artifact } from "../../src/emulator/submitter.ts";
import type { Stage } from "./harness.ts";

/** Files by path. Throws where the artifact is not there, not committed, or not what its hashes say. */
export function committed({ state }: Pick<Stage, "state">, artifactId: string | null): ReadonlyMap<string, Uint8Array> {
  if (artifactId === null) throw new Error("the job names no artifact");
  const found = artifact(state, artifactId);
  if (found.status !== "COMMITTED") throw new Error(`artifact ${artifactId} is ${found.status}`);
  const files = new Map<string, Uint8Array>();
  for (const { path, content, sha256 } of found.files.values()) {
    if (content === null || sha256Of(content) !== sha256) throw new Error(`${path} is not what its hash says`);
    files.set(path, content);
  }
  const bytes = [...files.values()].reduce((sum, content) => sum + content.length, 0);
  if (found.sizeBytes !== bytes)
    throw new Error(`artifact ${artifactId} has ${bytes} bytes and says ${found.sizeBytes}`);
  if (found.sha256 !== treeHash(files)) throw new Error(`artifact ${artifactId} is not what its hash says`);
  return files;
}

/** A job's artifacts of one kind that hold anything, by the name that the daemon gives them. */
export function artifactsOf({ state }: Pick<Stage, "state">, role: "output" | "log", jobId: string): StoredArtifact[] {
  const name = `${role}-${jobId.slice(0, 8)}`;
  return [...state.artifacts.values()].filter((found) => found.name === name && found.files.size > 0);
}

export function sha256Of(content: Uint8Array | string): string {
  return createHash("sha256").update(content).digest("hex");
}

function treeHash(files: ReadonlyMap<string, Uint8Array>): string {
  const [only, ...others] = files.values();
  if (only !== undefined && others.length === 0) return sha256Of(only);
  const lines = [...files.keys()].sort().map((path) => `${path}:${sha256Of(files.get(path) ?? "")}`);
  return sha256Of(lines.join(""));
}
