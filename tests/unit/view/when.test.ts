import { expect, test } from "bun:test";
import { isoTime, localTime, size, span } from "../../../src/view/when.ts";

test("a span is told in its largest unit and the next", () => {
  const told = [0, -5, 999, 1_000, 61_000, 600_000, 3_600_000, 5_400_000, 90_000_000, 864_000_000].map(span);
  expect(told).toEqual(["0 s", "0 s", "0 s", "1 s", "1 min 1 s", "10 min", "1 h", "1 h 30 min", "1 d 1 h", "10 d"]);
});

test("sizes are told in decimal units, as disks are sold", () => {
  expect([0, 999, 1_000, 1_234_567, 123_456_789_000].map(size)).toEqual(["0 B", "999 B", "1.0 kB", "1.2 MB", "123 GB"]);
});

test("an instant says its zone, and one that is none is null to a program", () => {
  expect(localTime(Date.UTC(2026, 10, 23, 12))).toMatch(/^2026-11-\d\d \d\d:00:00 [+-]\d\d:\d\d$/);
  expect([isoTime(0), isoTime(undefined), isoTime(Number.NaN)]).toEqual(["1970-01-01T00:00:00.000Z", null, null]);
});
