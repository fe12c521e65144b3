/**
 * The files of a job's directory, behind one seam: the real file system (`job-directory.ts`) or memory (simulation).
 * Every path that is passed in has been checked (`path.ts`) and is relative to the directory named.
 *
 *   <dir>/input/<artifact id>/…   output/  work/  (output.<attempt>.<restart>/ for later runs)   scratch/   .emx2/
 */
import type { FileRow } from "../job/effect.ts";
import type { Receipts, RunRef } from "../job/run.ts";

export interface JobFiles {
  /**
   * Makes the job directory (0700) and its parts, and takes it with the `owner` file.
   * `foreign`: it belongs to another state directory, whose description is given.
   */
  create(
    dir: string,
    owner: Owner,
  ): Promise<{ readonly is: "ours" } | { readonly is: "foreign"; readonly owner: string }>;
  /** Writes files of ours below `.emx2/`, whole or not at all, fsynced; `mode` 0600 unless executable. */
  writeControl(dir: string, files: readonly ControlFile[]): Promise<void>;
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
   * Where the directory is gone there is nothing that a run could take.
   */
  closeLease(run: RunRef): Promise<{ readonly is: "closed" } | { readonly is: "held"; readonly schedulerId: string }>;
  /** Regular files of the outcome's output directory, split into outputs and logs, each hashed; size and mtime held still. */
  list(dir: string, outputDir: string, role: "output" | "log"): Promise<readonly FileRow[]>;
  /** The bytes of an output or log. Throws IntegrityError once the file is not the one that the row describes. */
  read(dir: string, row: FileRow): ReadableStream<Uint8Array>;
  /** The last lines of the run's stderr, oldest first, as they are: whoever shows them escapes them. */
  stderrTail(dir: string, schedulerId: string | undefined, lines: number): Promise<readonly string[]>;
  remove(dir: string): Promise<void>;
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
