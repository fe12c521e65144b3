/** What is concluded of another state directory from its lease and its journal. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { createSight } from "../../../src/daemon/sight.ts";

const hourS = 3_600;
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-sight-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function sightWhen(lease: "fresh" | "stale" | "absent" | "unreadable", journalAgeS?: number): Promise<string> {
  if (journalAgeS !== undefined) {
    writeFileSync(join(dir, "journal.db"), "");
    const at = systemClock.wall() / 1_000 - journalAgeS;
    utimesSync(join(dir, "journal.db"), at, at);
  }
  return createSight(systemClock, async () => lease)(dir);
}

test("a state directory that is gone is nobody's, and no lease is watched", async () => {
  const sightOf = createSight(systemClock, async () => "fresh");
  expect(await sightOf(join(dir, "gone"))).toBe("absent");
});

test("a lease that is held, or can not be read, is what it is", async () => {
  expect(await sightWhen("fresh", 1_000 * hourS)).toBe("fresh");
  expect(await sightWhen("unreadable", 1_000 * hourS)).toBe("unreadable");
});

test("without one the journal's age tells whether somebody comes back", async () => {
  expect(await sightWhen("stale")).toBe("stale");
  expect(await sightWhen("absent", 60)).toBe("resting");
  expect(await sightWhen("stale", hourS)).toBe("resting");
  expect(await sightWhen("absent", 3 * hourS)).toBe("absent");
});
