/** The questions of `check` to fake Slurm programs: what is asked, and what an answer means. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { type Profile, profileDefaults } from "../../../src/job/profile.ts";
import { sbatchArgv } from "../../../src/scheduler/slurm-format.ts";
import { createProbe, type SlurmProbe } from "../../../src/scheduler/slurm-probe.ts";
import { callsOf, installFakeSlurm } from "../../fake-slurm/install.ts";

let dir = "";
let probe: SlurmProbe;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-probe-"));
  probe = probeOf({ PATH: "/usr/bin:/bin" });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function probeOf(env: Readonly<Record<string, string>>): SlurmProbe {
  const { signal } = new AbortController();
  return createProbe({ clock: systemClock, signal, env, user: "ann", binDir: installFakeSlurm(dir), timeoutMs: 5_000 });
}

const profile: Profile = {
  ...profileDefaults,
  key: "embed/cpu",
  processor: "embed",
  profile: "cpu",
  workload: { kind: "host", entrypoint: "/bin/true" },
  cpus: 4,
  memory: "8G",
  partition: "fake",
  requeue: true,
  sbatchArgs: ["--constraint=a100"],
};

test("a trial submission is the job's own, but for the script", async () => {
  expect(await probe.testOnly(profile, "/nfs/jobs")).toMatchObject({ is: "accepted" });
  const run = { jobId: "check", attempt: "a1", name: "emx2-check", dir: "/nfs/jobs/check", notBefore: 0 };
  const [sbatch, ...options] = sbatchArgv(run, profile).slice(0, -3);
  expect(callsOf(dir)).toEqual([[sbatch, "--test-only", ...options].join(" ")]);
});

test.each([
  ["refused", "1\nallocation failure: Invalid account or account/partition combination specified"],
  ["refused", "255\nsbatch: unrecognized option '--nosuch'"],
  ["busy", "1\nsbatch: error: AssocMaxSubmitJobLimit\nallocation failure: Job violates accounting/QOS policy"],
  ["unavailable", "1\nallocation failure: Unable to contact slurm controller (connect failure)"],
] as const)("an answer is %s: %s", async (is, said) => {
  writeFileSync(join(dir, "fail-sbatch"), `${said}\n`);
  const answer = await probe.testOnly(profile, "/nfs/jobs");
  expect(answer.is).toBe(is);
  expect(answer.words).not.toMatch(/^(sbatch: error|allocation failure)/);
});

test("each controller is told apart, and none that answers is nothing", async () => {
  writeFileSync(join(dir, "ping"), "Slurmctld(primary) at head1 is DOWN\nSlurmctld(backup) at head2 is UP\n");
  expect(await probe.ping()).toEqual({
    is: "answered",
    value: [
      { name: "primary on head1", isUp: false },
      { name: "backup on head2", isUp: true },
    ],
  });
  writeFileSync(join(dir, "fail-scontrol"), "1\nno config\n");
  expect(await probe.ping()).toMatchObject({ is: "failed", cause: expect.stringContaining("no config") });
});

test("accounting that is switched off is an answer, one that is away is none", async () => {
  expect(await probe.accounting()).toEqual({ is: "answered", value: "answers" });
  writeFileSync(join(dir, "fail-sacct"), "1\nSlurm accounting storage is disabled\n");
  expect(await probe.accounting()).toEqual({ is: "answered", value: "disabled" });
  writeFileSync(join(dir, "fail-sacct"), "1\nsacct: error: Problem talking to the database: Connection refused\n");
  expect(await probe.accounting()).toMatchObject({ is: "failed", missing: false });
});

test("settings are read by name; a command that is not there is missing", async () => {
  const settings = await probe.settings();
  if (settings.is !== "answered") throw new Error(settings.cause);
  expect(settings.value.get("MinJobAge")).toBe("300 sec");
  rmSync(join(dir, "bin", "sinfo"));
  expect(await probe.partitions()).toMatchObject({ is: "failed", missing: true });
});

test("a slurm.conf that can not be read is known before any command waits for it", async () => {
  expect(await probe.configurationFault()).toBeUndefined();
  expect(await probeOf({ SLURM_CONF: "/nonexistent/slurm.conf" }).configurationFault()).toContain(
    "/nonexistent/slurm.conf",
  );
});
