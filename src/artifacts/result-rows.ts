/**
 * How the files of a job are called in its artifact. A log of the job's own that can not lie beside one of the run's logs,
 * since that has its name or the name of its directory, is moved below `output/` in the artifact, deeper until nothing is
 * there. An escaped name that is another file's, or that of its directory, gets one `%25` more in front, until it is nobody's.
 * The real directory and the simulated one share it.
 */
import type { UploadRole } from "../job/effect.ts";
import type { LeftOut } from "../job/job.ts";
import { FileRows, type ListedRows, nameOf } from "./file-rows.ts";
import { controlDirectory, type FoundFile } from "./manifest.ts";
import { Spool } from "./spool.ts";

/** `place`: by which they are named in turn. */
const tables = "CREATE TABLE moved (place BLOB NOT NULL, file TEXT NOT NULL) STRICT";

export class ResultRows implements Disposable {
  readonly #rows: FileRows;
  /** Files that may have to give way to others, once all are there. */
  #moved: Spool | undefined;
  /** The run's own logs, a handful. */
  readonly #ours = new Map<string, FoundFile>();
  #escaped = 0;

  constructor(role: UploadRole) {
    this.#rows = new FileRows(role);
  }

  add(file: FoundFile): void {
    if (file.directory === controlDirectory) this.#ours.set(file.path, file);
    else if (file.isEscaped) this.#move(file);
    else this.#take(file, file.path);
    if (file.isEscaped) this.#escaped += 1;
  }

  /** All have been added. */
  named(): ListedRows {
    for (const name of this.#ours.keys()) this.#rows.takeOut(name, (file) => this.#move(file as FoundFile));
    // Both loops end: each turn begins with what fewer of the files begin with, and no log is a file called `output`.
    for (const file of this.#inTurn()) if (!this.#collides(file)) this.#takeFree(file, file.path, "%25");
    for (const file of this.#inTurn()) if (this.#collides(file)) this.#takeFree(file, `output/${file.path}`, "output/");
    for (const file of this.#ours.values()) this.#take(file, file.path);
    this.#moved?.[Symbol.dispose]();
    this.#moved = undefined;
    return this.#rows;
  }

  /** Of those that could not keep their names, the first few as they are called now. */
  escaped(maxNames: number): LeftOut | undefined {
    if (this.#escaped === 0) return undefined;
    const names: string[] = [];
    for (const row of this.#rows) {
      if ("isEscaped" in row && row.isEscaped) names.push(row.path);
      if (names.length === maxNames) break;
    }
    return { count: this.#escaped, names };
  }

  [Symbol.dispose](): void {
    this.#moved?.[Symbol.dispose]();
    this.#rows[Symbol.dispose]();
  }

  #take({ path: found, diskPath = found, ...kept }: FoundFile, path: string): void {
    this.#rows.add(path, { ...kept, ...(diskPath === path ? {} : { diskPath }) });
  }

  #takeFree(file: FoundFile, first: string, before: string): void {
    let path = first;
    while (!this.#isFree(path)) path = before + path;
    this.#take(file, path);
  }

  #isFree(path: string): boolean {
    const isTaken = this.#rows.has(path) || this.#rows.hasBelow(path);
    return !isTaken && !parentsOf(path).some((parent) => this.#rows.has(parent));
  }

  #collides({ path }: FoundFile): boolean {
    return this.#ours.has(path.split("/", 1)[0] ?? "");
  }

  #move(file: FoundFile): void {
    this.#moved ??= new Spool(tables);
    const place = nameOf(`${file.path}\0${file.diskPath ?? ""}`);
    this.#moved.run("INSERT INTO moved (place, file) VALUES (?, ?)", place, JSON.stringify(file));
  }

  *#inTurn(): Generator<FoundFile, void> {
    const query = "SELECT file FROM moved ORDER BY place, rowid";
    for (const { file } of this.#moved?.each<{ file: string }>(query) ?? []) yield JSON.parse(file);
  }
}

function parentsOf(path: string): string[] {
  const segments = path.split("/");
  return segments.slice(1).map((_, index) => segments.slice(0, index + 1).join("/"));
}
