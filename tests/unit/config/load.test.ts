import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { findConfig, loadConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/errors.ts";
import { profileDefaults } from "../../../src/job/profile.ts";
import { configText, load, problemsIn, problemsOf, sandbox } from "./config-file.ts";

const box = sandbox();
afterAll(() => box.remove());

const reference = `emx2:
  base_url: https://emx2.example.org
  worker_id: hpc-headnode-01
  shared_secret_file: /etc/emx2-hpc/secret
  auth_mode: hmac
worker:
  poll_interval_seconds: 5
  max_concurrent_jobs: 10
profiles:
  text-embedding:v3/gpu-medium:
    sif_image: /nfs/images/text-embedding_v3.sif
    partition: gpu
    cpus: 8
    memory: 64G
    time: "04:00:00"
    output_residence: posix
    log_residence: managed
apptainer:
  bind_paths:
    - "/nfs/data:/data"
  tmp_dir: /nfs/scratch/emx2-hpc
`;

describe("a whole file", () => {
  test("the configuration of the reference's documentation loads unchanged and means the same", () => {
    const config = load(box, reference);
    expect(config.emx2).toEqual({
      baseUrl: "https://emx2.example.org",
      workerId: "hpc-headnode-01",
      authMode: "hmac",
      secret: { kind: "file", path: "/etc/emx2-hpc/secret" },
      unknownJobsWaitMs: 3_600_000,
    });
    expect(config.worker).toEqual({
      pollIntervalMs: 5000,
      maxConcurrentJobs: 10,
      heartbeatIntervalMs: 120_000,
      maxConcurrentTransfers: 4,
      stateDir: join(box.home, ".local/state/emx2-hpc-daemon"),
      stateLeaseMs: 180_000,
      queueReportIntervalMs: 300_000,
      heldJobsWaitMs: 86_400_000,
      uploadRetryMs: 72 * 3_600_000,
      keepJobDirsMs: 7 * 86_400_000,
      minFreeDiskBytes: 10 * 2 ** 30,
      waits: { receiptMs: 60_000, sealMs: 3_600_000, cancelledMs: 60_000, lostAfterMs: 3_600_000 },
      neverRunnablePatienceMs: null,
      stderrLinesInReports: 20,
      maxLogBytes: 64 * 2 ** 20,
    });
    expect(config.slurm).toEqual({
      maxSubmissionsPerMinute: 60,
      killWaitMs: 300_000,
      limits: { submitMs: 60_000, queryMs: 60_000, messageMs: 30_000, accountingLagMs: 90_000 },
    });
    expect(config.profiles).toEqual([
      {
        key: "text-embedding:v3/gpu-medium",
        processor: "text-embedding:v3",
        profile: "gpu-medium",
        workload: {
          kind: "image",
          image: "/nfs/images/text-embedding_v3.sif",
          isolation: "contained",
          gpuRuntime: "none",
          apptainerArgs: [],
        },
        partition: "gpu",
        cpus: 8,
        memory: "64G",
        time: "04:00:00",
        ...profileDefaults,
        outputResidence: "posix",
        allowedEnvironment: ["*"],
      },
    ]);
    expect(config.apptainer).toEqual({
      command: "apptainer",
      binds: [{ source: "/nfs/data", destination: "/data", writable: false }],
      tmpDir: "/nfs/scratch/emx2-hpc",
      posixRoots: [],
    });
    expect(config.warnings).toEqual([]);
    expect(config.file).toBe(join(box.directory, "config.yaml"));
  });

  test("the example loads, its secret's file need not be there, and it names every key", async () => {
    const example = join(import.meta.dir, "../../../config.example.yaml");
    const config = loadConfig({ path: example, env: { EMX2_URL: "https://emx2.site.org/root/" }, home: box.home });
    expect(config.warnings).toEqual([]);
    expect(config.emx2.baseUrl).toBe("https://emx2.site.org/root");
    expect(config.profiles.map(({ processor, profile }) => [processor, profile])).toEqual([
      ["text-statistics", "small"],
      ["text-embedding:v3", "gpu-medium"],
      ["genomics/variant:calls", "large"],
    ]);
    const { schemaFor, sectionsFor } = await import("../../../src/config/schema.ts");
    const places = { home: "/", directory: "/" };
    const keys = Object.values(sectionsFor(places)).flatMap(({ entries }) => Object.keys(entries));
    const text = await Bun.file(example).text();
    const all = [...keys, ...Object.keys(schemaFor(places).entries)];
    expect(all.filter((key) => !new RegExp(`\\b${key}\\b`).test(text))).toEqual([]);
  });

  test("five faults in one file are all told, with line, column and key", () => {
    const text = `emx2:
  base_url: ftp://emx2.example.org
  worker_id: w
  worker_id: v
  worker_secret_file: \${NO_SUCH_VARIABLE}
worker:
  poll_intervall_seconds: 30
  max_concurrent_jobs: many
profiles: {}
apptainer:
  tmp_dir: /scratch
`;
    const problems = problemsOf(box, text);
    expect(problems.map(({ line, column, path }) => [line, column, path])).toEqual([
      [2, 3, "emx2.base_url"],
      [4, 3, "emx2.worker_id"],
      [5, 3, "emx2.worker_secret_file"],
      [7, 3, "worker.poll_intervall_seconds"],
      [8, 3, "worker.max_concurrent_jobs"],
    ]);
    expect(new Set(problems.map(({ file }) => file))).toEqual(new Set([join(box.directory, "config.yaml")]));
    const [, duplicate, unset, unknown, wrong] = problems.map(formatProblem);
    expect(duplicate).toContain("given twice (first in line 3)");
    expect(unset).toContain("NO_SUCH_VARIABLE is not set");
    expect(unknown).toContain(
      "did you mean poll_interval_seconds? allowed: poll_interval_seconds, max_concurrent_jobs,",
    );
    expect(wrong).toContain('must be a whole number from 1 to 1000000, not "many"');
  });

  test("an empty file is told what is missing, with what it is for", () => {
    const lines = problemsOf(box, "# nothing\n").map(formatProblem);
    for (const key of [
      "emx2.base_url: is missing (Address",
      "emx2.worker_id: is missing",
      "apptainer.tmp_dir: is missing",
    ])
      expect(lines.join("\n")).toContain(key);
    expect(lines.join("\n")).toContain("emx2: needs worker_secret_file");
  });

  test("blocks whose keys are all commented out are as good as left out", () => {
    const config = load(box, configText({}));
    expect(config.worker.pollIntervalMs).toBe(30_000);
  });

  test("a configuration without profiles loads with a warning", () => {
    const config = load(box, configText({ profiles: "" }));
    expect(config.profiles).toEqual([]);
    expect(config.warnings.map(({ path }) => path)).toEqual(["profiles"]);
  });
});

describe("which file", () => {
  const home = box.home;
  const mine = box.write("home/.config/emx2-hpc-daemon/config.yaml", reference);
  const other = box.write("other.yaml", reference);

  test("-c comes before the variable, the variable before the user's", () => {
    const env = { EMX2_HPC_CONFIG: other };
    expect(findConfig({ path: mine, env, home })).toBe(mine);
    expect(findConfig({ env, home })).toBe(other);
    expect(findConfig({ env: { EMX2_HPC_CONFIG: "" }, home })).toBe(mine);
  });

  test("one that was asked for and is not there is an error, and no other is taken", () => {
    for (const options of [
      { path: "/no/such", env: {}, home },
      { env: { EMX2_HPC_CONFIG: `${other}/x` }, home },
    ]) {
      const [problem] = problemsIn(() => findConfig(options));
      expect(problem?.message).toContain("does not exist");
    }
  });

  test("none at all names all that were tried", () => {
    const empty = join(box.directory, "empty");
    const [problem] = problemsIn(() => findConfig({ env: {}, home: empty }));
    for (const place of ["-c", "$EMX2_HPC_CONFIG", `${empty}/.config/emx2-hpc-daemon/config.yaml`, "/etc/emx2-hpc/"])
      expect(problem?.message).toContain(place);
  });

  test.each([
    ["a directory", () => box.directory, "cannot be read"],
    ["a device", () => "/dev/zero", "it is not a regular file"],
    ["not UTF-8", () => box.write("latin1.yaml", new Uint8Array([0x61, 0xff, 0xfe])), "is not UTF-8"],
    ["huge", () => box.write("huge.yaml", "#".repeat(1_000_001)), "larger than 1000000"],
  ])("%s is refused", (_, make, message) => {
    const [problem] = problemsIn(() => loadConfig({ path: make(), env: {}, home }));
    expect(problem?.message).toContain(message);
  });
});
