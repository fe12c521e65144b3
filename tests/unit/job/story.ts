/**
 * A job's story in events: short words for what happens to one job, so that a test reads as what happened in which order.
 * Events are a second apart, unless one names its own instant.
 */
import type { Policy } from "../../../src/job/decide.ts";
import type { Effect, EffectKind, EffectOf, JobEvent, Result } from "../../../src/job/effect.ts";
import { fold } from "../../../src/job/fold.ts";
import type { Job, OwnTimeout, Progress, ServerJob } from "../../../src/job/job.ts";
import type { ExitReceipt, Outcome, Receipts, RunRef, SchedulerRow, SlurmState } from "../../../src/job/run.ts";

export type Seen = Omit<ServerJob, "parametersText">;

export const startAt = Date.UTC(2026, 2, 1);
export const ref: RunRef = { jobId: "j1", attempt: "a1", name: "emx2-j1", dir: "/jobs/j1", notBefore: startAt };
export const tracked: RunRef = { ...ref, schedulerId: "7" };

/** Milliseconds, as the daemon has them but for the fence and the seal. */
export const policy: Policy = {
  fenceMs: 120_000,
  graces: {
    mayRequeue: false,
    seals: false,
    receiptMs: 60_000,
    sealMs: 600_000,
    lostMs: 9_000_000,
    cancelledMs: 90_000,
  },
  cancelRepeatMs: 30_000,
  keepJobDirsMs: 7 * 86_400_000,
  uploadRetryMs: 72 * 3_600_000,
  queueReportIntervalMs: 300_000,
  timeouts: { submissionMs: null, executionMs: null, heldMs: null, neverRunnableMs: null },
};

export function seen(over: Partial<Seen> = {}): Seen {
  return {
    id: "j1",
    processor: "embed",
    profile: "gpu",
    status: "CLAIMED",
    workerId: "w1",
    submitUser: "ann",
    inputs: [],
    timeoutSeconds: null,
    ...over,
  };
}

export const offered: JobEvent = {
  kind: "Offered",
  at: 0,
  job: seen({ status: "PENDING", workerId: null }),
  workerId: "w1",
  profileKey: "embed/gpu",
  backend: "slurm",
  dir: "/jobs/j1",
  traceId: "t1",
};

export function began(effect: Effect): JobEvent {
  return { kind: "Begun", at: 0, effect };
}

export function ended<K extends EffectKind>(effect: EffectOf<K>, result: Result<K>, retryAt?: number): JobEvent {
  // The one place where effect and result are known to be of one kind, which the union of all kinds cannot express.
  return { kind: "Ended", at: 0, effect, result, ...(retryAt === undefined ? {} : { retryAt }) } as JobEvent;
}

export const ok = <K extends EffectKind>(value: Extract<Result<K>, { is: "ok" }>["value"]): Result<K> => ({
  is: "ok",
  value,
});
export const retry = { is: "retry", cause: "not now" } as const;
export const doubt = { is: "doubt", cause: "no answer" } as const;
export const refused = (cause: string, status?: number) =>
  ({ is: "refused", cause, ...(status === undefined ? {} : { status }) }) as const;

export function saw(job: Partial<Seen> | null): JobEvent {
  return { kind: "ServerSaw", at: 0, job: job && seen(job) };
}

export function read(job: Partial<Seen> | null): JobEvent {
  return ended({ kind: "ReadJob" }, ok<"ReadJob">({ job: job && { ...seen(job), parametersText: "{}" } }));
}

export function row(state: SlurmState, over: Partial<SchedulerRow> = {}): SchedulerRow {
  return { source: "squeue", schedulerId: "7", name: "emx2-j1", state, ...over };
}

export const unleased: Receipts = { directory: true, restart: 0, lost: [] };
export const leased: Receipts = { ...unleased, lease: "7", start: { node: "n1", at: 1 } };

export function exitOf(exit: number, over: Partial<ExitReceipt> = {}): ExitReceipt {
  return { exit, how: "exit", signal: null, oomKill: null, node: "n1", start: 1, end: 2, ...over };
}

export function exited(exit: number, over: Partial<ExitReceipt> = {}): Receipts {
  return { ...leased, exit: exitOf(exit, over) };
}

export function observed(shown: SchedulerRow | null, receipts: Receipts = unleased, at = 0): JobEvent {
  return { kind: "RunObserved", at, row: shown, receipts };
}

export function progressed(progress: Progress): JobEvent {
  return { kind: "Progressed", at: 0, progress };
}

export function expired(by: OwnTimeout): JobEvent {
  return { kind: "Expired", at: 0, by, detail: `${by} is over` };
}

/** The queue does not list the run, and accounting does not answer. */
export function unlisted(receipts: Receipts): JobEvent {
  return { kind: "RunObserved", at: 0, receipts };
}

export const claimedOk: JobEvent[] = [
  began({ kind: "ClaimJob" }),
  ended({ kind: "ClaimJob" }, ok<"ClaimJob">({ job: { ...seen(), parametersText: "{}" } })),
];
export const staged: JobEvent[] = [
  ended({ kind: "ListInputs" }, ok<"ListInputs">({ total: 1, bytes: 9 })),
  ended({ kind: "StageFiles", from: 0 }, ok<"StageFiles">({ files: 1, bytes: 9 })),
];
export const written: JobEvent = ended(
  { kind: "WriteScript", attempt: "a1" },
  ok<"WriteScript">({ parametersHash: "ab", ref, inPlace: { outputs: false } }),
);
export const submitting: JobEvent = began({ kind: "Submit", ref });
export const submitted: JobEvent = ended({ kind: "Submit", ref }, ok<"Submit">({ schedulerId: "7" }));
/** From the offer to a run that Slurm has taken. */
export const toTracked: JobEvent[] = [offered, ...claimedOk, ...staged, written, submitting, submitted];

export const succeeded: Outcome = {
  result: "succeeded",
  proof: "receipt",
  state: "COMPLETED",
  exitCode: 0,
  outputDir: "output",
};
export function closedRun(outcome: Outcome, stderrTail: readonly string[] = []): JobEvent {
  return ended({ kind: "CloseRun", ref: tracked, outcome }, ok<"CloseRun">({ stderrTail }));
}

/** One file, sealed, created, put and committed as artifact `<role>-artifact`. */
export function uploaded(role: "output" | "log"): JobEvent[] {
  return [
    ended({ kind: "SealFiles", role }, ok<"SealFiles">({ total: 1, bytes: 5, sha256: "cd" })),
    ended({ kind: "CreateArtifact", role }, ok<"CreateArtifact">({ artifactId: `${role}-artifact` })),
    ended({ kind: "PutFiles", role, from: 0 }, ok<"PutFiles">({ files: 1, bytes: 5 })),
    ended({ kind: "Commit", role }, ok<"Commit">({})),
  ];
}

export function noFiles(role: "output" | "log"): JobEvent {
  return ended({ kind: "SealFiles", role }, ok<"SealFiles">({ total: 0, bytes: 0, sha256: "" }));
}

/** The answer to whatever report is next. */
export const reportAnswer = (result: Result<"Report">) => (job: Job) => {
  const [report] = job.outbox;
  if (!report) throw new Error("there is nothing to report");
  return ended({ kind: "Report", report }, result);
};
export const reported = reportAnswer({ is: "ok", value: {} });

export type Step = JobEvent | ((job: Job) => JobEvent);

export function play(steps: readonly Step[], from?: Job): Job {
  let job = from;
  steps.forEach((step, index) => {
    const event = typeof step === "function" ? step(known(job)) : step;
    job = fold(job, { ...event, at: event.at || startAt + index * 1_000 });
  });
  return known(job);
}

export function known(job: Job | undefined): Job {
  if (!job) throw new Error("the story must begin with an offer");
  return job;
}

export function statuses(job: Job): string[] {
  return job.outbox.map(({ status }) => status);
}
