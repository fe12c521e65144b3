import { describe, expect, test } from "bun:test";
import { keySaying, sbatchArgFault } from "../../../src/config/sbatch-options.ts";

describe("entries of sbatch_args", () => {
  const own = [
    "--job-name=x",
    "--job=x",
    "--j=x",
    "-Jx",
    "--output=x",
    "--ou=x",
    "-ox",
    "--error=x",
    "-e/x",
    "--open=x",
  ];
  const answer = [
    "--parsable",
    "--pars",
    "--quiet",
    "--qui",
    "-Q",
    "--verbose",
    "-v",
    "--test-only",
    "--test",
    "-V",
    "-h",
  ];
  const nature = [
    "--wrap=x",
    "--array=1-2",
    "-a1",
    "--requeue",
    "--no-requeue",
    "--no-r",
    "--wait",
    "-W",
    "-ix",
    "-Dx",
  ];
  const reach = [
    "--chdir=x",
    "--export=ALL",
    "--export-file=x",
    "--exp=x",
    "--get-user-env",
    "--clusters=x",
    "-Mx",
    "--uid=0",
  ];
  test.each([...own, ...answer, ...nature, ...reach])("%s is the daemon's", (entry) => {
    expect(sbatchArgFault(entry)).toMatch(/^must not set --/);
  });

  test.each([
    ["--requeue", "requeue"],
    ["--no-requeue", "requeue"],
    ["--output=x", "log_residence"],
    ["--chdir=x", "apptainer.tmp_dir"],
    ["--export=ALL", "allowed_environment"],
    ["--get-user-env", "prelude"],
    ["--wrap=x", "host_entrypoint"],
  ])("%s is refused with the key to use instead: %s", (entry, key) => {
    expect(sbatchArgFault(entry)).toContain(key);
  });

  test.each(["--constraint a100", "a100", "", "-", "--", ":", "-HJx", "-Wx", "-sQ", "--=x"])(
    "%j is not one option",
    (entry) => {
      expect(sbatchArgFault(entry)).toStartWith("must be one option an entry");
    },
  );

  // sbatch would take the next argument, the job's name, for the value.
  test.each(["--constraint", "--mem-per-cpu", "-p", "-C", "-N"])("%s lacks its value", (entry) => {
    expect(sbatchArgFault(entry)).toStartWith("must be with its value");
  });

  const values = [
    "--constraint=a100&b",
    "--comment=a b",
    "--signal=B:USR2@60",
    "--nodes=2",
    "-N2",
    "-n4",
    "-pgpu",
    "--time-min=5",
  ];
  const flags = [
    "--exclusive",
    "--exclusive=user",
    "--hold",
    "-H",
    "--no-kill",
    "--wait-all-nodes=1",
    "--mail-type=END",
  ];
  test.each([...values, ...flags])("%s is the operator's", (entry) => {
    expect(sbatchArgFault(entry)).toBeUndefined();
  });
});

test.each([
  ["--partition=x", "partition"],
  ["--part=x", "partition"],
  ["-px", "partition"],
  ["--mem=1G", "memory"],
  ["-c4", "cpus"],
  ["-G1", "gpus"],
  ["--mem-per-cpu=1G", undefined],
  ["--gpus-per-node=1", undefined],
  ["--time-min=1", undefined],
  ["--account=a", undefined],
])("%s says what the key says: %s", (entry, key) => {
  expect(keySaying(entry, ["partition", "memory", "cpus", "time", "gpus"])).toBe(key);
});
