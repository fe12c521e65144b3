/**
 * Slurm's commands for tests: small sh programs that behave as the real ones do where the daemon looks, with their state in
 * a directory. They find it by their own path, since sbatch's environment is clean.
 *
 *   <dir>/bin/{sbatch,squeue,sacct,scancel,scontrol,sinfo}   what goes on PATH, or into bin_dir
 *   <dir>/calls.log                              a line a call: program, then its arguments
 *   <dir>/jobs/ID.{script,job,start,cancel,end}  one job
 *
 * Faults, each switched on by a file in <dir> and off by removing it:
 *   fail-PROGRAM        first line: exit code, the rest goes to stderr; nothing else happens
 *   fail-after-sbatch   the same, but the job has been submitted: a lost answer
 *   hang-PROGRAM        holds: seconds
 *   hang-after-sbatch   the same, when the job has been submitted
 *   hold                jobs stay PENDING
 *   show                what squeue shows of every job that has not ended: its state, and the reason
 *   forget              squeue knows no finished job any more
 *   version-PROGRAM     what it prints for --version
 *   ping, config        what scontrol says to `ping` and `show config`
 *   partitions          what sinfo says
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const programs = ["sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo"] as const;
export type FakeProgram = (typeof programs)[number];

/** Installs the programs below `dir` and returns the directory to look them up in. */
export function installFakeSlurm(dir: string): string {
  const binDir = join(dir, "bin");
  mkdirSync(binDir, { recursive: true });
  mkdirSync(join(dir, "jobs"), { recursive: true });
  // So that the programs' patterns always match something.
  for (const part of ["job", "start", "end"]) writeFileSync(join(dir, "jobs", `0.${part}`), "");
  for (const name of [...programs, "run-job", "switches", "rows.awk"]) {
    copyFileSync(join(import.meta.dir, name), join(binDir, name));
    chmodSync(join(binDir, name), 0o755);
  }
  return binDir;
}

/** The calls so far, each `program argument argument …`. */
export function callsOf(dir: string, program?: FakeProgram): string[] {
  const log = join(dir, "calls.log");
  const lines = existsSync(log) ? readFileSync(log, "utf8").split("\n") : [];
  return lines.filter((line) => line !== "" && (program === undefined || line.startsWith(`${program} `)));
}
