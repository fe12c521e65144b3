/** The rows of the journal: what each record writes, and how it is read back. Every statement is prepared once. */
import type { Database } from "bun:sqlite";
import { type Effect, type FileRole, type FileRow, type JobEvent, laneOf } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { JobId } from "../job/run.ts";
import type { InDoubt, Recorded } from "./journal.ts";

/** Events and results are kept for a person to read, and parts of them were written by strangers. */
const maxStringLength = 4_096;
const maxArrayLength = 256;

export class Tables {
  readonly #sql: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#sql = prepare(database);
  }

  /** To be called within a transaction. */
  write(entries: readonly Recorded[]): void {
    const jobs = new Map<JobId, Job>();
    for (const { event, job, begin, end, files } of entries) {
      this.#sql.addEvent.run(job.id, Math.round(event.at), kindOf(event), boundedJson(event));
      if (begin) this.#begin(job.id, begin.effectId, begin.effect);
      if (end) this.#end(job.id, end.effectId, boundedJson(end.result));
      if (files) this.#replaceFiles(job.id, files);
      jobs.set(job.id, job);
    }
    for (const job of jobs.values()) this.#sql.putJob.run(job.id, JSON.stringify(job));
  }

  jobs(): Job[] {
    return this.#sql.jobs.all().map(({ json }) => JSON.parse(json) as Job);
  }

  inDoubt(): InDoubt[] {
    return this.#sql.inDoubt
      .all()
      .map(({ id, job, intent }) => ({ jobId: job, effectId: id, effect: JSON.parse(intent) as Effect }));
  }

  files(jobId: JobId, role: FileRole, from: number, maxFiles: number): FileRow[] {
    return this.#sql.files.all(jobId, role, from, maxFiles).map(fileRow);
  }

  inputBytesFrom(jobId: JobId, index: number): number {
    return this.#sql.inputBytesFrom.get(jobId, index)?.bytes ?? 0;
  }

  history(jobId: JobId): { at: number; event: JobEvent }[] {
    return this.#sql.history.all(jobId).map(({ at, json }) => ({ at, event: JSON.parse(json) as JobEvent }));
  }

  forget(jobId: JobId): void {
    for (const remove of [this.#sql.removeJob, this.#sql.removeEffects, this.#sql.removeFiles]) remove.run(jobId);
  }

  prune(beforeMs: number): void {
    this.#sql.prune.run(beforeMs);
  }

  #begin(jobId: JobId, effectId: string, effect: Effect): void {
    this.#sql.begin.run(effectId, jobId, laneOf(effect), effect.kind, JSON.stringify(effect));
  }

  #end(jobId: JobId, effectId: string, result: string): void {
    const { changes } = this.#sql.end.run(result, effectId, jobId);
    if (changes !== 1) throw new Error(`job ${jobId}: effect ${effectId} ended without having begun`);
  }

  #replaceFiles(jobId: JobId, files: Iterable<FileRow>): void {
    const replaced = new Set<FileRole>();
    for (const row of files) {
      if (!replaced.has(row.role)) this.#sql.removeFilesOfRole.run(jobId, row.role);
      replaced.add(row.role);
      const { role, index, directory, artifactId, path, diskPath, bytes, sha256, mtimeMs, cut } = row;
      const { diskBytes, partBytes } = cut ?? {};
      const optional = [artifactId, diskPath, sha256, mtimeMs, diskBytes, partBytes].map((value) => value ?? null);
      this.#sql.addFile.run(jobId, role, index, directory, path, bytes, ...optional);
    }
  }
}

interface FileColumns {
  readonly role: FileRole;
  readonly idx: number;
  readonly directory: string;
  readonly artifact_id: string | null;
  readonly path: string;
  readonly disk_path: string | null;
  readonly bytes: number;
  readonly sha256: string | null;
  readonly mtime_ms: number | null;
  readonly disk_bytes: number | null;
  readonly part_bytes: number | null;
}

const fileColumns =
  "role, idx, directory, artifact_id, path, disk_path, bytes, sha256, mtime_ms, disk_bytes, part_bytes";

function prepare(database: Database) {
  return {
    addEvent: database.prepare("INSERT INTO event (job, at, kind, json) VALUES (?, ?, ?, ?)"),
    // Not REPLACE: the row keeps its number, and so the jobs their order.
    putJob: database.prepare(
      "INSERT INTO job (id, json) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET json = excluded.json",
    ),
    begin: database.prepare("INSERT INTO effect (id, job, lane, kind, intent) VALUES (?, ?, ?, ?, ?)"),
    end: database.prepare("UPDATE effect SET result = ? WHERE id = ? AND job = ?"),
    addFile: database.prepare(
      `INSERT INTO file (job, role, idx, directory, path, bytes, artifact_id, disk_path, sha256, mtime_ms,
         disk_bytes, part_bytes)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    removeJob: database.prepare("DELETE FROM job WHERE id = ?"),
    removeEffects: database.prepare("DELETE FROM effect WHERE job = ?"),
    removeFiles: database.prepare("DELETE FROM file WHERE job = ?"),
    removeFilesOfRole: database.prepare("DELETE FROM file WHERE job = ? AND role = ?"),
    prune: database.prepare("DELETE FROM event WHERE at < ?"),
    jobs: database.prepare<{ json: string }, []>("SELECT json FROM job ORDER BY rowid"),
    inDoubt: database.prepare<{ id: string; job: JobId; intent: string }, []>(
      "SELECT id, job, intent FROM effect WHERE result IS NULL ORDER BY rowid",
    ),
    files: database.prepare<FileColumns, [string, string, number, number]>(
      `SELECT ${fileColumns} FROM file WHERE job = ? AND role = ? AND idx >= ? ORDER BY idx LIMIT ?`,
    ),
    // What lies elsewhere has an absolute directory.
    inputBytesFrom: database.prepare<{ bytes: number }, [string, number]>(
      `SELECT total(bytes) AS bytes FROM file
       WHERE job = ? AND role = 'input' AND idx >= ? AND directory NOT LIKE '/%'`,
    ),
    history: database.prepare<{ at: number; json: string }, [string]>(
      "SELECT at, json FROM event WHERE job = ? ORDER BY id",
    ),
  };
}

function fileRow(row: FileColumns): FileRow {
  return {
    role: row.role,
    index: row.idx,
    directory: row.directory,
    path: row.path,
    bytes: row.bytes,
    ...(row.artifact_id === null ? {} : { artifactId: row.artifact_id }),
    ...(row.disk_path === null ? {} : { diskPath: row.disk_path }),
    ...(row.sha256 === null ? {} : { sha256: row.sha256 }),
    ...(row.mtime_ms === null ? {} : { mtimeMs: row.mtime_ms }),
    ...(row.disk_bytes === null || row.part_bytes === null
      ? {}
      : { cut: { diskBytes: row.disk_bytes, partBytes: row.part_bytes } }),
  };
}

/** What the schema's index for looking back leaves out is a kind of its own. */
function kindOf(event: JobEvent): string {
  if (event.kind !== "Ended" || event.result.is !== "ok") return event.kind;
  return event.effect.kind === "StageFiles" || event.effect.kind === "PutFiles" ? "FileDone" : event.kind;
}

/** Parameters are the submitter's data, and stay out: `{}` stands for them. */
function boundedJson(value: object): string {
  return JSON.stringify(value, (key, part: unknown) => {
    if (key === "parametersText") return "{}";
    if (typeof part === "string" && part.length > maxStringLength) return `${part.slice(0, maxStringLength)}…`;
    if (Array.isArray(part) && part.length > maxArrayLength) return part.slice(0, maxArrayLength);
    return part;
  });
}
