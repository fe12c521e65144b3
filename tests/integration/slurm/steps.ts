/** The processes of a run on the node, which is this machine. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import type { SlurmStage } from "./real-slurm.ts";

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

/** Of a run that was killed just now: on 24.11 the node refuses the job's next one that Slurm starts within a second of that. */
export async function untilItMayRunAgain(stage: Pick<SlurmStage, "until">): Promise<void> {
  const second = () => Math.floor(systemClock.wall() / 1_000);
  const killed = second();
  await stage.until("the node may run it again", () => second() > killed + 1);
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
