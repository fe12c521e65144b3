/** What EMX2 holds in a committed artifact, every hash and size made anew from the bytes. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { StoredArtifact, StoredFile } from "../../src/emulator/state.ts";
import { artifact } from "../../src/emulator/submitter.ts";
import type { Stage } from "./harness.ts";

/** Files by path. Throws where the artifact is not there, not committed, or not what its hashes say. */
export function committed({ state }: Pick<Stage, "state">, artifactId: string | null): ReadonlyMap<string, Uint8Array> {
  if (artifactId === null) throw new Error("the job names no artifact");
  const found = artifact(state, artifactId);
  if (found.status !== "COMMITTED") throw new Error(`artifact ${artifactId} is ${found.status}`);
  const stored = [...found.files.values()];
  for (const { path, content, sha256 } of stored)
    if (content !== null && sha256Of(content) !== sha256) throw new Error(`${path} is not what its hash says`);
  const bytes = stored.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (found.sizeBytes !== bytes)
    throw new Error(`artifact ${artifactId} has ${bytes} bytes and says ${found.sizeBytes}`);
  if (found.sha256 !== treeHash(stored)) throw new Error(`artifact ${artifactId} is not what its hash says`);
  return new Map(stored.map(({ path, content }) => [path, content ?? new Uint8Array()]));
}

/** Of a posix artifact: what lies at its content_url, under each path that EMX2 knows, compared with the hash it was given. */
export function committedInPlace(
  stage: Pick<Stage, "state">,
  artifactId: string | null,
): ReadonlyMap<string, Uint8Array> {
  const files = committed(stage, artifactId);
  const { contentUrl, residence, files: stored } = artifact(stage.state, artifactId ?? "");
  if (residence !== "posix" || contentUrl === null) throw new Error(`artifact ${artifactId} is ${residence}`);
  return new Map(
    [...files.keys()].map((path) => {
      const bytes = readFileSync(join(fileURLToPath(contentUrl), path));
      const told = stored.get(path);
      // 2026-02 keeps what it was told of a file as that file's content.
      const expected = told?.content ? JSON.parse(new TextDecoder().decode(told.content)).sha256 : told?.sha256;
      if (sha256Of(bytes) !== expected) throw new Error(`${path} is not what EMX2 was told`);
      return [path, new Uint8Array(bytes)];
    }),
  );
}

/** A job's artifacts of one kind that hold anything, by the name that the daemon gives them. */
export function artifactsOf({ state }: Pick<Stage, "state">, role: "output" | "log", jobId: string): StoredArtifact[] {
  const name = `${role}-${jobId.slice(0, 8)}`;
  return [...state.artifacts.values()].filter((found) => found.name === name && found.files.size > 0);
}

export function sha256Of(content: Uint8Array | string): string {
  return createHash("sha256").update(content).digest("hex");
}

function treeHash(files: readonly StoredFile[]): string {
  const [only, ...others] = files;
  if (only !== undefined && others.length === 0) return only.sha256 ?? "";
  const lines = files.map(({ path, sha256 }) => ({ path, line: `${path}:${sha256}` }));
  const sorted = lines.sort((a, b) => (a.path < b.path ? -1 : 1));
  return sha256Of(sorted.map(({ line }) => line).join(""));
}
