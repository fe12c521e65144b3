import { expect, test } from "bun:test";
import { neverRunnable } from "../../../src/job/pending-reason.ts";

test.each([
  ["PartitionTimeLimit", true],
  ["PartitionNodeLimit", false],
  ["PartitionConfig", true],
  ["DependencyNeverSatisfied", true],
  ["BadConstraints", true],
  ["InvalidAccount", true],
  ["InvalidQOS", true],
  ["AccountNotAllowed", true],
  ["QOSNotAllowed", true],
  ["ReservationDeleted", true],
  ["AssocMaxWallDurationPerJobLimit", true],
  ["AssocMaxCpuPerJobLimit", true],
  ["AssocMaxMemPerJob", true],
  ["QOSMaxNodePerJobLimit", true],
  ["QOSMaxWallDurationPerJobLimit", true],
  ["AssocMaxCpuPerNode", true],
  ["QOSMaxMemoryMinutesPerJob", true],
  ["MaxMemPerLimit", true],
  ["QOSMinCpuNotSatisfied", true],
  ["QOSMinMemory", true],
  // These pass: others end, a node comes back, somebody releases it.
  ["Priority", false],
  ["Resources", false],
  ["Dependency", false],
  ["BeginTime", false],
  ["JobHeldUser", false],
  ["JobHeldAdmin", false],
  ["PartitionDown", false],
  ["PartitionInactive", false],
  ["QOSMaxJobsPerUserLimit", false],
  ["QOSMaxCpuPerUserLimit", false],
  ["QOSMaxSubmitJobPerUserLimit", false],
  ["MaxCpuPerAccount", false],
  ["QOSGrpCpuLimit", false],
  ["AssocGrpMemLimit", false],
  ["AssocMaxJobsLimit", false],
  ["AssocGrpCPUMinutesLimit", false],
  ["Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions", false],
  ["ReqNodeNotAvail, UnavailableNodes:vm", false],
  ["a word of tomorrow's Slurm", false],
])("a job that waits for %s can never start: %p", (reason, expected) => {
  expect(neverRunnable(reason)).toBe(expected);
});

test("a job without a reason waits for nothing in particular", () => {
  expect(neverRunnable(undefined)).toBe(false);
});
