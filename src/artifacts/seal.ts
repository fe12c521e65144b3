/**
 * The manifest that the batch script has made of a run's output directory, on the compute node and at the run's end: what
 * has to become visible here, and its hashes, so that this host reads each file once, for the upload. The job may have
 * written it itself, as it may have written the outputs. None of it is held: it may name a million files.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { StorageError } from "../errors.ts";
import { diskPathOf, latin, ofLatin } from "./disk-path.ts";
import { controlDirectory, roleOfOutput } from "./manifest.ts";
import { orNothing } from "./missing.ts";
import { openRegular, withDirectory } from "./no-follow.ts";
import { quote } from "./path.ts";
import { Spool } from "./spool.ts";

/** More than the files of a walk take, unless their names are very long. */
const maxManifestBytes = 512 * 1024 * 1024;
/** More than any path that EMX2 could take. */
const maxRecordBytes = 1024 * 1024;
const chunkBytes = 256 * 1024;

export interface SealedFile {
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly sha256: string;
}

/** `path`: place below the output directory, as `diskPathOf` writes it: names of any bytes are told apart. */
const tables = `
  CREATE TABLE sealed (
    path TEXT PRIMARY KEY, bytes INTEGER, mtime_ms INTEGER, sha256 TEXT, is_link INTEGER NOT NULL DEFAULT 0,
    is_unseen INTEGER NOT NULL DEFAULT 0
  ) WITHOUT ROWID`;

interface Columns {
  readonly bytes: number | null;
  readonly mtime_ms: number | null;
  readonly sha256: string | null;
  readonly is_link: number;
}

/** What a run has sealed, and what of its outputs was not found yet as it was sealed. */
export class Seal implements Disposable {
  readonly #spool = new Spool(tables);

  get(path: string): SealedFile | "link" | undefined {
    const row = this.#spool.get<Columns>("SELECT bytes, mtime_ms, sha256, is_link FROM sealed WHERE path = ?", path);
    if (row === null) return undefined;
    const { bytes, mtime_ms: mtimeMs, sha256 } = row;
    if (bytes !== null && mtimeMs !== null && sha256 !== null) return { bytes, mtimeMs, sha256 };
    return row.is_link ? "link" : undefined;
  }

  found(path: string): void {
    this.#spool.run("UPDATE sealed SET is_unseen = 0 WHERE path = ?", path);
  }

  /** What is shown at `path` is not what was sealed. */
  missed(path: string): void {
    const query = "INSERT INTO sealed (path, is_unseen) VALUES (?, 1) ON CONFLICT (path) DO UPDATE SET is_unseen = 1";
    this.#spool.run(query, path);
  }

  /** How many outputs were not found, and the first few of them. */
  unseen(maxNames: number): { readonly count: number; readonly names: readonly string[] } {
    const { count = 0 } =
      this.#spool.get<{ count: number }>("SELECT count(*) AS count FROM sealed WHERE is_unseen") ?? {};
    const query = "SELECT path FROM sealed WHERE is_unseen ORDER BY path LIMIT ?";
    const names = [...this.#spool.each<{ path: string }>(query, maxNames)].map(({ path }) => path);
    return { count, names };
  }

  namesNoOutput(): boolean {
    return this.#spool.get("SELECT 1 FROM sealed WHERE is_unseen AND NOT is_link LIMIT 1") === null;
  }

  /** What is wrong with a record, if anything is. */
  take(record: string): string | undefined {
    const [, sha256, hashed] = /^([0-9a-f]{64}) [ *]\.\/(.+)$/s.exec(record) ?? [];
    const [, bytes, seconds, fraction = "", listed] =
      /^(\d{1,16}) (-?\d{1,12})(?:\.(\d{1,12}))? (.+)$/s.exec(record) ?? [];
    const [, link] = /^link (.+)$/s.exec(record) ?? [];
    const path = link ?? hashed ?? listed;
    if (path === undefined || Number(bytes ?? 0) > Number.MAX_SAFE_INTEGER) return `it holds ${quote(shown(record))}`;
    if (path.split("/").some((name) => ["", ".", ".."].includes(name)))
      return `it names ${quote(shown(path))}, which is no path below the output directory`;
    const facts =
      link !== undefined
        ? { is_link: 1 }
        : sha256 !== undefined
          ? { sha256 }
          : {
              bytes: Number(bytes),
              mtime_ms: Number(seconds) * 1_000 + Number(fraction.padEnd(3, "0").slice(0, 3)),
            };
    return this.#put(path, facts) ? undefined : `it names ${quote(shown(path))} twice`;
  }

  /** A file that is named without its hash, or the other way round. */
  half(): string | undefined {
    const query = "SELECT path, sha256 FROM sealed WHERE (bytes IS NULL) <> (sha256 IS NULL) LIMIT 1";
    const row = this.#spool.get<{ path: string; sha256: string | null }>(query);
    if (row === null) return undefined;
    return row.sha256 === null
      ? `it has no hash of ${quote(row.path)}`
      : `it has a hash of ${quote(row.path)} and not its size`;
  }

  [Symbol.dispose](): void {
    this.#spool[Symbol.dispose]();
  }

  /**
   * Of a path, facts and hash come apart, each of them once, and false is said of the second. Logs are still written to while
   * the outputs are sealed: none is missed.
   */
  #put(latinPath: string, facts: Partial<Columns>): boolean {
    const path = diskPathOf(ofLatin(latinPath));
    const values = { path, is_unseen: roleOfOutput(path) === "output" ? 1 : 0, ...facts };
    const columns = Object.keys(values);
    const names = Object.keys(facts);
    const set = names.map((column) => `${column} = excluded.${column}`);
    const isFirst = ["NOT is_link", ...names.map((column) => (column === "is_link" ? "FALSE" : `${column} IS NULL`))];
    return (
      this.#spool.run(
        `INSERT INTO sealed (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})
         ON CONFLICT (path) DO UPDATE SET ${set.join(", ")} WHERE ${isFirst.join(" AND ")}`,
        ...Object.values(values),
      ) > 0
    );
  }
}

/**
 * null: the one that its receipt speaks of is not there (yet), and nobody can tell what has to be. Throws a permanent
 * StorageError where it is there and no script can have made it: what it names will never show.
 */
export async function readSeal(
  dir: string,
  outputDir: string,
  manifestSha256: string,
  step: () => void = () => undefined,
): Promise<Seal | null> {
  const run = outputDir === "output" ? "a1.0" : outputDir.replace(/^output\./, "");
  const readIn = async (control: FileHandle) => {
    await using file = await orNothing(dir, () => openRegular(control, `manifest.${run}`), undefined);
    if (file === undefined) return null;
    if (file === null) throw unbelievable(run, "it is no regular file");
    if ((await file.stat()).size > maxManifestBytes) throw tooLong(run);
    const reading = new SealReading();
    using scope = new DisposableStack();
    scope.use(reading.seal);
    const hash = createHash("sha256");
    for await (const chunk of chunksOf(file)) {
      step();
      hash.update(chunk);
      reading.push(chunk);
    }
    if (hash.digest("hex") !== manifestSha256) return null;
    const broken = reading.end();
    if (broken !== undefined) throw unbelievable(run, broken);
    scope.move();
    return reading.seal;
  };
  return await orNothing(dir, () => withDirectory(dir, [controlDirectory], readIn), null);
}

function tooLong(run: string): StorageError {
  const path = `${controlDirectory}/manifest.${run}`;
  const message = `the list of the outputs, ${path}, is longer than ${maxManifestBytes} bytes: pack files that are so many into fewer (tar, zip)`;
  return new StorageError(message, { code: "EFBIG", syscall: "read", path, permanent: true });
}

function unbelievable(run: string, why: string): StorageError {
  const path = `${controlDirectory}/manifest.${run}`;
  const message = `the list of the outputs, ${path}, is not as the batch script writes it: ${why}; has the job written to ${controlDirectory}?`;
  return new StorageError(message, { code: "EINVAL", syscall: "read", path, permanent: true });
}

/** As far as it may go, if it grows meanwhile: it is another then than the one that is looked for. */
async function* chunksOf(file: FileHandle): AsyncGenerator<Uint8Array, void> {
  const buffer = Buffer.allocUnsafe(chunkBytes);
  for (let at = 0; at <= maxManifestBytes; ) {
    const { bytesRead } = await file.read(buffer, 0, chunkBytes, at);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** `broken`: what no script lists, such as a path that leads out, one that is named twice, or a file without its hash. */
export function sealOf(manifest: Uint8Array): Seal | { readonly broken: string } {
  const reading = new SealReading();
  reading.push(manifest);
  const broken = reading.end();
  if (broken === undefined) return reading.seal;
  reading.seal[Symbol.dispose]();
  return { broken };
}

/** Records end with NUL, wherever chunks do. */
class SealReading {
  readonly seal = new Seal();
  #rest = "";
  #broken: string | undefined;

  push(chunk: Uint8Array): void {
    if (this.#broken !== undefined) return;
    const records = (this.#rest + latin(chunk)).split("\0");
    this.#rest = records.pop() ?? "";
    for (const record of records) this.#take(record);
    if (this.#rest.length > maxRecordBytes) this.#broken ??= `it holds ${quote(shown(this.#rest))}`;
  }

  /** Why it is no manifest. */
  end(): string | undefined {
    this.#take(this.#rest);
    return this.#broken ?? this.seal.half();
  }

  #take(record: string): void {
    if (record !== "") this.#broken ??= this.seal.take(record);
  }
}

function shown(latinText: string): string {
  return ofLatin(latinText).toString();
}
