/** A secret that is rotated while the daemon runs, seen from the requests that carry it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { clientOf } from "../../../src/daemon/connect.ts";
import { createLog, type Log } from "../../../src/log.ts";
import { http, rawServer } from "../emx2/raw-server.ts";

const beat = http(200, '{"worker_id":"w1","status":"ok"}');
let dir: string;
let path: string;
let aheadMs: number;
let lines: string[];
let log: Log;
const clock: Clock = { ...systemClock, mono: () => systemClock.mono() + aheadMs };

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-secret-"));
  path = join(dir, "secret");
  writeFileSync(path, "first\n", { mode: 0o600 });
  aheadMs = 0;
  lines = [];
  log = createLog({ clock, level: "debug", json: false, color: false, write: (line) => void lines.push(line) });
});
afterEach(() => rmSync(dir, { recursive: true }));

function connect(url: string) {
  const secret = { kind: "file", path } as const;
  const emx2 = { baseUrl: url, workerId: "w1", authMode: "token", secret, unknownJobsWaitMs: null } as const;
  return clientOf({ emx2, file: "config.yaml" }, clock, log);
}

const warnings = () => lines.filter((line) => /\bwarn\b/i.test(line));

describe("a rotated secret", () => {
  test("counts within seconds, renamed into place or written over", async () => {
    await using server = await rawServer(beat);
    const client = connect(server.url);
    await client.heartbeat();
    writeFileSync(join(dir, "new"), "second\n", { mode: 0o600 });
    renameSync(join(dir, "new"), path);
    await client.heartbeat();
    aheadMs += 5_000;
    await client.heartbeat();
    writeFileSync(path, "the third\n");
    aheadMs += 5_000;
    await client.heartbeat();
    const sent = server.received.map(({ headers }) => headers.get("x-molgenis-token"));
    expect(sent).toEqual(["first", "first", "second", "the third"]);
    expect(lines.join("")).not.toMatch(/second|third/);
  });

  test("that can not be read leaves the one before, and is said once", async () => {
    await using server = await rawServer(beat);
    const client = connect(server.url);
    const spoil = [() => chmodSync(path, 0o644), () => writeFileSync(path, ""), () => rmSync(path)];
    for (const act of spoil) {
      act();
      aheadMs += 5_000;
      await client.heartbeat();
    }
    expect(warnings()).toHaveLength(1);
    writeFileSync(path, "second\n", { mode: 0o600 });
    aheadMs += 5_000;
    await client.heartbeat();
    const sent = server.received.map(({ headers }) => headers.get("x-molgenis-token"));
    expect(sent).toEqual(["first", "first", "first", "second"]);
  });
});

test("each attempt is a debug line with method, path, status, time and request id, and nothing secret", async () => {
  await using server = await rawServer(http(500, "{}"), beat);
  await connect(server.url).heartbeat();
  const attempts = lines.filter((line) => line.includes("POST /api/hpc/workers/w1/heartbeat"));
  expect(attempts.map((line) => /\bresult=(\S+)/.exec(line)?.[1])).toEqual(["500", "200"]);
  for (const [index, line] of attempts.entries()) {
    expect(line).toContain(`requestId=${server.received[index]?.headers.get("x-request-id")}`);
    expect(line).toMatch(/\bms=\d+/);
  }
  expect(lines.join("")).not.toContain("first");
});

test("an attempt without an answer is a line with the failure's code", async () => {
  const closed = await rawServer(beat);
  await closed[Symbol.asyncDispose]();
  await connect(closed.url)
    .heartbeat({ attempts: 1 })
    .catch(() => undefined);
  expect(lines.filter((line) => line.includes("result=ECONNREFUSED"))).toHaveLength(1);
});
