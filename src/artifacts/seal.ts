/**
 * The manifest that the batch script has made of a run's output directory, on the compute node and at the run's end: what
 * has to become visible here, and its hashes, so that this host reads each file once, for the upload. The job may have
 * written it itself, as it may have written the outputs. None of it is held: it may name a million files.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { diskPathOf, latin, ofLatin } from "./disk-path.ts";
import { controlDirectory, roleOfOutput } from "./manifest.ts";
import { orNothing } from "./missing.ts";
import { openRegular, withDirectory } from "./no-follow.ts";
import { Spool } from "./spool.ts";

/** More than the files of a walk take, unless their names are very long. */
const maxManifestBytes = 256 * 1024 * 1024;
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

  *paths(): Generator<string, void> {
    for (const { path } of this.#spool.each<{ path: string }>("SELECT path FROM sealed ORDER BY path")) yield path;
  }

  /** False: it is no record of a manifest. */
  take(record: string): boolean {
    const [, sha256, hashed] = /^([0-9a-f]{64}) [ *]\.\/(.+)$/s.exec(record) ?? [];
    if (sha256 !== undefined && hashed !== undefined) {
      this.#put(hashed, { sha256 });
      return true;
    }
    const [, link] = /^link (.+)$/s.exec(record) ?? [];
    if (link !== undefined) {
      this.#put(link, { is_link: 1 });
      return true;
    }
    const [, bytes, seconds, fraction = "", path] =
      /^(\d{1,16}) (-?\d{1,12})(?:\.(\d{1,12}))? (.+)$/s.exec(record) ?? [];
    if (bytes === undefined || seconds === undefined || path === undefined) return false;
    const mtimeMs = Number(seconds) * 1_000 + Number(fraction.padEnd(3, "0").slice(0, 3));
    this.#put(path, { bytes: Number(bytes), mtime_ms: mtimeMs });
    return true;
  }

  /** False: a file is named without its hash, or the other way round. */
  isWhole(): boolean {
    const half = "SELECT 1 FROM sealed WHERE (bytes IS NULL) <> (sha256 IS NULL) LIMIT 1";
    return this.#spool.get(half) === null;
  }

  [Symbol.dispose](): void {
    this.#spool[Symbol.dispose]();
  }

  /** Of a path, facts and hash come apart. Logs are still written to while the outputs are sealed: none is missed. */
  #put(latinPath: string, facts: Partial<Columns>): void {
    const path = diskPathOf(ofLatin(latinPath));
    const values = { path, is_unseen: roleOfOutput(path) === "output" ? 1 : 0, ...facts };
    const columns = Object.keys(values);
    const set = Object.keys(facts).map((column) => `${column} = excluded.${column}`);
    this.#spool.run(
      `INSERT INTO sealed (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})
       ON CONFLICT (path) DO UPDATE SET ${set.join(", ")}`,
      ...Object.values(values),
    );
  }
}

/** null: the one that its receipt speaks of is not there (yet), and nobody can tell what has to be. */
export async function readSeal(
  dir: string,
  outputDir: string,
  manifestSha256: string,
  step: () => void = () => undefined,
): Promise<Seal | null> {
  const run = outputDir === "output" ? "a1.0" : outputDir.replace(/^output\./, "");
  return await withDirectory(dir, [controlDirectory], async (control) => {
    await using file = await orNothing(dir, () => openRegular(control, `manifest.${run}`), null);
    if (file === null || (await file.stat()).size > maxManifestBytes) return null;
    const reading = new SealReading();
    using scope = new DisposableStack();
    scope.use(reading.seal);
    const hash = createHash("sha256");
    for await (const chunk of chunksOf(file)) {
      step();
      hash.update(chunk);
      reading.push(chunk);
    }
    if (hash.digest("hex") !== manifestSha256 || !reading.end()) return null;
    scope.move();
    return reading.seal;
  });
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

/** null: a record is none, or a file is named without its hash, or the other way round. */
export function sealOf(manifest: Uint8Array): Seal | null {
  const reading = new SealReading();
  reading.push(manifest);
  if (reading.end()) return reading.seal;
  reading.seal[Symbol.dispose]();
  return null;
}

/** Records end with NUL, wherever chunks do. */
class SealReading {
  readonly seal = new Seal();
  #rest = "";
  #isOdd = false;

  push(chunk: Uint8Array): void {
    if (this.#isOdd) return;
    const records = (this.#rest + latin(chunk)).split("\0");
    this.#rest = records.pop() ?? "";
    this.#isOdd = this.#rest.length > maxRecordBytes || !records.every((record) => this.#take(record));
  }

  /** False: it is no manifest. */
  end(): boolean {
    return !this.#isOdd && this.#take(this.#rest) && this.seal.isWhole();
  }

  #take(record: string): boolean {
    return record === "" || this.seal.take(record);
  }
}
