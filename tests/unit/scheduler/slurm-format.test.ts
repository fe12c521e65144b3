import { describe, expect, test } from "bun:test";
import { SchedulerOutputError } from "../../../src/errors.ts";
import { type Profile, profileDefaults } from "../../../src/job/profile.ts";
import type { RunRef } from "../../../src/job/run.ts";
import {
  parseRows,
  queryEnvironment,
  sacctArgv,
  sbatchArgv,
  scancelArgv,
  squeueArgv,
  submitEnvironment,
  unwritableLogs,
} from "../../../src/scheduler/slurm-format.ts";
import { transcript, transcriptsOf } from "./transcript.ts";

const run: RunRef = { jobId: "j1", attempt: "a1", name: "emx2-j1", dir: "/jobs/j1", notBefore: 0 };
const bare: Profile = {
  ...{ key: "p", processor: "p", profile: "", workload: { kind: "host", entrypoint: "/bin/true" } },
  ...{ ...profileDefaults, allowedEnvironment: [] },
};

describe("sbatchArgv", () => {
  const head = ["sbatch", "--parsable"];
  const tail = [
    ...["--job-name=emx2-j1", "--no-requeue", "--open-mode=append", "--chdir=/jobs/j1"],
    ...["--output=/jobs/j1/.emx2/slurm-%j.out", "--error=/jobs/j1/.emx2/slurm-%j.err"],
    ...["/jobs/j1/.emx2/job.sh", "/jobs/j1", "a1"],
  ];
  const cases: [string, Partial<Profile>, string[]][] = [
    ["a profile without options leaves all to Slurm's defaults", {}, []],
    ["cpus are of one task on one node", { cpus: 8 }, ["--nodes=1", "--ntasks=1", "--cpus-per-task=8"]],
    [
      "a layout of the operator's own stands",
      { cpus: 8, sbatchArgs: ["--ntasks=4"] },
      ["--cpus-per-task=8", "--ntasks=4"],
    ],
    [
      "every option of a profile is passed in Slurm's own words",
      { memory: "64G", time: "04:00:00", partition: "gpu", account: "proj", qos: "long", gpus: 1, gres: "gpu:a100:1" },
      ["mem=64G", "time=04:00:00", "partition=gpu", "account=proj", "qos=long", "gpus=1", "gres=gpu:a100:1"].map(
        (option) => `--${option}`,
      ),
    ],
    ["a warning before the limit goes to the batch shell", { warnBeforeLimitMs: 60_500 }, ["--signal=B:USR2@61"]],
    ["options of the operator's own come before ours", { sbatchArgs: ["--job-name=x"] }, ["--job-name=x"]],
  ];
  test.each(cases)("%s", (_, profile, options) => {
    expect(sbatchArgv(run, { ...bare, ...profile })).toEqual([...head, ...options, ...tail]);
  });

  test("a profile that allows a requeue says so, and does not say the opposite", () => {
    const argv = sbatchArgv(run, { ...bare, requeue: true });
    expect(argv.filter((option) => option.endsWith("requeue"))).toEqual(["--requeue"]);
  });

  test("a percent sign in the directory is doubled in log patterns and nowhere else", () => {
    const argv = sbatchArgv({ ...run, dir: "/jobs/50%j" }, bare);
    expect(argv).toContain("--output=/jobs/50%%j/.emx2/slurm-%j.out");
    expect(argv).toContain("--chdir=/jobs/50%j");
  });

  test("a backslash in the directory is named, since no pattern can spell it", () => {
    expect(unwritableLogs("/jobs/a\\b")).toContain("/jobs/a\\b");
    expect(unwritableLogs("/jobs/a%b")).toBeUndefined();
  });
});

describe("queries", () => {
  test("their argument lists are these", () => {
    expect(squeueArgv("jo")).toEqual(["squeue", "-h", "-t", "all", "-u", "jo", "-o", "%i|%u|%T|%V|%M|%N|%r|%j"]);
    const columns = "JobID,User,State,Submit,Elapsed,NodeList,Reason,ExitCode,JobName";
    const sacct = ["sacct", "-P", "-n", "-X", "-S", "now-91seconds"];
    expect(sacctArgv({ ids: ["1", "2"] }, 90.2)).toEqual([...sacct, "--jobs=1,2", "-o", columns]);
    expect(sacctArgv({ names: ["emx2-j1"] }, 91)).toEqual([...sacct, "--name=emx2-j1", "-o", columns]);
    expect(scancelArgv("jo", "emx2-j1")).toEqual(["scancel", "--user=jo", "--name=emx2-j1"]);
  });

  test("only what Slurm needs of the environment is passed on", () => {
    const mine = {
      PATH: "/bin",
      HOME: "/h",
      SLURM_CONF: "/c",
      SQUEUE_PARTITION: "gpu",
      SBATCH_ARRAY_INX: "0-2",
      TOKEN: "t",
    };
    expect(submitEnvironment(mine)).toEqual({ PATH: "/bin", HOME: "/h", SLURM_CONF: "/c" });
    expect(Object.keys(queryEnvironment(mine))).toEqual(["PATH", "HOME", "SLURM_CONF", "LC_ALL", "SLURM_TIME_FORMAT"]);
  });
});

describe("parseRows", () => {
  const rowsOf = (version: string, name: string) => {
    const { stdout, argv } = transcript(version, name);
    return parseRows(name.startsWith("squeue") ? "squeue" : "sacct", stdout, argv);
  };

  test("every state that squeue and sacct printed is known", () => {
    const unknown = [...transcriptsOf("squeue"), ...transcriptsOf("sacct")].flatMap(({ version, name, exitCode }) =>
      exitCode === 0 ? rowsOf(version, name).filter((row) => row.state === "UNKNOWN") : [],
    );
    expect(unknown).toEqual([]);
  });

  test("squeue's rows, with a separator and a newline in names", () => {
    const rows = rowsOf("22.05.8", "squeue-ours");
    const named = (name: string) => rows.find((row) => row.name === name);
    expect(named("emx2-run")).toEqual({
      ...{ source: "squeue", schedulerId: "29", name: "emx2-run", user: "emx2", submittedAt: 1795370436 },
      ...{ state: "RUNNING", elapsed: "00:00:02", node: "vm" },
    });
    expect(named("emx2-held")).toMatchObject({ state: "PENDING", reason: "JobHeldUser" });
    expect(named("emx2-held")?.node).toBeUndefined();
    expect(named("emx2-|odd|name")?.state).toBe("COMPLETED");
    expect(rows.filter((row) => row.schedulerId === "27").map((row) => row.name)).toEqual(["two"]);
  });

  test.each([
    ["0:02", "00:00:02"],
    ["45:12", "00:45:12"],
    ["1:02:03", "01:02:03"],
    ["1-02:03:04", "1-02:03:04"],
    ["INVALID", "INVALID"],
  ])("squeue's elapsed time %s is told as sacct's would be: %s", (printed, told) => {
    const argv = squeueArgv("emx2");
    const [row] = parseRows("squeue", `7|emx2|RUNNING|1795370436|${printed}|n1|None|emx2-a\n`, argv);
    expect(row?.elapsed).toBe(told);
  });

  test("sacct's rows tell exit code, signal and who cancelled", () => {
    expect(rowsOf("22.05.8", "sacct-ours")).toEqual([
      expect.objectContaining({ schedulerId: "29", state: "RUNNING", exitCode: 0, signal: 0 }),
      expect.objectContaining({ schedulerId: "31", state: "CANCELLED", cancelledBy: 1001 }),
    ]);
    expect(rowsOf("22.05.8", "sacct-ours-by-name")).toEqual([
      expect.objectContaining({ name: "emx2-three", state: "FAILED", exitCode: 3, signal: 0 }),
      expect.objectContaining({ name: "emx2-nodir", state: "FAILED", exitCode: 0, signal: 53 }),
    ]);
    expect(rowsOf("22.05.8", "sacct-out-of-memory")[0]).toMatchObject({ state: "OUT_OF_MEMORY", signal: 125 });
    expect(rowsOf("24.11.5", "sacct-timeout")[0]).toMatchObject({ state: "TIMEOUT", exitCode: 0 });
  });

  test("a fresh row of sacct carries neither our name nor our user", () => {
    expect(rowsOf("22.05.8", "sacct-fresh")).toEqual([
      expect.objectContaining({ name: "allocation", user: "root", state: "PENDING" }),
    ]);
  });

  test("a state that no table knows is kept as a word", () => {
    const [row] = parseRows("squeue", "5|DOZING", ["squeue", "-o", "%i|%T"]);
    expect(row).toMatchObject({ state: "UNKNOWN", word: "DOZING" });
  });

  test("no output is no rows; output that is no row is a fault", () => {
    expect(parseRows("squeue", "", squeueArgv("jo"))).toEqual([]);
    expect(() => parseRows("squeue", "Welcome to the cluster!\n", squeueArgv("jo"))).toThrow(SchedulerOutputError);
  });
});
