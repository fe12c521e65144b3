/** What accounting recorded of a run: units, steps, whose it is, and how often it is asked. */
import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { type RunRef, runName } from "../../../src/job/run.ts";
import { usageWords } from "../../../src/job/usage.ts";
import { createSlurm } from "../../../src/scheduler/slurm.ts";
import { readUsage, usageArgv } from "../../../src/scheduler/slurm-usage.ts";
import { transcript } from "./transcript.ts";

const never = new AbortController().signal;
const user = "emx2";
const run: RunRef = {
  ...{ jobId: "j1", attempt: "a1", name: runName("j1"), schedulerId: "3", dir: "/jobs/j1", notBefore: 0 },
};
const gb = 2 ** 30;
const tres = "billing=8,cpu=8,gres/gpu=2,mem=8G,node=2";

/** As `-P` prints them: JobID User State ElapsedRaw TimelimitRaw TotalCPU CPUTimeRAW MaxRSS NNodes AllocTRES Energy JobName. */
const job = `3|${user}|COMPLETED|2712|60|01:02:03|21696||2|${tres}|0|emx2-j1`;
const batch = "3.batch||COMPLETED|2712||30:00.500|10848|3432K|1|cpu=4,mem=4G,node=1|1200|batch";
const step = "3.0||COMPLETED|2700||32:02.500|10848|4173332480|2|cpu=8,mem=8G,node=2|2400|tool";
const neighbour = "33.batch||COMPLETED|1||00:00:01|1|9G|1|||batch";

const read = (...lines: string[]) => readUsage(`${lines.join("\n")}\n`, [run], user).get("3");

describe("readUsage", () => {
  test("takes a real run's, as this very command printed it", () => {
    const { argv, stdout } = transcript("22.05.8", "sacct-usage");
    expect(usageArgv(["2"], 3_600)).toEqual([...argv]);
    const jobId = "11111111-2222-3333-4444-666666666666";
    const real: RunRef = { ...run, jobId, name: runName(jobId), schedulerId: "2" };
    expect(readUsage(stdout, [real], user).get("2")).toEqual({
      ...{ elapsedSeconds: 8, timeLimitSeconds: 120, cpuSeconds: 2.112, allocatedCpuSeconds: 8 },
      ...{ maxRssBytes: 10_608 * 1_024, memoryBytes: 100 * 2 ** 20, nodes: 1 },
    });
  });

  test("takes the peak of all steps, what it had on a node, and GPUs", () => {
    expect(read(job, batch, step, neighbour)).toEqual({
      ...{ elapsedSeconds: 2712, timeLimitSeconds: 3600, cpuSeconds: 3723, allocatedCpuSeconds: 21_696 },
      ...{ maxRssBytes: 4_173_332_480, memoryBytes: 4 * gb, nodes: 2, gpus: 2, energyJoules: 2400 },
    });
  });

  test.each([
    ["3432K", 3432 * 1024],
    ["1.50G", 1.5 * gb],
    ["512", 512],
    ["", undefined],
    ["0", undefined],
    ["much", undefined],
  ])("MaxRSS %p", (text, bytes) => {
    expect(read(job, `3.batch||COMPLETED|1||00:00:01|1|${text}|1|||batch`)?.maxRssBytes).toBe(bytes as number);
  });

  test("what is not recorded is absent, and not 0", () => {
    expect(read(`3|${user}|FAILED|0|UNLIMITED|00:00:00|0||1|||emx2-j1`)).toEqual({ elapsedSeconds: 0, nodes: 1 });
    const overrun = `3|${user}|FAILED|1|1|1-00:00:01|0||1|cpu=1|18446744073709551614|emx2-j1`;
    expect(read(overrun)).toEqual({ elapsedSeconds: 1, timeLimitSeconds: 60, cpuSeconds: 86_401, nodes: 1 });
  });

  test("nothing of what still runs, of another user, under another name, or of what is no row", () => {
    expect(read(job.replace("COMPLETED", "RUNNING"), batch)).toBeUndefined();
    expect(read(job.replace(user, "root"), batch)).toBeUndefined();
    expect(read(job.replace("emx2-j1", "emx2-j1|x"), batch)).toBeUndefined();
    expect(read("slurmdbd is upgrading", batch)).toBeUndefined();
    expect(read(job.replace("COMPLETED", "CANCELLED by 0"))).toBeDefined();
  });
});

test("is told in words", () => {
  expect(usageWords(read(job, batch, step) ?? {})).toBe(
    "00:45:12, cpu 01:02:03 of 06:01:36, 3.89 GB of 4 GB on 2 nodes, 2 GPUs, 2400 J",
  );
  expect(usageWords({})).toBe("");
  expect(usageWords({ maxRssBytes: 3432 * 1024, nodes: 1 })).toBe("3.35 MB on 1 node");
});

describe("usage", () => {
  async function withSacct<T>(script: string, use: (calls: () => string[]) => Promise<T>): Promise<T> {
    const dir = mkdtempSync(join(tmpdir(), "emx2-usage-"));
    try {
      writeFileSync(join(dir, "sacct"), `#!/bin/sh\necho "$@" >>"${dir}/calls"\n${script}\n`);
      chmodSync(join(dir, "sacct"), 0o755);
      binDir = dir;
      return await use(() => readFileSync(join(dir, "calls"), "utf8").split("\n").filter(Boolean));
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
  let binDir = "";
  const slurm = () => createSlurm({ clock: systemClock, binDir, env: process.env, user });

  test("500 that ask at once cost two sacct, with the steps", () =>
    withSacct(`printf '%s\\n' '${job}' '${batch}'`, async (calls) => {
      const scheduler = slurm();
      const asked = Array.from({ length: 500 }, (_, index) => ({ ...run, schedulerId: String(index + 3) }));
      const answers = await Promise.all(asked.map((each) => scheduler.usage?.(each, never)));
      expect(answers[0]).toMatchObject({ is: "known", usage: { maxRssBytes: 3432 * 1024 } });
      expect(answers[1]).toEqual({ is: "pending" });
      expect(calls().length).toBeLessThanOrEqual(2);
      expect(calls()[0]).not.toContain("-X");
    }));

  test("where there is no accounting it is asked once", () =>
    withSacct("echo 'Slurm accounting storage is disabled' >&2; exit 1", async (calls) => {
      const scheduler = slurm();
      expect(await scheduler.usage?.(run, never)).toEqual({ is: "nothing" });
      expect(await scheduler.usage?.(run, never)).toEqual({ is: "nothing" });
      expect(calls()).toHaveLength(1);
    }));

  test("where accounting does not answer nothing is known", () =>
    withSacct("echo 'sacct: error: Problem talking to the database: Connection refused' >&2; exit 1", async () => {
      expect(await slurm().usage?.(run, never)).toEqual({ is: "nothing" });
    }));

  test("the ids of many are asked for at once", () => {
    expect(usageArgv(["1", "2"], 90.2)).toEqual(expect.arrayContaining(["now-91seconds", "--jobs=1,2"]));
  });
});
