/** How a daemon leaves its state: a real journal, lock and lease in one directory, and an engine with nothing to do. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { createTenure, fetchWhileHeld } from "../../../src/daemon/tenure.ts";
import { StateError } from "../../../src/errors.ts";
import { holdState } from "../../../src/journal/hold.ts";
import { type Journal, openJournal } from "../../../src/journal/journal.ts";
import { publishSnapshot } from "../../../src/journal/snapshot.ts";

const staleMs = 180_000;
let stateDir: string;
/** The monotonic clock stands still, as on a host that is suspended. */
let suspendedMs = 0;
const clock: Clock = { ...systemClock, wall: () => systemClock.wall() + suspendedMs };

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "emx2-tenure-"));
  suspendedMs = 0;
});
afterEach(() => rmSync(stateDir, { recursive: true }));

async function begin() {
  const hold = await holdState(stateDir, { clock, waitMs: 0, staleMs, onForeign() {} });
  if ("held" in hold) throw new Error(hold.held);
  const journal = openJournal(join(stateDir, "journal.db"), { clock, hold });
  const stops: number[] = [];
  const engine = { stop: async (graceMs: number) => void stops.push(graceMs) };
  const snapshot = { publish: async () => void (await publishSnapshot(journal, join(stateDir, "snapshot.db"), clock)) };
  const fault = new Promise<never>(() => {});
  return { journal, stops, tenure: createTenure({ hold, journal, engine, snapshot, fault }) };
}

/** While it is suspended, a daemon on another host follows. */
function lose(): void {
  suspendedMs += 2 * staleMs;
  symlinkSync("1 login2 - b 4711 9 0 t", join(stateDir, "lease.test"));
  renameSync(join(stateDir, "lease.test"), join(stateDir, "lease"));
}

const names = () => readdirSync(stateDir).sort();
const loss = expect.objectContaining({ name: "StateError", message: expect.stringContaining("login2") });

test("a daemon that is done leaves a snapshot, and a state that the next may have at once", async () => {
  const { tenure, journal } = await begin();
  expect(await tenure.whileHeld(async () => journal.stateId)).toBe(journal.stateId);
  expect(names()).toEqual(["journal.db", "journal.db-journal", "lock", "snapshot.db"]);
  const { journal: next } = await begin();
  next.close();
});

test("one that finds its state lost when it is done publishes nothing, removes nothing, and says so", async () => {
  const { tenure, stops } = await begin();
  let before: string[] = [];
  const done = tenure.whileHeld(async () => {
    lose();
    before = names();
  });
  expect(await done.catch((error: unknown) => error)).toEqual(loss);
  expect(stops).toEqual([0]);
  expect(names()).toEqual(before);
});

test("no loop goes on, and no request goes out, once the state is lost", async () => {
  const seen: string[] = [];
  const fetch = () => {
    seen.push("request");
    return new Response();
  };
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
  const { tenure, journal } = await begin();
  const send = (from: Journal) => fetchWhileHeld(from)(server.url.href, { method: "GET", headers: {} });
  const loop = tenure.guarded({ intervalMs: 1, tick: async () => void seen.push("tick") });
  await send(journal);
  await loop.tick(AbortSignal.abort());
  lose();
  expect(() => send(journal)).toThrow(StateError);
  expect(() => loop.tick(AbortSignal.abort())).toThrow(StateError);
  expect(seen).toEqual(["request", "tick"]);
  await server.stop(true);
  journal.abandon();
});
