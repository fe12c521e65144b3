/** How often Slurm is asked, over the fake programs, which note every call. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { type RunRef, runName } from "../../../src/job/run.ts";
import { createSlurm } from "../../../src/scheduler/slurm.ts";
import { hostProfile } from "../../contract/scheduler/suite.ts";
import { callsOf, installFakeSlurm } from "../../fake-slurm/install.ts";

setDefaultTimeout(60_000);
const never = new AbortController().signal;
const user = "jo";

let dir = "";
let fake = "";
let aheadMs = 0;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-slurm-calls-"));
  fake = join(dir, "slurm");
  aheadMs = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const clock: Clock = { ...systemClock, mono: () => systemClock.mono() + aheadMs };

function slurm(more: Readonly<Record<string, string>> = {}) {
  const { PATH } = process.env;
  const env = { PATH, HOME: dir, USER: user, LOGNAME: user, ...more };
  return createSlurm({ clock, binDir: installFakeSlurm(fake), env, user });
}

function runs(count: number, tracked: boolean): RunRef[] {
  return Array.from({ length: count }, (_, index) => ({
    ...{ jobId: `j${index}`, attempt: "a1", name: runName(`j${index}`), dir: join(dir, "gone", `j${index}`) },
    ...{ notBefore: clock.wall(), ...(tracked ? { schedulerId: String(index + 1) } : {}) },
  }));
}

/** All jobs in one file, as the fake programs read them. */
function known(refs: readonly RunRef[]): void {
  const nowS = Math.floor(clock.wall() / 1_000);
  const lines = refs.map(({ name }, index) => [index + 1, user, nowS, name].join("\t"));
  writeFileSync(join(fake, "jobs", "1.job"), `${lines.join("\n")}\n`);
}

describe("states", () => {
  test("1,000 runs cost one squeue a cycle and no sacct while squeue knows them", async () => {
    const scheduler = slurm();
    const refs = runs(1_000, true);
    known(refs);
    for (const cycle of [1, 2, 3]) {
      const answer = await scheduler.states(refs, never);
      expect(answer.is === "answered" && answer.rows.size).toBe(1_000);
      expect(callsOf(fake)).toHaveLength(cycle);
    }
    expect(callsOf(fake, "squeue")).toHaveLength(3);
  });

  test("nothing is asked about nothing", async () => {
    await slurm().states([], never);
    expect(callsOf(fake)).toEqual([]);
  });

  test("1,500 runs that squeue has forgotten cost two sacct a cycle", async () => {
    const scheduler = slurm();
    const refs = runs(1_500, true);
    await scheduler.states(refs, never);
    expect(callsOf(fake, "squeue")).toHaveLength(1);
    expect(callsOf(fake, "sacct")).toHaveLength(2);
  });

  test("an end that accounting has told of is not asked about again", async () => {
    const scheduler = slurm();
    const refs = runs(2, true);
    known(refs);
    appendFileSync(join(fake, "jobs", "1.end"), "1\tFAILED\t3\t0\t1\n2\tCOMPLETED\t0\t0\t1\n");
    for (let cycle = 0; cycle < 3; cycle += 1) {
      const answer = await scheduler.states(refs, never);
      expect(answer.is === "answered" && answer.rows.get("j0")).toMatchObject({ source: "squeue", exitCode: 3 });
    }
    expect(callsOf(fake, "sacct")).toEqual([expect.stringContaining("--jobs=1 ")]);
  });

  test("an end that accounting does not tell of is asked about for some minutes, and no longer", async () => {
    const scheduler = slurm();
    const refs = runs(1, true);
    known(refs);
    appendFileSync(join(fake, "jobs", "1.end"), "1\tFAILED\t3\t0\t1\n");
    writeFileSync(join(fake, "fail-sacct"), "1\nsacct: error: Problem talking to the database: Connection refused\n");
    await scheduler.states(refs, never);
    await scheduler.states(refs, never);
    expect(callsOf(fake, "sacct")).toHaveLength(2);
    aheadMs = 300_000;
    await scheduler.states(refs, never);
    expect(callsOf(fake, "sacct")).toHaveLength(2);
  });

  test("what waits or runs under our names is told with them, and nothing that has ended or is another's", async () => {
    const scheduler = slurm();
    const refs = runs(2, true);
    known([...refs, { ...runs(1, false)[0], name: "emx2-other" } as RunRef]);
    appendFileSync(join(fake, "jobs", "1.job"), "9\tann\t1\temx2-j0\n10_2\tjo\t1\temx2-j0\n11\tjo\t1\temx2-j0\n");
    appendFileSync(join(fake, "jobs", "1.end"), "2\tFAILED\t3\t0\t1\n");
    const answer = await scheduler.states(refs, never);
    const live = answer.is === "answered" ? [...(answer.live ?? [])] : [];
    const ids = live.map(([name, rows]) => [name, rows.map(({ schedulerId }) => schedulerId)] as const);
    expect(Object.fromEntries(ids)).toEqual({ "emx2-j0": ["1", "11"], "emx2-other": ["3"] });
  });
});

describe("find", () => {
  test("500 looks at once cost at most two squeue and two sacct", async () => {
    const scheduler = slurm();
    const refs = runs(500, false);
    const answers = await Promise.all(refs.map((ref) => scheduler.find(ref, never)));
    expect(answers.every(({ is }) => is === "absent")).toBe(true);
    expect(callsOf(fake, "squeue").length).toBeLessThanOrEqual(2);
    expect(callsOf(fake, "sacct").length).toBeLessThanOrEqual(2);
  });

  test("looks and the cycle's own question share one squeue", async () => {
    const scheduler = slurm();
    const [tracked, lost] = [runs(50, true), runs(60, false).slice(50)];
    known([...tracked, ...lost]);
    const [answer, ...found] = await Promise.all([
      scheduler.states(tracked, never),
      ...lost.map((ref) => scheduler.find(ref, never)),
    ]);
    expect(answer?.is).toBe("answered");
    expect(found.map(({ is }) => is as string)).toEqual(lost.map(() => "found"));
    expect(callsOf(fake, "squeue").length).toBeLessThanOrEqual(2);
    expect(callsOf(fake, "sacct")).toHaveLength(0);
  });
});

test("no command of Slurm's sees the daemon's own SLURM, SBATCH, SQUEUE, SACCT and SCANCEL variables", async () => {
  const more = { SLURM_CONF: "/etc/slurm.conf", SQUEUE_PARTITION: "none", SBATCH_ARRAY_INX: "1-9", SLURM_JOB_ID: "7" };
  const scheduler = slurm({ ...more, SQUEUE_STATES: "none", SACCT_FORMAT: "x", SCANCEL_STATE: "none", TOKEN: "s" });
  for (const program of ["sbatch", "squeue", "sacct", "scancel"]) {
    const script = `#!/bin/sh\nenv >${join(dir, `${program}.env`)}\n`;
    writeFileSync(join(fake, "bin", program), script, { mode: 0o755 });
  }
  const [ref] = runs(1, false);
  if (!ref) throw new Error("no run");
  await scheduler.submit(ref, hostProfile, never);
  await scheduler.states([ref], never);
  await scheduler.cancel(ref, never);
  for (const program of ["sbatch", "squeue", "sacct", "scancel"]) {
    const names = readFileSync(join(dir, `${program}.env`), "utf8").match(/^\w+(?==)/gm) ?? [];
    const expected = ["HOME", "LOGNAME", "PATH", "SLURM_CONF", "USER"];
    const query = program === "sbatch" ? [] : ["LC_ALL", "SLURM_TIME_FORMAT"];
    const ours = names.filter((name) => !["PWD", "OLDPWD", "SHLVL", "_"].includes(name));
    expect(ours.sort()).toEqual([...expected, ...query].sort());
  }
});
