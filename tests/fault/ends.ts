/**
 * How a job ends that was followed by daemons which were killed: what EMX2, the ledger, Slurm and the job directory hold
 * then, and that nothing is left over.
 */
import { expect } from "bun:test";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { isTerminal } from "../../src/job/status.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { committed } from "../integration/committed.ts";
import { type Stage, type StageOptions, statusesOf } from "../integration/harness.ts";

export interface End {
  readonly processor: "copy" | "fails" | "long";
  /** Slurm keeps the job in its queue. */
  readonly inQueue?: true;
  readonly statuses: readonly string[];
  /** Who has ended the job at EMX2: only its submitter's cancel is told once more, and only with a log. */
  readonly terminalReports: number;
  readonly runs: 0 | 1;
  /** null: it never came there. */
  readonly slurmState: string | null;
  readonly output?: Readonly<Record<string, string>>;
  readonly log?: Readonly<Record<string, string>>;
}

const started = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED"];
const longLog = { "slurm-1.out": "begun\n", "slurm-1.err": expect.any(String) };

export const profiles: NonNullable<StageOptions["profiles"]> = {
  copy: { program: 'cp "$HPC_INPUT_DIR"/*/* "$HPC_OUTPUT_DIR"; echo copied; echo noted >&2' },
  fails: { program: "echo begun; echo broken >&2; exit 3" },
  long: { program: "echo begun; sleep 60" },
};

export const files = [
  { path: "a.txt", content: "hello" },
  { path: "b.txt", content: "once more" },
];

export const ends = {
  completed: {
    ...{ processor: "copy", statuses: [...started, "COMPLETED"], terminalReports: 1, runs: 1 },
    slurmState: "COMPLETED",
    output: Object.fromEntries(files.map(({ path, content }) => [path, content])),
    log: { "slurm-1.out": "copied\n", "slurm-1.err": "noted\n" },
  },
  failed: {
    ...{ processor: "fails", statuses: [...started, "FAILED"], terminalReports: 1, runs: 1 },
    slurmState: "FAILED",
    log: { "slurm-1.out": "begun\n", "slurm-1.err": "broken\n" },
  },
  "cancelled in Slurm": {
    ...{ processor: "long", statuses: [...started, "CANCELLED"], terminalReports: 1, runs: 1 },
    slurmState: "CANCELLED",
    log: longLog,
  },
  "cancelled at EMX2": {
    ...{ processor: "long", statuses: [...started, "CANCELLED"], terminalReports: 2, runs: 1 },
    slurmState: "CANCELLED",
    log: longLog,
  },
  "cancelled unseen": {
    ...{ processor: "long", statuses: ["PENDING", "CLAIMED", "CANCELLED"], terminalReports: 2, runs: 1 },
    slurmState: "CANCELLED",
    log: longLog,
  },
  "cancelled in the queue": {
    ...{ processor: "long", statuses: ["PENDING", "CLAIMED", "SUBMITTED", "CANCELLED"], terminalReports: 1, runs: 0 },
    inQueue: true,
    slurmState: "CANCELLED",
  },
  "never submitted": {
    ...{ processor: "copy", statuses: ["PENDING", "CLAIMED", "CANCELLED"], terminalReports: 1, runs: 0 },
    slurmState: null,
  },
} as const satisfies Record<string, End>;

export type EndName = keyof typeof ends;

/** EMX2 has heard all that it is to hear, and Slurm has ended the job, or can not start it any more. */
export function isOver(stage: Stage, id: string, { terminalReports, slurmState }: End): boolean {
  const told = stage.job(id).transitions.filter(({ to }) => isTerminal(to)).length;
  return told >= terminalReports && (slurmState === null ? isShut(stage, id) : stateInSlurm(stage) !== null);
}

/** `lostCreates`: answers that a daemon died waiting for; what was created then may have stayed behind, empty. */
export function expectEnd(stage: Stage, id: string, end: End, lostCreates: number): void {
  const job = stage.job(id);
  expect(statusesOf(job)).toEqual([...end.statuses]);
  expect(job.transitions.filter(({ to }) => isTerminal(to))).toHaveLength(end.terminalReports);
  expect(stage.ledger()).toEqual(Array.from({ length: end.runs }, () => id));

  expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(end.slurmState === null ? 0 : 1);
  expect(stateInSlurm(stage)).toBe(end.slurmState);
  expectArtifacts(stage, id, end, lostCreates);
}

function expectArtifacts(stage: Stage, id: string, end: End, lostCreates: number): void {
  const job = stage.job(id);
  const made = [...stage.state.artifacts.values()].filter(({ name }) => name !== null); // inputs have none
  const full = made.filter((artifact) => artifact.files.size > 0 || artifact.status !== "CREATED");
  const expected = { output: end.output, log: end.log };
  expect(full.map(({ name }) => name).sort()).toEqual(
    (["log", "output"] as const).filter((role) => expected[role]).map((role) => `${role}-${id.slice(0, 8)}`),
  );
  for (const role of ["output", "log"] as const) {
    const found = full.find(({ name }) => name === `${role}-${id.slice(0, 8)}`);
    if (found) expect(textsOf(stage, found.id)).toEqual(expected[role] ?? {});
    const named = role === "output" ? job.outputArtifactId : job.logArtifactId;
    if (end.terminalReports === 1) expect(named).toBe(found?.id ?? null);
  }
  expect(made.length - full.length).toBeLessThanOrEqual(lostCreates);
}

/** How the one Slurm job has ended; null: it has not, or there is none. */
function stateInSlurm({ slurmDir }: Stage): string | null {
  const end = join(slurmDir, "jobs", "1.end");
  return existsSync(end) ? (readFileSync(end, "utf8").split("\t")[1] ?? null) : null;
}

/** The only attempt was taken for nobody. */
function isShut({ jobsDir }: Stage, id: string): boolean {
  const dir = join(jobsDir, id, ".emx2");
  return readdirSync(dir).includes("lease.a1") && readlinkSync(join(dir, "lease.a1")) === "closed";
}

function textsOf(stage: Stage, artifactId: string): Record<string, string> {
  const files = [...committed(stage, artifactId)];
  return Object.fromEntries(files.map(([path, bytes]) => [path, new TextDecoder().decode(bytes)]));
}
