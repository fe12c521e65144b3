/** What `check` says of a profile, by what sinfo and `sbatch --test-only` (22.05) say. */
import { describe, expect, test } from "bun:test";
import { profileItems } from "../../../../src/daemon/checks/profiles.ts";
import { type Profile, profileDefaults } from "../../../../src/job/profile.ts";
import { parsePartitions } from "../../../../src/scheduler/partitions.ts";
import type { TestAnswer } from "../../../../src/scheduler/slurm-probe.ts";

const profile: Profile = {
  ...profileDefaults,
  key: "embed/cpu",
  processor: "embed",
  profile: "cpu",
  workload: { kind: "host", entrypoint: "/bin/true" },
};
const accepted: TestAnswer = { is: "accepted", words: "Job 1 to start at 1795380360" };
const refused = (words: string): TestAnswer => ({ is: "refused", words });
const usual = "cpu*|up|1-00:00:00|4|idle\nlong|up|infinite|2|mixed\n";

function say(own: Partial<Profile>, sinfo: string | undefined, answer: TestAnswer | undefined): string[] {
  const partitions = sinfo === undefined ? undefined : parsePartitions(sinfo);
  return profileItems({ ...profile, ...own }, partitions, answer).map(
    ({ result, detail, fix = "" }) => `${result}: ${detail} / ${fix}`,
  );
}

describe("of time limits", () => {
  const cases: readonly (readonly [string, Partial<Profile>, RegExp])[] = [
    ["a time at the limit is fine", { time: "1-00:00:00" }, /^ok/],
    ["a second above it is a minute above it", { time: "1-00:00:01" }, /^failed.*wait for ever.*1-00:00:00 at most/],
    ["no limit at all is above any", { time: "UNLIMITED" }, /^failed/],
    ["but not where the partition has none", { time: "UNLIMITED", partition: "long" }, /^ok/],
    ["of several partitions the widest counts", { time: "9-0", partition: "cpu,long" }, /^ok/],
    ["a QOS may override it", { time: "9-0", qos: "long" }, /^warning.*unless QOS long overrides/],
    ["a partition of sbatch_args is sbatch's business", { time: "9-0", sbatchArgs: ["-plong"] }, /^ok/],
  ];
  test.each(cases)("%s", (_, own, line) => {
    expect(say(own, usual, accepted)).toEqual([expect.stringMatching(line)]);
  });
});

describe("of partitions", () => {
  const cases: readonly (readonly [string, Partial<Profile>, string, TestAnswer, RegExp])[] = [
    [
      "one that does not exist",
      { partition: "cpu,gpu" },
      usual,
      refused("invalid partition"),
      /^failed.*no partition gpu.*cpu, long/,
    ],
    [
      "one that is down",
      {},
      "cpu*|down|1-0|4|idle",
      refused("Requested node configuration is not available"),
      /^warning.*cpu is down/,
    ],
    [
      "one that is drained",
      {},
      "cpu*|drain|1-0|4|idle",
      refused("Required partition not available"),
      /^failed.*\(drain\)/,
    ],
    [
      "all nodes drained, where sbatch would wait",
      {},
      "cpu*|up|1-0|2|drained\ncpu*|up|1-0|2|down*",
      refused("Requested node configuration is not available"),
      /^warning.*all nodes/,
    ],
    [
      "some nodes drained",
      {},
      "cpu*|up|1-0|2|drained\ncpu*|up|1-0|2|idle",
      refused("Requested node configuration is not available"),
      /^failed.*lower cpus/,
    ],
  ];
  test.each(cases)("%s", (_, own, sinfo, answer, line) => {
    expect(say(own, sinfo, answer)).toEqual([expect.stringMatching(line)]);
  });
});

describe("of what sbatch answers", () => {
  const cases: readonly (readonly [string, TestAnswer, RegExp])[] = [
    ["an account", refused("Invalid account or account/partition combination specified"), /^failed.*correct account/],
    ["a QOS", refused("Invalid qos specification"), /^failed.*correct qos/],
    ["a gres", refused("Invalid generic resource (gres) specification"), /^failed.*correct gpus or gres/],
    ["a feature", refused("Invalid feature specification"), /^failed.*--constraint/],
    ["a site's own plugin", refused("please name a project"), /^failed.*please name a project.*the site/],
    [
      "a limit that passes",
      { is: "busy", words: "AssocMaxSubmitJobLimit" },
      /^warning.*AssocMaxSubmitJobLimit.*jobs wait/,
    ],
    ["nothing in time", { is: "unavailable", words: "sbatch: no answer within 15 s" }, /^warning.*could not be tried/],
  ];
  test.each(cases)("%s", (_, answer, line) => {
    expect(say({}, usual, answer)).toEqual([expect.stringMatching(line)]);
  });
});

test("where the cluster can not be asked, the profile is only named", () => {
  expect(say({ time: "9-0", partition: "nosuch" }, undefined, undefined)).toEqual([
    "ok: processor embed, profile cpu / ",
  ]);
});
