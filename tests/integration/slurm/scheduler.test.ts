/**
 * The scheduler contract on a real cluster: needs EMX2_TEST_SLURM_CONF and, where the tests run as root,
 * EMX2_TEST_SLURM_USER, the ordinary user who submits. Slurm's commands then run as that user through setpriv(1).
 */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { createSlurm } from "../../../src/scheduler/slurm.ts";
import { type Subject, schedulerContract, workloadContract } from "../../contract/scheduler/suite.ts";

// Bun's os.userInfo() tells what $USER says, and "unknown" without it.
const me = Bun.spawnSync(["id", "-un"]).stdout.toString().trim();
const { EMX2_TEST_SLURM_CONF: conf, EMX2_TEST_SLURM_USER: user = me } = process.env;

function commandsAsUser(binDir: string): void {
  mkdirSync(binDir);
  for (const program of ["sbatch", "squeue", "sacct", "scancel"]) {
    const as = me === user ? "" : `setpriv --reuid='${user}' --regid='${user}' --init-groups `;
    writeFileSync(join(binDir, program), `#!/bin/sh\nexec ${as}${program} "$@"\n`);
    chmodSync(join(binDir, program), 0o755);
  }
}

const slurm: Subject = {
  name: "a real Slurm",
  patienceMs: 60_000,
  setUp(dir) {
    const binDir = join(dir, "bin");
    commandsAsUser(binDir);
    const env = { ...process.env, USER: user, LOGNAME: user, SLURM_CONF: conf, EMX2_TEST_SECRET: "tok" };
    return () => createSlurm({ clock: systemClock, binDir, env, user });
  },
  handOver(jobDir) {
    const done = Bun.spawnSync(["chown", "-R", user, jobDir]);
    if (done.exitCode !== 0) throw new Error(done.stderr.toString());
  },
};

if (conf !== undefined) {
  schedulerContract(slurm);
  workloadContract(slurm);
}
