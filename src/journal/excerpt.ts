/**
 * The part of the journal that a person looks at: what the jobs are and what happened to them. The files of one job may be
 * a million rows, and events go back for days: copying all of that every time would stop the event loop.
 *
 * Of each job the beginning is kept and the latest, since a job that waits for days says much and little new in between;
 * files that were staged or put well are left out, since the job itself counts them. Jobs that were forgotten lately still
 * have their events.
 */
import type { Database } from "bun:sqlite";

const firstEvents = 20;
const lastEvents = { open: 300, closed: 100 } as const;
const maxForgottenJobs = 200;

/** What the schema's partial index holds, in its own words, so that it is used. */
const isTold = "kind <> 'FileDone'";

/** Each job is sought, not each event: a job may have had a million. */
const forgotten = `
  WITH RECURSIVE known (job) AS (
    SELECT min(job) FROM main.event
    UNION ALL SELECT (SELECT min(job) FROM main.event WHERE job > known.job) FROM known WHERE known.job IS NOT NULL)
  SELECT job AS id FROM known WHERE job IS NOT NULL AND job NOT IN (SELECT id FROM main.job)
  ORDER BY (SELECT max(id) FROM main.event WHERE event.job = known.job) DESC LIMIT ${maxForgottenJobs}`;

/** Of the job's events the nth from one end; `otherwise` where there are not as many. SQLite takes no column for an offset. */
function nth(n: number, order: "ASC" | "DESC", otherwise: number): string {
  return `ifnull((SELECT id FROM main.event WHERE job = one.id AND ${isTold}
    ORDER BY id ${order} LIMIT 1 OFFSET ${n - 1}), ${otherwise})`;
}

/** What is told of each of these jobs: events until the one, and since the other. */
function windows(jobs: string, latest: number): string {
  return `INSERT INTO excerpt.told (job, until, since)
    SELECT id, ${nth(firstEvents, "ASC", 0)}, ${nth(latest, "DESC", 0)} FROM (${jobs}) AS one`;
}

const isOpen = "json_extract(json, '$.closed') IS NULL";

/** Events are read and written in the order in which they lie: looked up job by job they take three times as long. */
const copied: readonly string[] = [
  "INSERT INTO excerpt.meta SELECT * FROM main.meta",
  "INSERT INTO excerpt.job (rowid, id, json) SELECT rowid, id, json FROM main.job ORDER BY rowid",
  `CREATE TABLE excerpt.told (
     job TEXT PRIMARY KEY, until INTEGER NOT NULL, since INTEGER NOT NULL, left_out INTEGER NOT NULL DEFAULT 0
   ) STRICT, WITHOUT ROWID`,
  windows(`SELECT id FROM main.job WHERE ${isOpen}`, lastEvents.open),
  windows(`SELECT id FROM main.job WHERE NOT ${isOpen}`, lastEvents.closed),
  windows(forgotten, lastEvents.closed),
  `UPDATE excerpt.told SET left_out = (SELECT count(*) FROM main.event
     WHERE job = told.job AND ${isTold} AND id > told.until AND id < told.since) WHERE since > until`,
  `INSERT INTO excerpt.event SELECT event.* FROM main.event CROSS JOIN excerpt.told
     ON told.job = event.job AND (event.id <= told.until OR event.id >= told.since) WHERE ${isTold} ORDER BY event.id`,
];

/** The bytes of a database of the same schema, without indexes. Not to be called within a transaction. */
export function excerptOf(database: Database, more: Readonly<Record<string, string>> = {}): Uint8Array {
  database.run("ATTACH ':memory:' AS excerpt");
  try {
    database.transaction(() => {
      for (const definition of tableDefinitions(database)) database.run(definition);
      for (const copy of copied) database.run(copy);
      for (const [key, value] of Object.entries(more))
        database.query("INSERT OR REPLACE INTO excerpt.meta (key, value) VALUES (?, ?)").run(key, value);
    })();
    return database.serialize("excerpt");
  } finally {
    database.run("DETACH excerpt");
  }
}

function tableDefinitions(database: Database): string[] {
  const tables = database.query<{ sql: string }, []>("SELECT sql FROM main.sqlite_schema WHERE type = 'table'").all();
  return tables.map(({ sql }) => sql.replace(/^CREATE TABLE /, "CREATE TABLE excerpt."));
}

/** How many events of the job were left out, and after how many of those that are here. */
export interface LeftOutEvents {
  readonly count: number;
  readonly after: number;
}

/** `excerpt`: a database that `excerptOf` has made, of any version. */
export function leftOutOf(excerpt: Database, jobId: string): LeftOutEvents | undefined {
  const row = isThere(excerpt)
    ? excerpt.query<{ left_out: number }, [string]>("SELECT left_out FROM told WHERE job = ?").get(jobId)
    : null;
  return row && row.left_out > 0 ? { count: row.left_out, after: firstEvents } : undefined;
}

/** Jobs whose events alone are left. */
export function forgottenJobs(excerpt: Database): string[] {
  const query = "SELECT job FROM told WHERE job NOT IN (SELECT id FROM job)";
  return isThere(excerpt)
    ? excerpt
        .query<{ job: string }, []>(query)
        .all()
        .map(({ job }) => job)
    : [];
}

function isThere(excerpt: Database): boolean {
  return excerpt.query("SELECT 1 FROM sqlite_schema WHERE name = 'told'").get() !== null;
}
