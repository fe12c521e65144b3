import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import lookScript from "../../../src/job/look.sh" with { type: "text" };
import { controlFiles } from "../../../src/job/script.ts";
import { parseHeard, parseLook, parseNodeLook } from "../../../src/job/trial.ts";
import { hostProfile, shells } from "./job-directory.ts";

const input = {
  ...{ jobId: "j1", dir: "/jobs/j1", profile: hostProfile, sealMs: 60_000, parametersText: "{}" },
  apptainer: { command: "apptainer", binds: [] },
};

function namesOf(isTrial: boolean): string[] {
  const script = controlFiles({ ...input, isTrial });
  if (script.is === "refused") throw new Error(script.cause);
  const environment = script.files.find(({ name }) => name === "environment.sh")?.content ?? "";
  return [...script.files.map(({ name }) => name), ...(environment.includes("trial.sh") ? ["(runs it)"] : [])];
}

test("a trial's job looks around, and no other does", () => {
  const more = namesOf(true).filter((name) => !namesOf(false).includes(name));
  expect(more).toEqual(["look.sh", "trial.sh", "(runs it)"]);
});

describe.each(shells)("in %p", (...shell) => {
  test("a look tells who runs where, with how much room", () => {
    const dir = mkdtempSync(join(tmpdir(), "emx2 look-"));
    try {
      writeFileSync(join(dir, "look.sh"), lookScript);
      const { stdout, stderr, exitCode } = Bun.spawnSync(
        [...shell, join(dir, "look.sh"), dir, dir, "/nowhere/at/all"],
        {
          env: { PATH: "/usr/bin:/bin" },
        },
      );
      expect({ exitCode, said: stdout.toString(), stderr: stderr.toString() }).toMatchObject({
        said: expect.stringContaining("user="),
      });
      const look = parseLook(stdout.toString());
      expect(look.user).toContain(`uid ${process.getuid?.()}`);
      expect(look.architecture).toBe({ x64: "x86_64", arm64: "aarch64" }[process.arch as string] ?? look.architecture);
      expect(look.cpus).toBeGreaterThanOrEqual(1);
      expect(look.places.work.freeBytes).toBeGreaterThan(0);
      expect(look.places.output).toEqual({ ...look.places.work, freeBytes: expect.any(Number) });
      expect(look.places.tmp).toEqual({});
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("the lowest memory limit of its control groups is told, of version 1 and of version 2", () => {
    const dir = mkdtempSync(join(tmpdir(), "emx2-groups-"));
    try {
      const write = (path: string, text: string) => {
        mkdirSync(dirname(join(dir, path)), { recursive: true });
        writeFileSync(join(dir, path), text);
      };
      write("sys/memory/slurm/memory.limit_in_bytes", "209715200");
      write("sys/memory/slurm/job_1/memory.limit_in_bytes", "9223372036854771712");
      write("sys/slurm2/memory.max", "104857600\n");
      write("sys/slurm2/job/memory.max", "max\n");
      const limitOf = (groups: string) => {
        write("proc/self/cgroup", groups);
        const script = lookScript
          .replaceAll("/sys/fs/cgroup", join(dir, "sys"))
          .replaceAll("/proc/self/cgroup", join(dir, "proc/self/cgroup"));
        const { stdout } = Bun.spawnSync([...shell, "-c", script, "look.sh", dir, dir, dir], {
          env: { PATH: "/usr/bin:/bin" },
        });
        return parseLook(stdout.toString()).memoryBytes;
      };
      expect(limitOf("5:cpu:/x\n4:memory:/slurm/job_1/step_batch\n")).toBe(209_715_200);
      expect(limitOf("0::/slurm2/job\n")).toBe(104_857_600);
      expect(limitOf("0::/\n")).toBeUndefined();
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

test("what a node has shown is read", () => {
  const text = [
    "name=gpu-01",
    "slurm_memory_mb=4096",
    "slurm_gpus=0,1",
    "starter=apptainer version 1.4.5",
    "image=1081344 1795436518",
    "image_readable=yes",
    "user_namespaces=no",
    "fuse=yes",
    "began=1795436518.250000000",
    "started=0",
    "ready=1795436520.000000000",
    "user=lea (uid 1001, gid 1001)",
    "gpu=GPU 0: NVIDIA A100",
    "gpu=GPU 1: NVIDIA A100",
    "free_kib.tmp=1024",
    "type.tmp=xfs",
  ].join("\n");
  expect(parseNodeLook(text)).toEqual({
    ...{ name: "gpu-01", slurmMemoryBytes: 4 * 2 ** 30, slurmGpus: "0,1", starter: "apptainer version 1.4.5" },
    ...{ imageBytes: 1_081_344, imageMtimeS: 1_795_436_518, imageReadable: true, userNamespaces: false, fuse: true },
    ...{ startMs: 1_750, startExit: 0, user: "lea (uid 1001, gid 1001)" },
    gpus: ["GPU 0: NVIDIA A100", "GPU 1: NVIDIA A100"],
    places: { work: {}, output: {}, tmp: { freeBytes: 1_048_576, type: "xfs" } },
  });
});

test("whatever stands there, nothing more is read of it than what it says", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      for (const look of [parseLook(text), parseNodeLook(text)]) {
        for (const value of [
          look.cpus,
          look.memoryBytes,
          ...Object.values(look.places).map(({ freeBytes }) => freeBytes),
        ])
          expect(value === undefined || Number.isSafeInteger(value)).toBe(true);
      }
    }),
  );
});

test.each([
  ["1795436518.250000000", 1_795_436_518_250],
  ["1795436518.%N", 1_795_436_518_000],
  ["1795436518", 1_795_436_518_000],
  ["", undefined],
  ["soon", undefined],
])("the node's time %p is read", (text, at) => {
  expect(parseHeard(text, undefined)).toEqual(at === undefined ? {} : { askedAt: at });
});
