import { expect, test } from "bun:test";
import { timeLimitMs } from "../../../src/job/profile.ts";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

test.each<[string, number | undefined]>([
  ["90", 90 * minute],
  ["1:30", minute + 30 * second],
  ["04:00:00", 4 * hour],
  ["100:00:00", 100 * hour],
  ["2-12", 2 * day + 12 * hour],
  ["2-12:30", 2 * day + 12 * hour + 30 * minute],
  ["2-12:30:15", 2 * day + 12 * hour + 30 * minute + 15 * second],
  ["0-00:00:30", 30 * second],
  [" 60 ", hour],
  ["0", undefined],
  ["00:00:00", undefined],
  ["UNLIMITED", undefined],
  ["INFINITE", undefined],
  ["infinite", undefined],
  ["", undefined],
  ["-1", undefined],
  ["1h", undefined],
  ["1:2:3:4", undefined],
])("Slurm's time limit %p is %p ms", (time, expected) => {
  expect(timeLimitMs(time)).toBe(expected as number);
});
