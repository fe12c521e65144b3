/**
 * The part of the journal that a person looks at: what the jobs are and what happened to them lately. The files of one
 * job may be a million rows, and events go back for days: copying all of that every time would stop the event loop.
 */
import type { Database } from "bun:sqlite";

const eventsPerJob = 100;

/** Events are read and written in the order in which they lie: looked up job by job they take three times as long. */
const copied: readonly string[] = [
  "INSERT INTO excerpt.meta SELECT * FROM main.meta",
  "INSERT INTO excerpt.job (rowid, id, json) SELECT rowid, id, json FROM main.job ORDER BY rowid",
  `WITH recent (job, first) AS MATERIALIZED (SELECT id, ifnull(
     (SELECT id FROM main.event WHERE job = job.id ORDER BY id DESC LIMIT 1 OFFSET ${eventsPerJob - 1}), 0) FROM main.job)
   INSERT INTO excerpt.event SELECT event.* FROM main.event CROSS JOIN recent
     ON recent.job = event.job AND event.id >= recent.first ORDER BY event.id`,
];

/** The bytes of a database of the same schema, without indexes. Not to be called within a transaction. */
export function excerptOf(database: Database): Uint8Array {
  database.run("ATTACH ':memory:' AS excerpt");
  try {
    database.transaction(() => {
      for (const definition of tableDefinitions(database)) database.run(definition);
      for (const copy of copied) database.run(copy);
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
