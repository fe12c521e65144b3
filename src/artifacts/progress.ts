/**
 * What a workload says of itself, read from its run's output directory: the last whole line of `.hpc_progress.jsonl`, or
 * the one object of `.hpc_progress.json`. Whatever else lies there (links, FIFOs, rubbish, half a line) says nothing.
 * Source: the two generations of the protocol; both files are read of both, the newer one counts.
 */
import type { FileHandle } from "node:fs/promises";
import { errnoOf } from "../errors.ts";
import { type Progress, progressBounds } from "../job/job.ts";
import { openRegular } from "./no-follow.ts";

const linesFile = ".hpc_progress.jsonl";
const wholeFile = ".hpc_progress.json";
/** The file's end alone: a job may write gigabytes of lines. */
const maxReadBytes = 64 * 1024;

/** null: nothing that could be reported. */
export async function readProgress(output: FileHandle): Promise<Progress | null> {
  const lines = await readEnd(output, linesFile);
  const whole = await readEnd(output, wholeFile);
  return progressOf((name) => (name === linesFile ? lines : whole));
}

/** What the files say, of which `fileOf` gives the end. */
export function progressOf(fileOf: (name: string) => End | null): Progress | null {
  const lines = fileOf(linesFile);
  const whole = fileOf(wholeFile);
  const ofLines = lines && lastLine(lines);
  const ofWhole = whole && !whole.cut ? parsed(whole.bytes) : null;
  const wholeIsNewer = lines && whole && whole.mtimeMs > lines.mtimeMs;
  return wholeIsNewer ? (ofWhole ?? ofLines) : (ofLines ?? ofWhole);
}

interface End {
  readonly bytes: Uint8Array;
  /** There is more before `bytes`. */
  readonly cut?: boolean;
  readonly mtimeMs: number;
}

async function readEnd(output: FileHandle, name: string): Promise<End | null> {
  let file: FileHandle | null;
  try {
    file = await openRegular(output, name);
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "EACCES") return null;
    throw error;
  }
  if (file === null) return null;
  try {
    const { size, mtimeMs } = await file.stat();
    const from = Math.max(0, size - maxReadBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    return { bytes: buffer.subarray(0, bytesRead), cut: from > 0, mtimeMs };
  } finally {
    await file.close();
  }
}

const newline = 0x0a;

/** A line is whole once its newline is there; those that are no object of progress are passed over. */
function lastLine({ bytes, cut }: End): Progress | null {
  let end = bytes.lastIndexOf(newline);
  while (end > 0) {
    const begin = bytes.lastIndexOf(newline, end - 1);
    // What stands first of a file's end may be the rest of a longer line.
    if (begin === -1 && cut) return null;
    const found = parsed(bytes.subarray(begin + 1, end));
    if (found) return found;
    end = begin;
  }
  return null;
}

function parsed(bytes: Uint8Array): Progress | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    // RangeError: nested too deep to be parsed.
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError) return null;
    throw error;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const { phase, message, progress } = value as Record<string, unknown>;
  const said = {
    ...text("phase", phase, progressBounds.phaseChars),
    ...text("message", message, progressBounds.messageChars),
    ...(typeof progress === "number" && Number.isFinite(progress)
      ? { fraction: Math.min(1, Math.max(0, progress)) }
      : {}),
  };
  return Object.keys(said).length === 0 ? null : said;
}

/** EMX2 shows it to people, some of them in a terminal: control characters become spaces. */
function text<K extends "phase" | "message">(key: K, value: unknown, maxChars: number): { readonly [P in K]?: string } {
  if (typeof value !== "string") return {};
  const visible = value
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ")
    .trim();
  const cut = visible.length <= maxChars ? visible : visible.slice(0, maxChars).replace(/[\ud800-\udbff]$/, "");
  return (cut === "" ? {} : { [key]: cut }) as { readonly [P in K]?: string };
}
