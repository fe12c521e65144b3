/**
 * Many jobs that were running when the daemon ended, laid down without running any: at EMX2, in fake Slurm, in their job
 * directories, and in the journal, as its own fold makes them. A test then starts the daemon on all of it.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import type { EffectKind, EffectOf, EffectValue, JobEvent } from "../../src/job/effect.ts";
import { fold } from "../../src/job/fold.ts";
import type { Job, ServerJob } from "../../src/job/job.ts";
import { type RunRef, runName } from "../../src/job/run.ts";
import { type Journal, openJournal } from "../../src/journal/journal.ts";
import type { Stage } from "./harness.ts";

/** Gives the jobs' ids; the n-th (from 1) has n as its Slurm id. `processor`: of a profile of the stage. */
export function layDownRunning(stage: Stage, processor: string, count: number): string[] {
  mkdirSync(stage.stateDir, { mode: 0o700 });
  const journal = openJournal(join(stage.stateDir, "journal.db"), { clock: systemClock });
  const ids = Array.from({ length: count }, (_, index) => layDown(stage, journal, processor, String(index + 1)));
  writeFileSync(join(stage.slurmDir, "next"), `${count + 1}\n`);
  journal.flush();
  journal.close();
  return ids;
}

/** The workload has ended well, with one file as its output: its receipt, and what Slurm knows of it. */
export function endWell(stage: Stage, id: string, schedulerId: string, output: string): void {
  const dir = join(stage.jobsDir, id);
  writeFileSync(join(dir, "output/result.txt"), output);
  const facts = { start: nowS(), end: nowS(), how: "exit", exit: 0, signal: null, signal_at: 0, oom_kill: null };
  writeFileSync(join(dir, ".emx2/exit.a1.0"), receipt(schedulerId, facts));
  const end = [schedulerId, "COMPLETED", 0, 0, nowS()].join("\t");
  writeFileSync(join(stage.slurmDir, "jobs", `${schedulerId}.end`), `${end}\n`);
}

/** As Slurm would know it; `os.userInfo()` only repeats $USER (Bun 1.4.5). */
const user = () => {
  submitter ??= execFileSync("id", ["-un"], { encoding: "utf8" }).trim();
  return submitter;
};
let submitter: string | undefined;
const nowS = () => Math.floor(systemClock.wall() / 1_000);

function receipt(schedulerId: string, facts: object): string {
  return `${JSON.stringify({ v: 1, attempt: "a1", job: schedulerId, restart: 0, node: "fake-node", ...facts })}\n`;
}

function layDown(stage: Stage, journal: Journal, processor: string, schedulerId: string): string {
  const id = stage.submit(processor);
  const at = systemClock.wall();
  const started = { status: "STARTED", workerId: stage.workerId, slurmJobId: schedulerId } as const;
  Object.assign(stage.job(id), { ...started, claimedAt: at, submittedAt: at, startedAt: at });
  const dir = join(stage.jobsDir, id);
  const ref: RunRef = { jobId: id, attempt: "a1", name: runName(id), dir, notBefore: at };
  inDirectory(stage, journal, dir, schedulerId);
  inSlurm(stage, ref.name, schedulerId);
  let job: Job | undefined;
  const happens = (event: JobEvent) => {
    job = fold(job, event);
    if (job) journal.record({ event, job }, "lossy");
    return job;
  };
  for (const event of lifeOf(stage, processor, ref, schedulerId)) happens(event);
  // Both have been said: SUBMITTED and STARTED.
  for (
    let [report] = job?.outbox ?? [];
    report;
    [report] = happens(ended({ kind: "Report", report }, {}))?.outbox ?? []
  );
  return id;
}

function inDirectory({ stateDir }: Stage, journal: Journal, dir: string, schedulerId: string): void {
  for (const part of ["", "output", "work", ".emx2"]) mkdirSync(join(dir, part), { mode: 0o700 });
  const control = join(dir, ".emx2");
  const owner = { state: journal.stateId, stateDir, host: hostname(), uid: process.getuid?.() ?? 0 };
  writeFileSync(join(control, "owner"), JSON.stringify(owner));
  symlinkSync(schedulerId, join(control, "lease.a1"));
  symlinkSync(`${schedulerId}.0.fake-node.1`, join(control, "lease.a1.0"));
  writeFileSync(join(control, "start.a1.0"), receipt(schedulerId, { pid: 1, start: nowS() }));
}

function inSlurm({ slurmDir }: Stage, name: string, schedulerId: string): void {
  const file = join(slurmDir, "jobs", schedulerId);
  writeFileSync(`${file}.id`, "");
  writeFileSync(`${file}.job`, `${[schedulerId, user(), nowS(), name].join("\t")}\n`);
  writeFileSync(`${file}.start`, `${[schedulerId, 1, nowS()].join("\t")}\n`);
}

/** From the offer to the report that it has started. */
function* lifeOf(stage: Stage, processor: string, ref: RunRef, schedulerId: string): Generator<JobEvent> {
  const at = systemClock.wall();
  const begun = (effect: EffectOf<"ClaimJob" | "Submit">): JobEvent => ({ kind: "Begun", at, effect });
  const listed: Omit<ServerJob, "parametersText"> = {
    ...{ id: ref.jobId, processor, profile: "default", status: "PENDING", workerId: null, submitUser: "submitter" },
    ...{ inputs: [], timeoutSeconds: null },
  };
  const job: ServerJob = { ...listed, status: "CLAIMED", workerId: stage.workerId, parametersText: "{}" };
  const { dir, jobId } = ref;
  yield {
    ...{ kind: "Offered", at, job: listed, workerId: stage.workerId, profileKey: `${processor}/default` },
    ...{ backend: "slurm", dir, traceId: jobId },
  };
  yield begun({ kind: "ClaimJob" });
  yield ended({ kind: "ClaimJob" }, { job });
  yield ended({ kind: "ListInputs" }, { total: 0, bytes: 0 });
  yield ended({ kind: "WriteScript", attempt: "a1" }, { parametersHash: "", ref, inPlace: { outputs: false } });
  yield begun({ kind: "Submit", ref });
  yield ended({ kind: "Submit", ref }, { schedulerId });
  const receipts = { directory: true, restart: 0, lost: [], lease: schedulerId, start: { node: "fake-node", at } };
  yield { kind: "RunObserved", at, receipts };
}

function ended<K extends EffectKind>(effect: EffectOf<K>, value: EffectValue[K]): JobEvent {
  // That both are of one kind is known here alone; the union of all kinds can not express it.
  return { kind: "Ended", at: systemClock.wall(), effect, result: { is: "ok", value } } as JobEvent;
}
