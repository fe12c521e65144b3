/**
 * The stage of `harness.ts` on a real cluster: the compiled executable as an ordinary user, in an environment that holds
 * what a login gives and SLURM_CONF. The cluster is named by EMX2_TEST_SLURM_CONF and, where the tests run as root, the
 * user by EMX2_TEST_SLURM_USER; without a cluster there are no tests. A stage ends with all of its Slurm jobs ended.
 */
import { afterAll, describe, setDefaultTimeout } from "bun:test";
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { committed } from "../committed.ts";
import { openStage, type Stage, type StageOptions } from "../harness.ts";
import { type Account, executable, type Program } from "../program.ts";
import { until } from "../until.ts";

const { EMX2_TEST_SLURM_CONF: conf, EMX2_TEST_SLURM_USER: user } = process.env;

/** Not TMPDIR, which may be closed to the ordinary user. */
const parent = "/tmp";
/** How long Slurm may take for what it does by itself: start a job, end one, show it. */
export const slurmBoundMs = 40_000;
/** For a test, in which Slurm does several of these. */
const testLimitMs = 120_000;

export function onRealSlurm(what: string, tests: () => void): void {
  setDefaultTimeout(testLimitMs);
  if (conf === undefined) return;
  describe(`on a real Slurm, ${what}`, () => {
    afterAll(removeCopies);
    tests();
  });
}

export interface SlurmJob {
  readonly id: string;
  /** Slurm's long name. */
  readonly state: string;
}

export interface SlurmStage extends Stage {
  /** The Slurm jobs of an EMX2 job: in the queue, or ended within the controller's memory. */
  slurmJobs(jobId: string): SlurmJob[];
  /** What one of Slurm's commands answers to the user whose jobs these are. */
  slurm(...argv: string[]): string;
  /** The files of a job's committed artifact, every hash made anew. */
  output(jobId: string): Files;
  log(jobId: string): Files;
}

/** Content by path. */
export type Files = ReadonlyMap<string, Uint8Array>;

export function textOf(files: Files, path: string): string {
  const content = files.get(path);
  if (content === undefined) throw new Error(`there is no ${path}, but ${[...files.keys()].join(", ")}`);
  return new TextDecoder("utf-8", { fatal: true }).decode(content);
}

export type SlurmStageOptions = Omit<StageOptions, "as" | "parent">;

export async function openSlurmStage(options: SlurmStageOptions = {}): Promise<SlurmStage> {
  const as = user === undefined ? undefined : accountOf(user);
  if (as) makeReachable(as);
  const slurm = { bin_dir: slurmCommands(), ...options.slurm };
  const env = { SLURM_CONF: conf ?? "", ...options.env };
  const stage = await openStage({ ...options, slurm, env, parent, ...(as && { as }) });
  const programs: Program[] = [];
  const { start, startFailing } = stage;
  const kept = (program: Program) => {
    programs.push(program);
    return program;
  };
  const leave = stage[Symbol.asyncDispose].bind(stage);
  return Object.assign(stage, {
    slurmJobs,
    slurm: ask,
    output: (jobId: string) => committed(stage, stage.job(jobId).outputArtifactId),
    log: (jobId: string) => committed(stage, stage.job(jobId).logArtifactId),
    start: (...args: string[]) => kept(start(...args)),
    startFailing: (failpoint: string, ...args: string[]) => kept(startFailing(failpoint, ...args)),
    async [Symbol.asyncDispose]() {
      for (const program of programs) program.kill("SIGKILL");
      await Promise.all(programs.map((program) => program.ended()));
      await endJobs([...stage.state.jobs.keys()]);
      await leave();
    },
  });
}

/** Where Slurm's own programs are. */
export function slurmCommands(): string {
  const sbatch = Bun.which("sbatch");
  if (sbatch === null) throw new Error("sbatch is not on PATH");
  return dirname(sbatch);
}

function ask(...argv: string[]): string {
  const as = user === undefined ? [] : ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--init-groups", "--"];
  const env = { PATH: process.env["PATH"] ?? "", SLURM_CONF: conf ?? "", SLURM_TIME_FORMAT: "%s" };
  const { exitCode, stdout, stderr } = Bun.spawnSync([...as, ...argv], { env });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: exit ${exitCode}: ${stderr.toString()}`);
  return stdout.toString();
}

function slurmJobs(jobId: string): SlurmJob[] {
  const rows = ask("squeue", "-h", "-t", "all", `--name=emx2-${jobId}`, "-o", "%i %T").split("\n");
  return rows.filter(Boolean).map((row) => {
    const [id = "", state = ""] = row.split(" ");
    return { id, state };
  });
}

async function endJobs(jobIds: readonly string[]): Promise<void> {
  if (jobIds.length === 0) return;
  const names = `--name=${jobIds.map((id) => `emx2-${id}`).join(",")}`;
  const live = () => ask("squeue", "-h", names, "-o", "%i %T").split("\n").filter(Boolean);
  for (const row of live()) ask("scancel", row.split(" ")[0] ?? "");
  await until(
    "Slurm has ended the stage's jobs",
    () => live().length === 0,
    slurmBoundMs,
    () => live().join("\n"),
  );
}

function accountOf(name: string): Account {
  const { stdout } = Bun.spawnSync(["getent", "passwd", name]);
  const [, , uid, gid, , home] = stdout.toString().split(":");
  if (uid === undefined || gid === undefined || home === undefined) throw new Error(`there is no user ${name}`);
  return { user: name, uid: Number(uid), gid: Number(gid), home };
}

/** Copies by the environment variable that names them, and what it named before. */
const copies = new Map<string, { readonly dir: string; readonly from: string }>();

/** A clone below /root is closed to the ordinary user: then the stages start copies of the executables. */
function makeReachable(account: Account): void {
  copyIfClosed("EMX2_TEST_EXECUTABLE", executable(), account);
  const { EMX2_TEST_FAILING_EXECUTABLE: failing } = process.env;
  if (failing) copyIfClosed("EMX2_TEST_FAILING_EXECUTABLE", failing, account);
}

function copyIfClosed(variable: string, from: string, { uid, gid }: Account): void {
  const credentials = [`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"];
  if (Bun.spawnSync(["setpriv", ...credentials, "--", "test", "-x", from]).exitCode === 0) return;
  const dir = mkdtempSync(join(parent, "emx2-executable-"));
  chmodSync(dir, 0o755);
  copies.set(variable, { dir, from });
  const copy = join(dir, "emx2-hpc-daemon");
  copyFileSync(from, copy);
  chmodSync(copy, 0o755);
  process.env[variable] = copy;
}

function removeCopies(): void {
  for (const [variable, { dir, from }] of copies) {
    rmSync(dir, { recursive: true });
    process.env[variable] = from;
  }
  copies.clear();
}
