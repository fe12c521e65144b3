/**
 * Hashes of files that have not changed since they were read: a reference of 200 GB is not read anew for each job. What
 * tells a change is what an open descriptor says of its file. Not mtime alone, which anybody may set back (`touch`, `rsync
 * -t`): ctime is the kernel's, and moves with each write and with each such setting back.
 */
import type { BigIntStats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { type Content, hashFile } from "./file-content.ts";
import type { Progress } from "./storage-fault.ts";

export interface KnownHashes {
  /** undefined: not known of what is at `path` in this state. */
  hashOf(path: string, state: string): string | undefined;
  remember(path: string, state: string, sha256: string): void;
}

/** Time stamps tick once in two seconds at the worst, and a second write within one tick shows nowhere. */
const settledAfterMs = 3_000;
const nsPerMs = 1_000_000n;

export interface Reading {
  /** Where the file really lies. */
  readonly path: string;
  /** A hash that is known counts where it is this one; else the file is read, lest what is remembered fail a job. `any`: it counts. */
  readonly expected: string | { readonly is: "any" } | undefined;
  readonly known: KnownHashes | undefined;
  /** No later than it is by the clock of the file's file system, in milliseconds. */
  now(): Promise<number>;
  readonly progress: Progress;
}

export async function hashUnlessKnown(
  file: FileHandle,
  { path, expected, known, now, progress }: Reading,
): Promise<Pick<Content, "bytes" | "sha256">> {
  if (known === undefined) return hashFile(file, path, progress);
  const before = await factsOf(file);
  const remembered = expected === undefined ? undefined : known.hashOf(path, before.state);
  if (remembered !== undefined && (typeof expected === "object" || remembered === expected))
    return { bytes: before.bytes, sha256: remembered };
  const isSettled = before.changedMs + settledAfterMs <= (await now());
  const content = await hashFile(file, path, progress);
  // As it was before: whatever has touched it meanwhile has left another state behind.
  if (isSettled) known.remember(path, before.state, content.sha256);
  return content;
}

/** In one word. */
export function stateIn({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

async function factsOf(file: FileHandle): Promise<{ state: string; bytes: number; changedMs: number }> {
  const stats = await file.stat({ bigint: true });
  const { size, mtimeNs, ctimeNs } = stats;
  return {
    state: stateIn(stats),
    bytes: Number(size),
    changedMs: Math.max(Number(mtimeNs / nsPerMs), Number(ctimeNs / nsPerMs)),
  };
}
