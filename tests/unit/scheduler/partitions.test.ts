import { expect, test } from "bun:test";
import { SchedulerOutputError } from "../../../src/errors.ts";
import { parsePartitions } from "../../../src/scheduler/partitions.ts";

test("a line for each state becomes one partition, its default and its limit known", () => {
  const rows =
    "cpu*|up|7-00:00:00|3|idle\ncpu*|up|7-00:00:00|2|drained\ncpu*|up|7-00:00:00|1|idle*\ngpu|inact|30:00|4|mixed\nbig|up|infinite|1|down\n";
  expect(parsePartitions(rows)).toEqual([
    {
      name: "cpu",
      isDefault: true,
      availability: "up",
      timeLimit: "7-00:00:00",
      timeLimitMs: 604_800_000,
      nodes: 6,
      usableNodes: 3,
    },
    {
      name: "gpu",
      isDefault: false,
      availability: "inact",
      timeLimit: "30:00",
      timeLimitMs: 1_800_000,
      nodes: 4,
      usableNodes: 4,
    },
    {
      name: "big",
      isDefault: false,
      availability: "up",
      timeLimit: "infinite",
      timeLimitMs: null,
      nodes: 1,
      usableNodes: 0,
    },
  ]);
  expect(parsePartitions("")).toEqual([]);
});

test("what is none of sinfo's lines is not taken for a partition", () => {
  expect(() => parsePartitions("welcome to the cluster\n")).toThrow(SchedulerOutputError);
});
