/**
 * What the shell backend has on disk of a run, in `.emx2/`, so that every later daemon goes on where this one ended:
 *
 *   began.<id>     {v, startedAt, limitMs}      written by the launcher before the script's first line
 *   ending.<id>    {v, by, at, uid, termAt}     its end was asked for; termAt: when it was sent TERM
 *
 * Instants are wall clock milliseconds. Of the script's own files only the exit receipt is read here. A job could have
 * written any of them: what is not as it should be is none.
 */
import { constants } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import type { Clock } from "../clock.ts";
import { errnoOf, isSystemError } from "../errors.ts";
import type { RunRef } from "../job/run.ts";
import { answered } from "./answered.ts";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));

const Began = v.object({ v: v.literal(1), startedAt: count, limitMs: v.nullable(count) });
export type Began = Readonly<v.InferOutput<typeof Began>>;

const Ending = v.object({
  v: v.literal(1),
  /** The state that it ends in. */
  by: v.picklist(["CANCELLED", "TIMEOUT"]),
  at: count,
  uid: count,
  termAt: v.nullable(count),
});
export type Ending = Readonly<v.InferOutput<typeof Ending>>;

const Exit = v.object({
  attempt: v.string(),
  job: v.string(),
  start: count,
  end: count,
  exit: v.pipe(v.number(), v.integer(), v.maxValue(255)),
  signal: v.nullable(v.string()),
});
export type Exit = Readonly<v.InferOutput<typeof Exit>>;

/** A run, and the id it has here. */
export interface Known {
  readonly run: RunRef;
  readonly id: string;
}

export function beganFile(run: RunRef, id: string): string {
  return join(run.dir, ".emx2", `began.${id}`);
}

export async function beganOf({ run, id }: Known, clock: Clock): Promise<Began | undefined> {
  return read(beganFile(run, id), Began, clock);
}

/** Nothing here is ever requeued, so that the restart count is 0. */
export async function exitOf({ run, id }: Known, clock: Clock): Promise<Exit | undefined> {
  const receipt = await read(join(run.dir, ".emx2", `exit.${run.attempt}.0`), Exit, clock);
  return receipt?.job === id && receipt.attempt === run.attempt ? receipt : undefined;
}

export interface Endings {
  of(known: Known): Promise<Ending | undefined>;
  put(known: Known, ending: Ending): Promise<void>;
}

/** Of endings that no disk has taken; each is of a run that goes on. */
const maxKept = 1_000;

/** A job is often ended because it has filled the disk: what can not be written there is kept here, until it can. */
export function createEndings(clock: Clock): Endings {
  const kept = new Map<string, Ending>();
  return {
    async of(known) {
      return kept.get(known.id) ?? (await read(endingFile(known), Ending, clock));
    },
    async put(known, ending) {
      kept.delete(known.id);
      try {
        await write(endingFile(known), `${JSON.stringify(ending)}\n`, clock);
      } catch (error) {
        if (!isSystemError(error)) throw error;
        const [oldest] = kept.keys();
        if (kept.size >= maxKept && oldest !== undefined) kept.delete(oldest);
        kept.set(known.id, ending);
      }
    },
  };
}

function endingFile({ run, id }: Known): string {
  return join(run.dir, ".emx2", `ending.${id}`);
}

const maxRecordBytes = 64 * 1024;
/** Neither a link is followed, nor a FIFO that nobody writes to waited for. */
const asRecord = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

function read<S extends v.GenericSchema>(path: string, schema: S, clock: Clock): Promise<v.InferOutput<S> | undefined> {
  return answered(clock, path, async () => {
    await using file = await openRecord(path);
    const status = await file?.stat();
    if (!file || !status?.isFile() || status.size > maxRecordBytes) return undefined;
    const text = await file.readFile("utf8");
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
    return parsed.success ? parsed.output : undefined;
  });
}

/** null: there is none, or something that is none. */
async function openRecord(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, asRecord);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"].includes(errnoOf(error) ?? "")) return null;
    throw error;
  }
}

function write(path: string, text: string, clock: Clock): Promise<void> {
  return answered(clock, path, async () => {
    // A look and a cancel may both write at the same moment.
    const part = `${path}.${clock.uuid()}.part`;
    await using file = await open(part, "wx", 0o600);
    await file.writeFile(text);
    await file.sync();
    await rename(part, path);
  });
}
