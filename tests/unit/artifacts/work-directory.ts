/** A temporary directory and a real job directory in it, for the tests of this folder. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createJobDirectory } from "../../../src/artifacts/job-directory.ts";
import type { JobFiles, Owner } from "../../../src/artifacts/job-files.ts";
import { systemClock } from "../../../src/clock.ts";
import type { FileRow } from "../../../src/job/effect.ts";
import type { Log } from "../../../src/log.ts";

export const state = "11111111-1111-4111-8111-111111111111";
export const jobId = "550e8400-e29b-41d4-a716-446655440000";
export const artifactId = "6b2f8c1e-0000-4000-8000-000000000001";

export function ownerOf(ownState = state): Owner {
  return { state: ownState, stateDir: "/var/state", host: "head", uid: process.geteuid?.() ?? 0 };
}

export interface WorkDirectory extends Disposable {
  readonly root: string;
  /** The job's directory, not yet created. */
  readonly dir: string;
  readonly files: JobFiles;
  readonly warnings: string[];
}

export function workDirectory(): WorkDirectory {
  const root = mkdtempSync(join(tmpdir(), "emx2-artifacts-"));
  const warnings: string[] = [];
  return {
    root,
    dir: join(root, jobId),
    files: createJobDirectory({ clock: systemClock, state, log: recordingLog(warnings) }),
    warnings,
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

export function recordingLog(warnings: string[]): Log {
  const log: Log = {
    error: (message) => warnings.push(message),
    warn: (message) => warnings.push(message),
    info: () => {},
    debug: () => {},
    child: () => log,
  };
  return log;
}

export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

export function inputRow(path: string, content: string | Uint8Array, index = 0): FileRow {
  const bytes = Buffer.byteLength(content);
  const directory = `input/${artifactId}`;
  return { role: "input", index, directory, artifactId, path, bytes, sha256: sha256(content) };
}

export function streamOf(...chunks: (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(Buffer.from(chunk));
      controller.close();
    },
  });
}

export async function contentOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  return new Response(stream).text();
}

export async function faultOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: unknown) => error,
  );
}
