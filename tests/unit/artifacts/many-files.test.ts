/** However many files there are, none of them is held: counted as objects alive while the last of them has just come. */

import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createJobDirectory } from "../../../src/artifacts/job-directory.ts";
import { listInputs } from "../../../src/artifacts/stage.ts";
import { registeredContent } from "../../../src/artifacts/upload.ts";
import { systemClock } from "../../../src/clock.ts";
import type { Emx2Client, Fetch } from "../../../src/emx2/client.ts";
import { openJournal } from "../../../src/journal/journal.ts";
import { clientOf, knownAs } from "../emx2/raw-server.ts";
import { filePut } from "../journal/records.ts";
import { call } from "./artifact-server.ts";
import { artifactId, ownerOf, recordingLog, sha256, state, workDirectory } from "./work-directory.ts";

function objects(): number {
  Bun.gc(true);
  return heapStats().objectCount;
}

/** Runs `work` with few files and with many: if it held them there would be an object a file at the least, and mostly five. */
async function expectNothingHeld(few: number, many: number, work: (files: number) => Promise<number>): Promise<void> {
  await work(few); // what is made once
  const [withFew, withMany] = [await work(few), await work(many)];
  expect(withMany - withFew).toBeLessThan((many - few) / 2);
}

test.each([true, false])("outputs that are found (sealed: %p), named, hashed and written down", async (isSealed) => {
  await expectNothingHeld(200, 4_000, async (count) => {
    using w = workDirectory();
    let held = 0;
    // Said when all has been found, and nothing has been let go of.
    const warn = () => {
      held = objects();
    };
    const log = { ...recordingLog([]), warn };
    const files = createJobDirectory({ clock: systemClock, state, log });
    await files.create(w.dir, ownerOf());
    let manifest = "";
    for (let file = 0; file < count; file++) {
      const [directory, name] = [`${Math.floor(file / 100)}`, `${file}.dat`];
      if (file % 100 === 0) mkdirSync(join(w.dir, "output", directory));
      const path = join(w.dir, "output", directory, name);
      writeFileSync(path, "x");
      const seconds = (Math.floor(statSync(path).mtimeMs) / 1_000).toFixed(3);
      if (isSealed) manifest += `1 ${seconds} ${directory}/${name}\0${sha256("x")}  ./${directory}/${name}\0`;
    }
    symlinkSync("/", join(w.dir, "output", "out"));
    writeFileSync(join(w.dir, ".emx2/manifest.a1.0"), manifest);
    const place = { dir: w.dir, outputDir: "output", ...(isSealed && { manifestSha256: sha256(manifest) }) };
    manifest = "";
    const before = objects();
    const listed = await files.list(place, "output");
    expect(listed).toMatchObject({ leftOut: { count: 1 } });
    expect(listed.unseen).toBeUndefined();
    using rows = listed.rows;
    expect(rows.total).toBe(count);
    expect(rows.sha256).toHaveLength(64);
    const journal = openJournal(":memory:", { clock: systemClock });
    journal.record({ ...filePut("job-1", 1), files: rows }, "durable");
    expect(journal.files("job-1", "output", count - 1, 2)).toHaveLength(1);
    const after = objects();
    journal.close();
    return Math.max(held, after) - before;
  });
});

/** Lists files of EMX2 that nobody holds; `last`: called when the last of them are asked for. */
function listing(count: number, last: () => void): Emx2Client {
  const fetch: Fetch = async (url, init) => {
    const { pathname, searchParams } = new URL(url);
    if (pathname.endsWith("/health")) return knownAs("2026-05")(url, init);
    if (!pathname.endsWith("/files"))
      return Response.json({ id: artifactId, name: "in", type: "blob", residence: "managed", status: "COMMITTED" });
    const [limit, offset] = [Number(searchParams.get("limit")), Number(searchParams.get("offset"))];
    if (offset + limit >= count) last();
    const items = Array.from({ length: Math.min(limit, count - offset) }, (_, index) => ({
      ...{ path: `${Math.floor(index / 100)}/${offset + index}`, sha256: sha256(String(index)), size_bytes: "1" },
    }));
    return Response.json({ items, total_count: count });
  };
  return clientOf({ url: "http://emx2.test" }, { fetch });
}

test.each<[string, (client: Emx2Client, count: number) => Promise<number>]>([
  [
    "inputs that EMX2 lists",
    async (client) => {
      using w = workDirectory();
      const listed = await listInputs(
        { client, files: w.files, posixRoots: { directories: [] } },
        [{ artifactId }],
        call,
      );
      if (listed.is !== "ok") throw new Error(listed.cause);
      using rows = listed.rows;
      return rows.total;
    },
  ],
  [
    "files of which EMX2 knows where they lie",
    async (client, count) => (await registeredContent(client, artifactId, count, call)).bytes,
  ],
])(
  "%s, page by page",
  async (_, list) => {
    await expectNothingHeld(5_000, 40_000, async (count) => {
      let held = 0;
      const client = listing(count, () => {
        held = objects();
      });
      const before = objects();
      expect(await list(client, count)).toBe(count);
      return held - before;
    });
  },
  30_000,
);
