/** The processes of a run on the node, which is this machine. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The slurmstepd over a job's first batch shell. */
export function stepOf(jobDir: string): number {
  return parentOf(shellOf(jobDir));
}

/** The first run's batch shell. */
export function shellOf(jobDir: string): number {
  return JSON.parse(readFileSync(join(jobDir, ".emx2/start.a1.0"), "utf8")).pid;
}

export function isGone(pid: number): boolean {
  return !existsSync(`/proc/${pid}`);
}

export function isStopped(pid: number): boolean {
  return statOf(pid)[0] === "T";
}

function parentOf(pid: number): number {
  return Number(statOf(pid)[1]);
}

/** From the third field on. */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}
