/** When EMX2 as a whole counts as down, who may ask then, and what is said. */
import { beforeEach, describe, expect, test } from "bun:test";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { createServerReach, type ServerReach } from "../../../src/daemon/server-reach.ts";
import { ApiError, NetworkError } from "../../../src/errors.ts";
import { createLog } from "../../../src/log.ts";

let nowMs: number;
let revivals: number;
let news: number;
let lines: string[];
let reach: ServerReach;
const clock: Clock = { ...systemClock, mono: () => nowMs, random: () => 1 };

beforeEach(() => {
  nowMs = 0;
  revivals = 0;
  news = 0;
  lines = [];
  const log = createLog({ clock, level: "info", json: false, color: false, write: (line) => void lines.push(line) });
  reach = createServerReach({
    clock,
    log,
    onRevival() {
      revivals += 1;
    },
    onNews() {
      news += 1;
    },
  });
});

const cut = new NetworkError("cut", { code: "ECONNRESET", method: "GET", path: "/", maybeDelivered: true });
const answer = (status: number, more: Partial<ApiError["answer"]> = {}) =>
  new ApiError(`EMX2 answered ${status}`, { status, method: "GET", path: "/", ...more });
const said = (level: string) => lines.filter((line) => line.includes(` ${level} `)).length;

/** From going down until the probe is due, in milliseconds. */
function pauseMs(): number {
  const from = nowMs;
  while (!reach.isProbeDue()) nowMs += 100;
  return nowMs - from;
}

describe("failures of jobs' lanes", () => {
  test("are chance until they come in a row, with nothing answered between them", () => {
    for (const error of [cut, cut, answer(500, { form: "problem" }), cut, cut]) reach.failed(error, "job");
    expect(reach.isDown).toBe(false);
    reach.failed(cut, "job");
    expect(reach.isDown).toBe(true);
    expect(said("warn")).toBe(1);
  });

  test("that were under way when it went down change nothing, and neither do faults that are not EMX2's", () => {
    reach.failed(new RangeError("a bug"), "poll");
    expect(reach.isDown).toBe(false);
    reach.failed(cut, "poll");
    const first = pauseMs();
    for (let count = 0; count < 50; count++) reach.failed(cut, "job");
    expect(reach.isProbeDue()).toBe(true);
    expect(first).toBe(1_000);
  });

  test("nor do answers to what was under way: all lanes would ask again, and fail", () => {
    reach.failed(cut, "poll");
    reach.answered("job");
    reach.failed(answer(404, { form: "problem" }), "job");
    reach.failed(answer(500, { form: "problem" }), "job");
    expect([reach.isDown, revivals, said("info")]).toEqual([true, 0, 0]);
  });
});

describe("while it is down", () => {
  test("the probe comes after pauses that double to some minutes", () => {
    const pauses = Array.from({ length: 10 }, () => {
      reach.failed(cut, "poll");
      return pauseMs() / 1_000;
    });
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 180, 180]);
    expect(said("warn")).toBe(1);
  });

  test("a refused credential is tried more rarely, and signs of life are of no use", () => {
    reach.failed(answer(401, { form: "problem" }), "job");
    expect(reach.isDown).toBe(true);
    expect(reach.refusesUs).toBe(true);
    expect(pauseMs()).toBe(15_000);
    expect(said("error")).toBe(1);
  });

  test("as much patience as EMX2 asks for is had", () => {
    reach.failed(answer(429, { retryAfterMs: 120_000 }), "poll");
    expect(pauseMs()).toBeGreaterThanOrEqual(120_000);
  });

  test("another cause is said, the same one after an hour alone", () => {
    reach.failed(cut, "poll");
    reach.failed(cut, "poll");
    reach.failed(answer(503, { form: "problem" }), "poll");
    expect([said("warn"), said("error"), news]).toEqual([1, 1, 2]);
    nowMs += 3_600_000;
    reach.failed(answer(503, { form: "problem" }), "poll");
    expect(said("error")).toBe(2);
  });
});

describe("an answer to the probe", () => {
  test("lets all try; a single failure then is enough, and the pauses go on growing", () => {
    reach.failed(cut, "poll");
    pauseMs();
    reach.revived();
    expect([reach.isDown, revivals]).toEqual([false, 1]);
    reach.failed(cut, "job");
    expect(reach.isDown).toBe(true);
    expect(pauseMs()).toBe(2_000);
  });

  test("is the end of it once something about jobs was answered too", () => {
    reach.failed(cut, "poll");
    reach.revived();
    reach.answered("poll");
    expect([said("info"), news]).toEqual([1, 2]);
    reach.failed(cut, "job");
    expect(reach.isDown).toBe(false);
    reach.failed(cut, "poll");
    expect(pauseMs()).toBe(1_000);
  });
});
