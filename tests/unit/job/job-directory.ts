/** A job directory with its script in it, and that script run by one of this machine's shells in a session of its own. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Profile, profileDefaults } from "../../../src/job/profile.ts";
import { controlFiles } from "../../../src/job/script.ts";

export const shells = [["dash"], ["bash"], ["busybox", "sh"]].filter(([program = ""]) => Bun.which(program) !== null);

/** busybox may be built to run what it has itself, whatever PATH says; its find does not tell what a seal takes. */
export const shellsByPath = shells.filter((shell) => Bun.spawnSync([...shell, "-c", "find --version"]).success);

export const hostProfile: Profile = {
  ...{ key: "p", processor: "p", profile: "", workload: { kind: "host", entrypoint: "sh" } },
  ...{ ...profileDefaults, allowedEnvironment: ["*"] },
};

export function jobDirectory(parametersText: string, profile: Partial<Profile> = {}, sealMs = 60_000): string {
  const dir = mkdtempSync(join(tmpdir(), "emx2-job-"));
  mkdirSync(join(dir, ".emx2"));
  const script = controlFiles({
    ...{ jobId: "j1", dir, profile: { ...hostProfile, ...profile }, parametersText },
    apptainer: { command: "apptainer", binds: [] },
    sealMs,
  });
  if (script.is === "refused") throw new Error(script.cause);
  for (const { name, content } of script.files) writeFileSync(join(dir, ".emx2", name), content);
  return dir;
}

/** A job whose workload is `sh -c program`. */
export function jobRunning(program: string, profile: Partial<Profile> = {}, sealMs?: number): string {
  return jobDirectory(JSON.stringify({ args: ["-c", program] }), profile, sealMs);
}

export interface Variables {
  readonly SLURM_JOB_ID?: string;
  readonly SLURM_RESTART_COUNT?: string;
  readonly EMX2_RUN_ID?: string;
  readonly PATH?: string;
}

export function start(shell: readonly string[], dir: string, attempt: string, variables: Variables) {
  const env = { PATH: "/usr/bin:/bin", ...variables };
  const argv = [...shell, join(dir, ".emx2", "job.sh"), dir, attempt];
  return Bun.spawn(argv, { env, detached: true, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

export async function runToEnd(shell: readonly string[], dir: string, attempt = "a1", variables?: Variables) {
  const child = start(shell, dir, attempt, variables ?? { SLURM_JOB_ID: "1" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

export function receipt(dir: string, name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(dir, ".emx2", name), "utf8"));
}
