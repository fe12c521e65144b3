/**
 * The files of a listing as they go into the journal, sorted as EMX2 hashes the files of an artifact, and numbered. None of
 * them is held: the rows are read as they are asked for, as often as they are, until they are disposed of.
 */
import type { FileRole, FileRow } from "../job/effect.ts";
import { contentHash } from "./manifest.ts";
import { findCollision } from "./path.ts";
import { Spool } from "./spool.ts";

/** What has been listed: to be disposed of once it is written down. */
export interface ListedRows extends Iterable<FileRow>, Disposable {
  readonly total: number;
  readonly bytes: number;
  /** The content hash of all of them as one artifact. */
  readonly sha256: string;
}

export const noRows: ListedRows = {
  ...{ total: 0, bytes: 0, sha256: contentHash([]) },
  [Symbol.iterator]: () => [][Symbol.iterator](),
  [Symbol.dispose]: () => undefined,
};

/** A row but for what the list itself gives it. */
export type Kept = Omit<FileRow, "role" | "index" | "path">;

/** `name`: the path, so that bytes have its order. `id`: a name may be there twice. `row`: a `Kept`. */
const tables = `
  CREATE TABLE file (
    part INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL, sha256 TEXT, row TEXT NOT NULL,
    PRIMARY KEY (part, name, id)
  ) STRICT, WITHOUT ROWID`;

interface Sum {
  readonly files: number;
  readonly bytes: number;
}

const nothing: Sum = { files: 0, bytes: 0 };

/** `part`: the files of one artifact among several, in the order of which they come. */
export class FileRows implements ListedRows {
  readonly #spool = new Spool(tables);
  readonly #role: FileRole;
  readonly #sums = new Map<number, Sum>();
  #nextId = 0;

  constructor(role: FileRole) {
    this.#role = role;
  }

  /** `listedSha256`: what the content hash is made of, if not of the file's own. */
  add(path: string, kept: Kept, part = 0, listedSha256 = kept.sha256): void {
    const values = [part, nameOf(path), this.#nextId++, listedSha256 ?? null, JSON.stringify(kept)] as const;
    this.#spool.run("INSERT INTO file (part, name, id, sha256, row) VALUES (?, ?, ?, ?, ?)", ...values);
    this.#count(part, 1, kept.bytes);
  }

  /** Leaves out all of a part, which may then be listed anew. */
  drop(part: number): void {
    this.#spool.run("DELETE FROM file WHERE part = ?", part);
    this.#sums.delete(part);
  }

  get total(): number {
    return [...this.#sums.values()].reduce((total, { files }) => total + files, 0);
  }

  get bytes(): number {
    return [...this.#sums.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get sha256(): string {
    return this.contentHash(0);
  }

  sumOf(part: number): Sum {
    return this.#sums.get(part) ?? nothing;
  }

  contentHash(part: number): string {
    return contentHash(this.#hashes(part));
  }

  /** Why the files of a part can not lie side by side. */
  collision(part: number): string | null {
    return findCollision(this.#paths(part), (path) => this.has(path, part));
  }

  has(path: string, part = 0): boolean {
    return this.#spool.get("SELECT 1 FROM file WHERE part = ? AND name = ?", part, nameOf(path)) !== null;
  }

  /** Whether a file lies below this path, so that it is a directory. */
  hasBelow(path: string): boolean {
    return this.#spool.get(`SELECT 1 FROM file WHERE ${below}`, ...rangeBelow(path)) !== null;
  }

  /** Lends what is at this path and below it to `use`, and leaves it out. */
  takeOut(path: string, use: (file: Kept & { readonly path: string }) => void): void {
    for (const [where, values] of [
      ["part = 0 AND name = ?", [nameOf(path)]] as const,
      [below, rangeBelow(path)] as const,
    ]) {
      for (const { name, row } of this.#spool.each<Columns>(`SELECT name, row FROM file WHERE ${where}`, ...values)) {
        const kept = JSON.parse(row) as Kept;
        use({ path: pathOf(name), ...kept });
        this.#count(0, -1, -kept.bytes);
      }
      this.#spool.run(`DELETE FROM file WHERE ${where}`, ...values);
    }
  }

  *[Symbol.iterator](): Generator<FileRow, void> {
    let index = 0;
    for (const { name, row } of this.#spool.each<Columns>("SELECT name, row FROM file ORDER BY part, name, id"))
      yield { role: this.#role, index: index++, path: pathOf(name), ...(JSON.parse(row) as Kept) };
  }

  [Symbol.dispose](): void {
    this.#spool[Symbol.dispose]();
  }

  #count(part: number, files: number, bytes: number): void {
    const sum = this.sumOf(part);
    this.#sums.set(part, { files: sum.files + files, bytes: sum.bytes + bytes });
  }

  *#paths(part: number): Generator<string, void> {
    const query = "SELECT name FROM file WHERE part = ? ORDER BY name";
    for (const { name } of this.#spool.each<Pick<Columns, "name">>(query, part)) yield pathOf(name);
  }

  *#hashes(part: number): Generator<Pick<FileRow, "path" | "sha256">, void> {
    const query = "SELECT name, sha256 FROM file WHERE part = ? ORDER BY name, id";
    for (const { name, sha256 } of this.#spool.each<Columns>(query, part))
      yield { path: pathOf(name), ...(sha256 !== null && { sha256 }) };
  }
}

interface Columns {
  readonly name: Uint8Array;
  readonly sha256: string | null;
  readonly row: string;
}

const below = "part = 0 AND name >= ? AND name < ?";

/** `0` comes after `/`. */
function rangeBelow(path: string): readonly [Uint8Array, Uint8Array] {
  return [nameOf(`${path}/`), nameOf(`${path}0`)];
}

/** Big-endian: bytes then compare as UTF-16 code units do. */
export function nameOf(path: string): Uint8Array {
  return Buffer.from(path, "utf16le").swap16();
}

export function pathOf(name: Uint8Array): string {
  return Buffer.from(name).swap16().toString("utf16le");
}
