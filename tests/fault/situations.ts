/**
 * For each effect, what has to happen so that the daemon comes to it, and what has happened out there once it is done. An
 * effect without a situation does not compile.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cancelJob } from "../../src/emulator/submitter.ts";
import type { EffectKind } from "../../src/job/effect.ts";
import type { Stage, StageOptions } from "../integration/harness.ts";
import type { EndName } from "./ends.ts";

export interface Situation {
  /** Where the kind comes up in other situations too. */
  readonly name?: string;
  /** A role or a status, where only those are meant. */
  readonly detail?: string;
  /** Lives before, each ended at its failpoint. */
  readonly ahead?: readonly string[];
  readonly worker?: StageOptions["worker"];
  readonly end: EndName;
  /** What else happens while the daemon runs. */
  readonly meanwhile?: (stage: Stage, id: string) => Promise<void>;
  /** Can it be seen from outside that the effect is done? */
  readonly isDone?: (stage: Stage, id: string) => boolean;
}

type Situations = { readonly [K in EffectKind]: readonly [Situation, ...Situation[]] };

export const situations: Situations = {
  ClaimJob: [{ end: "completed", isDone: (stage, id) => stage.job(id).status === "CLAIMED" }],
  ReadJob: [{ name: "after a lost claim", ahead: ["ClaimJob:after"], end: "completed" }],
  ListInputs: [{ end: "completed", isDone: (stage, id) => existsSync(join(stage.jobsDir, id, ".emx2", "owner")) }],
  StageFiles: [{ end: "completed", isDone: (stage, id) => filesIn(join(stage.jobsDir, id, "input")) > 0 }],
  WriteScript: [{ end: "completed", isDone: (stage, id) => existsSync(join(stage.jobsDir, id, ".emx2", "job.sh")) }],
  Submit: [{ end: "completed", isDone: (stage) => inSlurm(stage, "1.job") }],
  FindRun: [
    { name: "after a lost submission", ahead: ["Submit:after"], end: "completed" },
    {
      name: "after a lost submission of a job that was cancelled",
      ahead: ["Submit:after"],
      end: "cancelled unseen",
      meanwhile: cancel,
    },
  ],
  CancelRun: [
    {
      name: "while it runs",
      end: "cancelled at EMX2",
      meanwhile: cancelOnceRunning,
      isDone: (stage) => inSlurm(stage, "1.cancel"),
    },
    {
      name: "while it is in the queue",
      end: "cancelled in the queue",
      meanwhile: cancelOnceQueued,
      isDone: (stage) => inSlurm(stage, "1.cancel"),
    },
  ],
  CloseRun: [
    { name: "of a success", end: "completed" },
    { name: "of a failure", end: "failed" },
    { name: "before it started", end: "cancelled in the queue", meanwhile: cancelOnceQueued },
    { name: "of a submission that never was", ahead: ["Submit:before"], end: "never submitted", meanwhile: cancel },
  ],
  SealFiles: [
    { detail: "log", end: "completed" },
    { detail: "output", end: "completed" },
  ],
  CreateArtifact: [
    { detail: "log", end: "completed", isDone: (stage, id) => artifactsNamed(stage, "log", id) > 0 },
    { detail: "output", end: "completed", isDone: (stage, id) => artifactsNamed(stage, "output", id) > 0 },
  ],
  PutFiles: [
    { detail: "log", end: "completed", isDone: (stage, id) => holdsFiles(stage, "log", id) },
    { detail: "output", end: "completed", isDone: (stage, id) => holdsFiles(stage, "output", id) },
  ],
  Commit: [
    { detail: "log", end: "completed", isDone: (stage, id) => isCommitted(stage, "log", id) },
    { detail: "output", end: "completed", isDone: (stage, id) => isCommitted(stage, "output", id) },
    { name: "of a cancelled run", detail: "log", end: "cancelled at EMX2", meanwhile: cancelOnceRunning },
  ],
  Report: [
    { detail: "SUBMITTED", end: "completed", isDone: (stage, id) => wasTold(stage, id, "SUBMITTED") },
    { detail: "STARTED", end: "completed", isDone: (stage, id) => wasTold(stage, id, "STARTED") },
    { detail: "COMPLETED", end: "completed", isDone: (stage, id) => wasTold(stage, id, "COMPLETED") },
    { detail: "FAILED", end: "failed", isDone: (stage, id) => wasTold(stage, id, "FAILED") },
    {
      name: "after scancel",
      detail: "CANCELLED",
      end: "cancelled in Slurm",
      meanwhile: scancelOnceRunning,
      isDone: (stage, id) => wasTold(stage, id, "CANCELLED"),
    },
    { name: "again, with its log", detail: "CANCELLED", end: "cancelled at EMX2", meanwhile: cancelOnceRunning },
  ],
  RemoveDir: [
    {
      worker: { keep_job_dirs: 0 },
      end: "completed",
      isDone: (stage, id) => !existsSync(join(stage.jobsDir, id)),
    },
  ],
};

async function cancel(stage: Stage, id: string): Promise<void> {
  cancelJob(stage.state, id);
}

async function cancelOnceRunning(stage: Stage, id: string): Promise<void> {
  await workloadRuns(stage, id);
  cancelJob(stage.state, id);
}

async function cancelOnceQueued(stage: Stage, id: string): Promise<void> {
  await stage.untilStatus(id, "SUBMITTED");
  cancelJob(stage.state, id);
}

/** By hand, as its user would. */
async function scancelOnceRunning(stage: Stage, id: string): Promise<void> {
  await workloadRuns(stage, id);
  const [, user] = readFileSync(join(stage.slurmDir, "jobs", "1.job"), "utf8").split("\t");
  const { exitCode } = Bun.spawnSync([join(stage.slurmDir, "bin/scancel"), `--user=${user}`, `--name=emx2-${id}`]);
  if (exitCode !== 0) throw new Error(`scancel: exit ${exitCode}`);
}

async function workloadRuns(stage: Stage, id: string): Promise<void> {
  await stage.untilStatus(id, "STARTED");
  await stage.until("the workload runs", () => stage.ledger().includes(id));
}

function filesIn(dir: string): number {
  if (!existsSync(dir)) return 0;
  return readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length;
}

function inSlurm({ slurmDir }: Stage, file: string): boolean {
  return existsSync(join(slurmDir, "jobs", file));
}

function named(stage: Stage, role: string, id: string) {
  return [...stage.state.artifacts.values()].filter(({ name }) => name === `${role}-${id.slice(0, 8)}`);
}

function artifactsNamed(stage: Stage, role: string, id: string): number {
  return named(stage, role, id).length;
}

function holdsFiles(stage: Stage, role: string, id: string): boolean {
  return named(stage, role, id).some(({ files }) => files.size > 0);
}

function isCommitted(stage: Stage, role: string, id: string): boolean {
  return named(stage, role, id).some(({ status }) => status === "COMMITTED");
}

function wasTold(stage: Stage, id: string, status: string): boolean {
  return stage.job(id).transitions.some(({ to }) => to === status);
}
