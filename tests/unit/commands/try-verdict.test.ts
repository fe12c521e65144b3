/** What a trial says of what it has seen: a verdict each, right where all is well and named where something is not. */
import { describe, expect, test } from "bun:test";
import { hostname } from "node:os";
import { isProved, type Trial, verdictsOf } from "../../../src/commands/try-verdict.ts";
import type { StoredJob } from "../../../src/emulator/state.ts";
import type { Job } from "../../../src/job/job.ts";
import { type ImageWorkload, profileDefaults } from "../../../src/job/profile.ts";
import type { Outcome } from "../../../src/job/run.ts";
import type { NodeLook, Shown } from "../../../src/job/trial.ts";

const gigabyte = 2 ** 30;
const outcome: Outcome = {
  ...{ result: "succeeded", outputDir: "output", proof: "receipt", state: "COMPLETED", exitCode: 0, node: "n1" },
  used: { elapsedSeconds: 60, timeLimitSeconds: 600, memoryBytes: 4 * gigabyte, maxRssBytes: gigabyte },
};
const node: NodeLook = {
  ...{ name: "n1", starter: "apptainer version 1.4.5", imageReadable: true, imageBytes: 10, imageMtimeS: 20 },
  ...{ userNamespaces: true, fuse: true, startMs: 900, startExit: 0, cpus: 4, gpus: ["GPU 0: A100"] },
  places: { work: { type: "nfs", freeBytes: gigabyte }, output: {}, tmp: {} },
};
const files = { roundTripMs: 200, clockAheadMs: 10 };

interface Changes {
  readonly node?: Partial<NodeLook>;
  readonly files?: Shown["files"] | null;
  readonly outcome?: Partial<Outcome>;
  readonly job?: Partial<Job> | null;
  readonly fault?: string;
  readonly mount?: NonNullable<Trial["mount"]>;
  readonly gpus?: number | null;
  readonly sha256?: string;
  readonly prelude?: readonly string[];
  /** What the prelude wrote. */
  readonly wrote?: string;
  readonly isSeenInside?: boolean;
}

function trialWith({
  node: seen = {},
  files: met = files,
  outcome: end = {},
  job = {},
  fault,
  gpus = 1,
  mount,
  sha256,
  prelude = [],
  wrote = "",
  isSeenInside = true,
}: Changes): Trial {
  const closed = { at: 0, status: "COMPLETED", why: "reported COMPLETED" } as const;
  const run = { stage: "ended", outcome: { ...outcome, ...end }, stderrTail: [] } as const;
  const workload: ImageWorkload = {
    ...{ kind: "image", image: "/images/tool.sif", isolation: "contained", gpuRuntime: "nv", apptainerArgs: [] },
    ...(sha256 === undefined ? {} : { sha256 }),
  };
  return {
    profile: {
      ...profileDefaults,
      key: "a/b",
      processor: "a",
      profile: "b",
      workload,
      prelude,
      cpus: 4,
      ...(gpus === null ? {} : { gpus }),
    },
    stored: {} as StoredJob,
    job: job === null ? undefined : ({ id: "j1", closed, run, outputs: {}, waits: {}, ...job } as unknown as Job),
    shown: {
      ...{ prelude: wrote, node: { ...node, ...seen } },
      ...(isSeenInside ? { image: { gpus: seen.gpus ?? node.gpus, places: node.places } } : {}),
      ...(met === null ? {} : { files: met }),
    },
    received: { files: [{ path: "r", bytes: 3, sha256: "00" }], ...(fault === undefined ? {} : { fault }) },
    image: { bytes: 10, mtimeS: 20 },
    mount,
  };
}

function failedBy(changes: Changes) {
  return verdictsOf(trialWith(changes)).filter(({ result }) => result !== "ok");
}

test("where all is well, every verdict is ok, and the profile is proved", () => {
  expect(failedBy({})).toEqual([]);
  expect(isProved(verdictsOf(trialWith({})))).toBe(true);
  expect(verdictsOf(trialWith({})).map(({ item }) => item)).toEqual([
    ...["job", "outputs", "memory", "time", "tmp_dir", "files between node and here", "clock of the node"],
    ...["image on the node", "image start-up", "user namespaces", "FUSE", "GPU", "CPUs"],
  ]);
});

const failedRun = { result: "failed", state: "FAILED", exitCode: 7 } as const;
const ended = (why: string) => ({ closed: { at: 0, status: "FAILED" as const, why } });

describe("not proved, and why", () => {
  test.each<[string, Changes, item: string, words: string, fix: string]>([
    ["never taken", { job: null }, "job", "never taken", "the daemon says why"],
    ["still at work", { job: { closed: undefined } as never }, "job", "still going on", "scancel --name=emx2-j1"],
    [
      "the program failed",
      {
        job: {
          ...ended("reported FAILED"),
          run: { stage: "ended", outcome: { ...outcome, ...failedRun }, stderrTail: [] },
        },
      },
      "job",
      "exit code 7; who can act: the submitter",
      "",
    ],
    [
      "out of memory",
      {
        job: {
          ...ended("reported FAILED"),
          run: { stage: "ended", outcome: { ...outcome, result: "failed", state: "OUT_OF_MEMORY" }, stderrTail: [] },
        },
      },
      "job",
      "more memory than it had",
      "asked 4 GB, peaked at 1 GB when it was last sampled: raise memory",
    ],
    [
      "refused",
      {
        job: {
          ...ended("worker.held_jobs_wait is over"),
          stop: { by: "held" } as never,
          waits: { run: { failures: 3, until: 0, cause: "sbatch: invalid partition" } },
          run: { stage: "none" },
        },
      },
      "job",
      "not submitted: sbatch: invalid partition",
      "correct the profile",
    ],
    [
      "outputs that could not be taken",
      {
        job: {
          ...ended("reported FAILED"),
          outputs: { stage: "failed", detail: '"pipe" is no regular file' } as never,
        },
      },
      "job",
      'its outputs were not taken: "pipe" is no regular file; who can act: the operator',
      "",
    ],
    ["outputs missing", { fault: "r is not what its hash says" }, "outputs", "not what its hash says", ""],
  ])("%s", (_, changes, item, words, fix) => {
    expect(isProved(verdictsOf(trialWith(changes)))).toBe(false);
    const verdict = failedBy(changes).find(({ result }) => result === "failed");
    expect(verdict?.item).toBe(item);
    expect(verdict?.detail).toContain(words);
    expect(verdict?.fix ?? "").toContain(fix);
  });
});

describe("worth a look, and not proved where it failed", () => {
  const near = { used: { memoryBytes: 4 * gigabyte, maxRssBytes: 3.9 * gigabyte } };
  const here = { name: `${hostname().split(".")[0]}.cluster` };
  const on = (kind: string) => ({ point: "/jobs", kind, source: "x", options: [] });
  test.each<[string, Changes, item: string, words: string]>([
    ["memory is close", { outcome: near }, "memory", "asked 4 GB, peaked at 3.9 GB: that is close"],
    [
      "memory is overdrawn",
      { outcome: { used: { memoryBytes: gigabyte, maxRssBytes: 2 * gigabyte } } },
      "memory",
      "peaked at 2 GB: more than it asked, and nothing has held it to that",
    ],
    [
      "a prelude that has spoken",
      { prelude: ["ml x", "ml y"], wrote: "a\nml: not found\n\nml: not found\n" },
      "prelude",
      "wrote: ml: not found / ml: not found",
    ],
    ["memory is not known", { outcome: { used: {} } }, "memory", "not recorded"],
    [
      "time is close",
      { outcome: { used: { ...outcome.used, elapsedSeconds: 590 } } },
      "time",
      "asked 00:10:00, ran 00:09:50",
    ],
    ["tmp_dir is one host's", { node: here, mount: on("xfs") }, "tmp_dir", "xfs, a disk of this host"],
    ["files are slow", { files: { roundTripMs: 31_000, clockAheadMs: 0 } }, "files between node and here", "31.0 s"],
    ["files are not seen", { files: null }, "files between node and here", "within a minute"],
    [
      "the clock is behind",
      { files: { roundTripMs: 200, clockAheadMs: -42_000 } },
      "clock of the node",
      "42.0 s behind this host's, give or take 0.1 s",
    ],
    ["the image starts slowly", { node: { startMs: 45_000 } }, "image start-up", "45.0 s"],
    ["no FUSE", { node: { fuse: false } }, "FUSE", "can not be used"],
    ["another processor", { node: { architecture: "riscv64" } }, "processor", "riscv64"],
    ["fewer CPUs", { node: { cpus: 2 } }, "CPUs", "asked 4, may use 2"],
    [
      "the image can not be read there",
      { node: { imageReadable: false } },
      "image on the node",
      "can not be read there",
    ],
    ["the image is another one there", { node: { imageMtimeS: 21 } }, "image on the node", "another file there"],
    [
      "the image was replaced",
      { outcome: { imageChanged: true } },
      "image on the node",
      "not there as it was looked at here before",
    ],
    ["no container, though its program says so", { isSeenInside: false }, "image", "nothing was seen from inside"],
    ["no user namespaces", { node: { userNamespaces: false, startExit: 255 } }, "user namespaces", "refuses them"],
    ["no GPU", { node: { gpus: [], slurmGpus: "0" } }, "GPU", "asked 1, Slurm gave 0, and the job saw none"],
  ])("%s", (_, changes, item, words) => {
    expect(failedBy(changes)).toMatchObject([{ item }]);
    expect(failedBy(changes)[0]?.detail).toContain(words);
    expect(failedBy(changes)[0]?.fix).not.toBe("");
    expect(isProved(verdictsOf(trialWith(changes)))).toBe(failedBy(changes)[0]?.result === "warning");
  });

  test.each<[string, Changes]>([
    ["Apptainer that starts without user namespaces", { node: { userNamespaces: false } }],
    ["shared storage that was seen from this very host", { node: here, mount: on("lustre") }],
    ["a disk that another host has shown to be exported", { mount: on("xfs") }],
    ["a clock that is as far off as the way is long", { files: { roundTripMs: 4_000, clockAheadMs: 3_000 } }],
    ["a prelude that has said nothing", { prelude: ["ml x"] }],
    ["a copy of an image that is held to its hash", { sha256: "ab", node: { imageMtimeS: 21 } }],
    ["how long an image took that did not start", { node: { startMs: 45_000, startExit: 255 } }],
    ["an image without a shell", { isSeenInside: false, node: { startExit: 255 } }],
    ["a job that asks for no GPU", { gpus: null, node: { gpus: [] } }],
  ])("nothing is said of %s", (_, changes) => {
    expect(failedBy(changes)).toEqual([]);
  });
});
