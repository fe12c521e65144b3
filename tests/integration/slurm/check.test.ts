/** `check` on a head node: what it says where all is well, where Slurm would not take a job, and without its configuration. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { onRealSlurm, openSlurmStage, type SlurmStage } from "./real-slurm.ts";

onRealSlurm("check", () => {
  test("finds everything in order, and leaves nothing behind", async () => {
    await using stage = await openSlurmStage({ worker: { poll_interval_seconds: 30 } });
    const { items, exitCode } = await check(stage);
    expect(items.filter(({ result }) => result !== "ok")).toEqual([]);
    const seen = new Set(items.map(({ item }) => item));
    for (const item of ["Slurm", "slurmctld", "accounting", "cluster", "EMX2"]) expect(seen).toContain(item);
    expect(exitCode).toBe(0);
    expect(stage.state.workers.size).toBe(0);
    expect(existsSync(stage.stateDir)).toBe(false);
    expect(readdirSync(stage.jobsDir)).toEqual([]);
  });

  test("names what Slurm would refuse or never run, by profile, and submits nothing", async () => {
    const program = "true";
    await using stage = await openSlurmStage({
      worker: { poll_interval_seconds: 30 },
      profiles: {
        fine: { program },
        partition: { program, partition: "nosuch" },
        cpus: { program, cpus: 100_000 },
        gpus: { program, gpus: "nosuch:1" },
        time: { program, time: "300-0" },
        option: { program, sbatch_args: ["--constraint=nosuch"] },
      },
    });
    const newest = () => stage.slurm("squeue", "-h", "-t", "all", "-o", "%i");
    const before = newest();
    const { items, exitCode } = await check(stage);
    expect(exitCode).toBe(1);
    const said = new Map(items.map(({ item, detail, fix }) => [item, `${detail} / ${fix}`]));
    expect(said.get("profile fine/default")).toContain("sbatch would take its jobs in partition cpu");
    expect(said.get("profile partition/default")).toMatch(/no partition nosuch.*one of: cpu/);
    expect(said.get("profile cpus/default")).toMatch(/sbatch refuses.*configuration is not available.*lower cpus/);
    expect(said.get("profile gpus/default")).toMatch(/sbatch refuses.*(gres|GRES|configuration).*gpus or gres/);
    expect(said.get("profile time/default")).toMatch(/300-0 is above the limit of partition cpu, 7-00:00:00/);
    expect(said.get("profile option/default")).toMatch(/sbatch refuses.*Invalid feature.*--constraint/);
    expect(newest()).toBe(before);
  });

  test.each([
    ["names no file", "/nonexistent/slurm.conf"],
    ["names nothing that it may read", "/proc/1/environ"],
    ["names what is no slurm.conf", "/etc/hostname"],
  ])("says at once what to do where SLURM_CONF %s", async (_, path) => {
    await using stage = await openSlurmStage({ env: { SLURM_CONF: path } });
    const { items, exitCode } = await check(stage);
    expect(items.filter(({ result }) => result === "failed")).toEqual([
      expect.objectContaining({ detail: expect.stringContaining(path), fix: expect.stringContaining("SLURM_CONF") }),
    ]);
    expect(exitCode).toBe(1);
  });
});

interface Item {
  readonly item: string;
  readonly result: string;
  readonly detail: string;
  readonly fix?: string;
}

async function check(stage: SlurmStage): Promise<{ readonly items: readonly Item[]; readonly exitCode: number }> {
  const { stdout, exitCode } = await stage.start("check", "--json").ended();
  return { ...JSON.parse(stdout), exitCode };
}
