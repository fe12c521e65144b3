import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { openJournal } from "../../../src/journal/journal.ts";

const writer = join(import.meta.dir, "crash-writer.ts");
const killRounds = 6;

let dir = "";
let path = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-crash-"));
  path = join(dir, "journal.db");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("after kill -9 at any moment the journal opens, holds every durable record, and has no gaps", async () => {
  for (let round = 0; round < killRounds; round += 1) {
    const safe = await writeUntilKilled(5 + 7 * round);
    const journal = openJournal(path, { clock });
    const recorded = journal.history("job-1").map(({ at }) => at);
    const { jobs, inDoubt } = journal.load();
    journal.close();
    expect(recorded.length).toBeGreaterThan(safe);
    expect(recorded).toEqual(recorded.map((_, index) => index));
    expect(jobs).toHaveLength(1);
    // Each durable record began an effect: intent and event are there together or not at all.
    expect(inDoubt).toHaveLength(recorded.filter((at) => at % 4 === 3).length);
  }
}, 60_000);

test("a quota that is used up is told apart, and what was recorded before it is there", async () => {
  // A file size limit is what an ordinary process can have instead of a quota: the write fails in the same place.
  const script = `trap '' XFSZ; ulimit -f 400; exec "$0" "$@"`;
  const child = Bun.spawn(["sh", "-c", script, process.execPath, writer, path, "until-full"], { stderr: "inherit" });
  const lines = (await new Response(child.stdout).text()).trim().split("\n");
  const refusal: unknown = JSON.parse(lines.at(-1) ?? "");
  expect(refusal).toEqual({ reason: "full", message: expect.stringContaining(`${path}: disk full or quota used up`) });
  expect(await child.exited).toBe(0);
  const journal = openJournal(path, { clock });
  expect(journal.history("job-1").length).toBe(Number(lines.at(-2)) + 1);
  journal.close();
}, 30_000);

/** Kills the writer once it has told of so many durable records; the last one it told of. */
async function writeUntilKilled(durableRecords: number): Promise<number> {
  const child = Bun.spawn([process.execPath, writer, path], { stderr: "inherit" });
  let told = "";
  for await (const chunk of child.stdout) {
    told += Buffer.from(chunk).toString();
    if (told.split("\n").length > durableRecords) child.kill("SIGKILL");
  }
  await child.exited;
  return Number(told.split("\n").at(-2));
}
