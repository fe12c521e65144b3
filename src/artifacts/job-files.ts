/**
 * The files of a job's directory, behind one seam: the real file system (`job-directory.ts`) or memory (simulation).
 * Every path that is passed in has been checked (`path.ts`) and is relative to the directory named.
 *
 *   <dir>/input/<artifact id>/…   output/  work/  scratch/  (output.<attempt>.<restart>/ … for later runs)   .emx2/
 */
import type { FileRow } from "../job/effect.ts";
import type { LeftOut, Progress } from "../job/job.ts";
import type { Receipts, RunRef } from "../job/run.ts";
import type { InputSource } from "../job/script.ts";
import type { ListedRows } from "./file-rows.ts";
import type { Found } from "./found.ts";
import type { ImageLook } from "./image.ts";
import type { Place } from "./manifest.ts";
import type { PosixRoots } from "./posix-roots.ts";
import type { FoundSource, HashedSource, Placing, WantedSource } from "./source.ts";

export interface JobFiles {
  /**
   * Makes the job directory (0700) and its parts, and takes it with the `owner` file.
   * `foreign`: it belongs to another state directory, whose description is given.
   */
  create(
    dir: string,
    owner: Owner,
  ): Promise<{ readonly is: "ours" } | { readonly is: "foreign"; readonly owner: string }>;
  /** What the directory says of itself, to a daemon whose journal does not know it. `uid`: whose it has to be. */
  find(dir: string, uid: number): Promise<Found>;
  /**
   * Makes it `owner`'s, whoever's it was: the caller knows that nobody else takes care of it. `found`: as it was; a bare one
   * is marked, so that whoever finds it later knows whose run may be in it.
   */
  takeOver(
    dir: string,
    owner: Owner,
    found: Exclude<Found["is"], "nothing" | "stranger">,
  ): Promise<{ readonly is: "ours" } | { readonly is: "foreign"; readonly owner: string }>;
  /** Writes files of ours below `.emx2/`, whole or not at all, fsynced; `mode` 0600 unless executable. */
  writeControl(dir: string, files: readonly ControlFile[]): Promise<void>;
  /** The text of a file of `.emx2/`, at most a megabyte; null: there is none. */
  readControl(dir: string, name: string): Promise<string | null>;
  /** Where a posix input really lies. Refused: nowhere that an input may. */
  findSource(path: string, roots: PosixRoots): Promise<FoundSource>;
  /** A file of a posix input, hashed where it lies, or as it was found before and is still. */
  hashSource(wanted: WantedSource, roots: PosixRoots, signal: AbortSignal): Promise<HashedSource>;
  /** The image of a job with this directory: read once, unless it is as it was when it was read before. */
  lookAtImage(wanted: { readonly dir: string; readonly path: string }, signal: AbortSignal): Promise<ImageLook>;
  /** By what a replaced image is noticed without reading it; undefined: it can not be looked at. */
  imageState(path: string): Promise<string | undefined>;
  /** Makes posix inputs visible at `input/<artifact id>`: as links, or as mount points for containers. */
  placeSources(dir: string, sources: readonly InputSource[], placing: Placing): Promise<void>;
  /** Makes the directory (0750) that outputs and logs stay in. `foreign`: somebody else has made it, or something else. */
  makeOutputBase(base: string): Promise<{ readonly is: "ours" } | { readonly is: "foreign"; readonly owner: string }>;
  /**
   * Streams an input file to its row's place: written under a temporary name in `.emx2/`, hashed on the way, fsynced,
   * renamed. Throws IntegrityError where size or hash differ from the row's.
   */
  writeInput(dir: string, row: FileRow, body: ReadableStream<Uint8Array>): Promise<{ bytes: number; sha256: string }>;
  /** True where the input file is there already with the row's size and hash. */
  hasInput(dir: string, row: FileRow): Promise<boolean>;
  /** Receipts of one attempt. Reading nothing because the directory is not reachable is not the same as an empty directory. */
  receipts(run: RunRef): Promise<Receipts>;
  /**
   * Takes the run's attempt for nobody (`lease.<attempt>` -> `closed`), unless a run has it: from then on none can start.
   * Where the directory is gone there is nothing that a run could take. `begun`: a run has had it, restart and all, and is
   * not to begin again (`closed.<id>`); held then where it has begun once more.
   */
  closeLease(
    run: RunRef,
    begun?: number,
  ): Promise<{ readonly is: "closed" } | { readonly is: "held"; readonly schedulerId: string }>;
  /**
   * Regular files of the outcome's output directory, and what links lead to in it, split into outputs and logs, each hashed;
   * size and mtime held still.
   * What the run has sealed is not read; `unseen`: what should be there by its manifest, and is not, or is not as it was.
   * Of a log that is longer than `maxLogBytes` the first and the last part are taken. `growing`: logs that somebody still
   * writes to, taken as far as they were written when they were first looked at.
   */
  list(place: OutputPlace, role: "output" | "log", how?: Listing): Promise<Listed>;
  /** Puts these logs below `<base>/logs`, each at its `path`, to stay there. */
  keepLogs(place: Place, rows: Iterable<FileRow>, base: string, signal?: AbortSignal): Promise<void>;
  /** The bytes of an output or log. Throws IntegrityError once the file is not the one that the row describes. */
  read(place: Place, row: FileRow): ReadableStream<Uint8Array>;
  /** What the run's workload last said of itself in its output directory; null: nothing. */
  progress(place: OutputPlace): Promise<Progress | null>;
  /** The last lines of the run's stderr, oldest first, as they are: whoever shows them escapes them. */
  stderrTail(dir: string, schedulerId: string | undefined, lines: number): Promise<readonly string[]>;
  /** Removes the job directory, but for what of its own parts is to be kept. */
  remove(dir: string, keep?: readonly string[]): Promise<void>;
}

/** A run's output directory: `<outputBase, or dir>/<outputDir>`. */
export interface OutputPlace extends Place {
  readonly outputDir: string;
  /** SHA-256 of the run's manifest, where it has sealed its outputs. */
  readonly manifestSha256?: string;
}

export interface Listing {
  readonly maxLogBytes?: number | undefined;
  /** Names with characters that somebody might take offence at are percent-escaped. */
  readonly plainNames?: boolean | undefined;
  /** Whoever reads them opens them here: links that only a container could follow are none. */
  readonly readInPlace?: boolean;
  readonly signal?: AbortSignal;
}

export interface Listed {
  readonly rows: ListedRows;
  readonly leftOut: LeftOut;
  /** Those that could not keep their names, as they are called in the artifact. */
  readonly escaped?: LeftOut;
  readonly unseen?: LeftOut;
  readonly growing?: LeftOut;
}

/** Who takes care of a job directory. */
export interface Owner {
  /** UUID of the state (journal), for ever the same. */
  readonly state: string;
  readonly stateDir: string;
  readonly host: string;
  readonly uid: number;
}

export interface ControlFile {
  /** File name in `.emx2/`. */
  readonly name: string;
  readonly content: string | Uint8Array;
  readonly executable?: boolean;
}
