import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { answerTo, dropRequest, requestsDir } from "../../../src/daemon/request-files.ts";
import { createRequests } from "../../../src/daemon/requests.ts";
import { StateError } from "../../../src/errors.ts";
import type { JobEvent } from "../../../src/job/effect.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job } from "../../../src/job/job.ts";
import { createLog } from "../../../src/log.ts";
import { claimedOk, closedRun, exited, observed, offered, play, row, saw, succeeded, toTracked } from "../job/story.ts";

const signal = new AbortController().signal;
const cancel = { kind: "cancel", jobId: "j1", by: "the operator (alice)" } as const;

let stateDir = "";
let jobs: Map<string, Job>;
let events: JobEvent[];
let lines: string[];
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "emx2-requests-"));
  jobs = new Map();
  events = [];
  lines = [];
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

function loop() {
  const log = createLog({ json: false, level: "info", color: false, write: (line) => lines.push(line) });
  const observe = (id: string, event: JobEvent) => {
    events.push(event);
    const job = fold(jobs.get(id), event);
    if (job) jobs.set(id, job);
  };
  return createRequests({ engine: { jobs, observe }, clock, log, stateDir });
}

function names(): string[] {
  return existsSync(requestsDir(stateDir)) ? readdirSync(requestsDir(stateDir)) : [];
}

/** As another program could put it there. */
function plant(content: string | Uint8Array, name = `${clock.uuid()}.json`): string {
  mkdirSync(requestsDir(stateDir), { recursive: true, mode: 0o700 });
  writeFileSync(join(requestsDir(stateDir), name), content, { mode: 0o600 });
  return name;
}

describe("a request", () => {
  test("becomes an event, and then its file is gone", async () => {
    jobs.set("j1", play(toTracked));
    const name = await dropRequest(stateDir, cancel, clock);
    expect(await answerTo(stateDir, name)).toBe("waits");
    await loop().tick(signal);
    expect(events).toEqual([{ kind: "CancelAsked", at: expect.any(Number), by: "the operator (alice)" }]);
    expect(jobs.get("j1")?.stop?.by).toBe("operator");
    expect(await answerTo(stateDir, name)).toBe("taken");
    expect(names()).toEqual([]);
  });

  test("is for its owner alone, directory and file", async () => {
    const name = await dropRequest(stateDir, cancel, clock);
    const modes = [requestsDir(stateDir), join(requestsDir(stateDir), name)].map((path) => statSync(path).mode & 0o777);
    expect(modes).toEqual([0o700, 0o600]);
  });

  test("that comes again, as after a crash, changes nothing more", async () => {
    jobs.set("j1", play(toTracked));
    for (let time = 0; time < 3; time += 1) await dropRequest(stateDir, cancel, clock);
    await loop().tick(signal);
    expect(events).toHaveLength(1);
    expect(names()).toEqual([]);
  });

  test("for a job whose claim is not known to be ours waits until it is", async () => {
    jobs.set("j1", play([offered]));
    await dropRequest(stateDir, cancel, clock);
    const requests = loop();
    await requests.tick(signal);
    expect([events.length, names().length]).toEqual([0, 1]);
    jobs.set("j1", play([offered, ...claimedOk]));
    await requests.tick(signal);
    expect([events.length, names().length]).toEqual([1, 0]);
  });

  test("that comes when the engine takes nothing any more waits for the next daemon", async () => {
    jobs.set("j1", play(toTracked));
    await dropRequest(stateDir, cancel, clock);
    const log = createLog({ json: false, level: "info", color: false, write: (line) => lines.push(line) });
    const stopping = createRequests({ engine: { jobs, observe: () => {} }, clock, log, stateDir });
    await stopping.tick(signal);
    expect(names()).toHaveLength(1);
    await loop().tick(signal);
    expect(jobs.get("j1")?.stop?.by).toBe("operator");
  });

  test("whose refusal was being written when the daemon died is refused all the same, and holds up none behind it", async () => {
    const names_ = [await dropRequest(stateDir, { ...cancel, jobId: "unknown" }, clock)];
    plant("half", `${names_[0]?.replace(/json$/, "new")}`);
    jobs.set("j1", play(toTracked));
    await dropRequest(stateDir, cancel, clock);
    await loop().tick(signal);
    expect(jobs.get("j1")?.stop?.by).toBe("operator");
    expect(await answerTo(stateDir, names_[0] ?? "")).toMatchObject({
      refused: expect.stringContaining("not tracked"),
    });
  });

  const refusals: Readonly<Record<string, readonly [Job | undefined, RegExp]>> = {
    "for a job that nobody knows": [undefined, /job j1 is not tracked here/],
    "for one that has ended": [play([offered, ...claimedOk, saw({ status: "CANCELLED" })]), /has ended: cancelled at/],
    "for one whose run has ended": [
      play([...toTracked, observed(row("COMPLETED"), exited(0)), closedRun(succeeded)]),
      /its run has ended \(COMPLETED\), and its results are on their way; cancel it at EMX2/,
    ],
  };
  for (const [what, [job, why]] of Object.entries(refusals))
    test(`${what} is refused, and whoever asked is told why, once`, async () => {
      if (job) jobs.set("j1", job);
      const name = await dropRequest(stateDir, cancel, clock);
      await loop().tick(signal);
      expect(events).toEqual([]);
      expect(lines.join("")).toMatch(why);
      expect(await answerTo(stateDir, name)).toEqual({ refused: expect.stringMatching(why) });
      expect(names()).toEqual([]);
    });
});

describe("what is no request", () => {
  const unusable: Readonly<Record<string, readonly [() => string, RegExp]>> = {
    "is no JSON": [() => plant("cancel j1"), /does not hold what a request holds/],
    "asks for what is not known": [() => plant('{"kind":"polish","jobId":"j1","by":"x"}'), /does not hold/],
    "has more in it": [() => plant(JSON.stringify({ ...cancel, force: true })), /does not hold/],
    "has a name that is too long": [() => plant(JSON.stringify({ ...cancel, by: "x".repeat(300) })), /does not hold/],
    "is too large": [() => plant(`${JSON.stringify(cancel)}${" ".repeat(5_000)}`), /larger than 4096 bytes/],
    "is no text": [() => plant(new Uint8Array([0xff, 0xfe, 0x00])), /does not hold/],
    "is a symbolic link": [
      () => {
        const target = plant(JSON.stringify(cancel), "elsewhere");
        const name = `${clock.uuid()}.json`;
        symlinkSync(target, join(requestsDir(stateDir), name));
        return name;
      },
      /not a regular file/,
    ],
    "is a directory": [
      () => {
        const name = `${clock.uuid()}.json`;
        mkdirSync(join(requestsDir(stateDir), name, "in it"), { recursive: true });
        return name;
      },
      /not a regular file/,
    ],
  };
  for (const [what, [make, why]] of Object.entries(unusable))
    test(`because it ${what} is warned of once and removed`, async () => {
      jobs.set("j1", play(toTracked));
      const name = make();
      const requests = loop();
      await requests.tick(signal);
      await requests.tick(signal);
      expect(events).toEqual([]);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(why);
      expect(names()).not.toContain(name);
    });

  test("because another user wrote it is not read, wherever there can be another user's", async () => {
    const isRoot = process.geteuid?.() === 0;
    jobs.set("j1", play(toTracked));
    const name = plant(JSON.stringify(cancel));
    if (isRoot) lchownSync(join(requestsDir(stateDir), name), 12_345, 12_345);
    await loop().tick(signal);
    expect(events).toHaveLength(isRoot ? 0 : 1);
    expect(lines.join("").includes("belongs to uid 12345, and the state directory to uid 0")).toBe(isRoot);
  });

  test("a directory that is a symbolic link is not followed", async () => {
    jobs.set("j1", play(toTracked));
    mkdirSync(join(stateDir, "elsewhere"));
    writeFileSync(join(stateDir, "elsewhere", `${clock.uuid()}.json`), JSON.stringify(cancel));
    symlinkSync("elsewhere", requestsDir(stateDir));
    await loop().tick(signal);
    expect(events).toEqual([]);
    expect(lines.join("")).toContain("requests of commands can not be read");
    await expect(dropRequest(stateDir, cancel, clock)).rejects.toThrow(StateError);
  });

  test("what is only half written is left alone until it is old; other files are nobody's business", async () => {
    const old = plant("{", `${clock.uuid()}.new`);
    const young = plant("{", `${clock.uuid()}.new`);
    const unread = plant("why", `${clock.uuid()}.refused`);
    plant("mine", "notes.txt");
    const longAgo = new Date(clock.wall() - 2 * 3_600_000);
    for (const name of [old, unread]) utimesSync(join(requestsDir(stateDir), name), longAgo, longAgo);
    await loop().tick(signal);
    expect(names().sort()).toEqual([young, "notes.txt"].sort());
    expect(lines).toEqual([]);
  });

  test("a thousand at once are taken some at a time", async () => {
    for (let count = 0; count < 150; count += 1) plant("{}");
    const requests = loop();
    const left: number[] = [];
    for (let look = 0; look < 3; look += 1) {
      await requests.tick(signal);
      left.push(names().filter((name) => name.endsWith(".json")).length);
    }
    expect(left).toEqual([86, 22, 0]);
  });
});

test("where nobody ever asked there is no directory, and nothing to say", async () => {
  await loop().tick(signal);
  expect([names(), lines]).toEqual([[], []]);
});
