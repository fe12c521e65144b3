/** `check` on a head node: what it says where all is well, and where Slurm's configuration is not where it is looked for. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { onRealSlurm, openSlurmStage, type SlurmStage } from "./real-slurm.ts";

onRealSlurm("check", () => {
  test("finds everything in order, and leaves nothing behind", async () => {
    await using stage = await openSlurmStage();
    const { items, exitCode } = await check(stage);
    expect(items.filter(({ result }) => result !== "ok")).toEqual([]);
    const seen = new Set(items.map(({ item }) => item));
    for (const item of ["Slurm", "slurmctld", "accounting", "EMX2"]) expect(seen).toContain(item);
    expect(exitCode).toBe(0);
    expect(stage.state.workers.size).toBe(0);
    expect(existsSync(stage.stateDir)).toBe(false);
    expect(readdirSync(stage.jobsDir)).toEqual([]);
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
