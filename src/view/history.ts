/**
 * What happened to a job, a line an event, in plain words. The journal has more than a person wants: files one by one, looks
 * that showed nothing new. What is said twice in a row is said once, with its count.
 */
import { acts } from "../job/acts.ts";
import type { EffectKind, EffectOf, EffectValue, JobEvent } from "../job/effect.ts";
import type { Progress } from "../job/job.ts";
import { type Outcome, phaseOf, type Receipts, type SchedulerRow } from "../job/run.ts";
import type { LeftOutEvents } from "../journal/excerpt.ts";
import { counted, localSecond, size } from "./when.ts";

export interface Told {
  /** Wall clock milliseconds. */
  readonly at: number;
  readonly text: string;
}

interface Happened {
  readonly at: number;
  readonly event: JobEvent;
}

export function historyOf(events: readonly Happened[], leftOut?: LeftOutEvents): Told[] {
  const lines: Told[] = [];
  let last: Look = {};
  for (const [index, { at, event }] of events.entries()) {
    if (leftOut?.after === index) lines.push({ at, text: `(${counted(leftOut.count, "event")} before this left out)` });
    if (event.kind === "RunObserved") {
      lines.push(...differences(last, event).map((text) => ({ at, text })));
      last = { row: event.row === undefined ? last.row : event.row, receipts: event.receipts };
    } else lines.push(...words(event).map((text) => ({ at, text })));
  }
  return joined(lines);
}

function joined(lines: readonly Told[]): Told[] {
  const all: { at: number; text: string; until: number; times: number }[] = [];
  for (const { at, text } of lines) {
    const before = all.at(-1);
    if (before?.text === text) Object.assign(before, { until: at, times: before.times + 1 });
    else all.push({ at, text, until: at, times: 1 });
  }
  return all.map(({ at, text, until, times }) => ({
    at,
    text: times === 1 ? text : `${text} (${times} times, last ${localSecond(until)})`,
  }));
}

function words(event: Exclude<JobEvent, { kind: "RunObserved" }>): string[] {
  switch (event.kind) {
    case "Offered": {
      const { processor, submitUser } = event.job;
      return [
        `offered by EMX2: ${processor}, for profile ${event.profileKey}${submitUser ? `, by ${submitUser}` : ""}`,
      ];
    }
    case "Adopted":
      return ["found again: EMX2 calls it ours, and its directory and the scheduler bear it out"];
    case "ServerSaw":
      return [event.job === null ? "EMX2 does not know it" : seenWords(event.job)];
    case "CancelAsked":
      return [`to be ended: cancelled by ${event.by}`];
    case "CleanAsked":
      return [`its directory is to go now: asked for by ${event.by}`];
    case "RetryAsked":
      return [`to be tried now: asked for by ${event.by}`];
    case "Progressed":
      return [`says of itself: ${progressWords(event.progress)}`];
    case "Expired":
      return [`to be ended: ${event.detail}`];
    case "Begun":
      return event.effect.kind === "Submit" ? ["being submitted"] : [];
    case "Ended": {
      const { effect, result } = event;
      if (result.is !== "ok") return [`${acts[effect.kind]} ${notDone[result.is]}: ${result.cause}`];
      const text = done(effect.kind, effect, result.value);
      return text === undefined ? [] : [text];
    }
  }
}

const notDone = {
  refused: "was refused",
  retry: "did not go through and is tried again",
  doubt: "was left without an answer",
} as const;

function seenWords({ status, workerId }: { readonly status: string; readonly workerId: string | null }): string {
  return `EMX2 says ${status}${workerId === null ? "" : `, worker ${workerId}`}`;
}

function progressWords({ phase, message, fraction }: Progress): string {
  const percent = fraction === undefined ? undefined : `${Math.round(fraction * 100)}%`;
  return [percent, phase, message].filter((word) => word !== undefined).join(" ");
}

type Phrases = { readonly [K in EffectKind]: (value: EffectValue[K], effect: EffectOf<K>) => string | undefined };

const uploads = { output: "outputs", log: "logs" } as const;

const phrases: Phrases = {
  ClaimJob: () => "claimed",
  ReadJob: ({ job }) => (job === null ? "EMX2 does not know it" : seenWords(job)),
  ListInputs(value) {
    if ("heldBy" in value) return `left to the daemon that has it: ${value.heldBy}`;
    return value.total === 0
      ? "it has no inputs"
      : `${counted(value.total, "input file")} to stage, ${size(value.bytes)}`;
  },
  StageFiles: () => undefined,
  WriteScript: () => "inputs are here, batch script written",
  Submit: ({ schedulerId }) => `submitted as ${schedulerId}`,
  FindRun: ({ schedulerId }) =>
    schedulerId === null ? "the lost submission is not there (yet)" : `the lost submission was found: ${schedulerId}`,
  CancelRun: () => "the scheduler was told to end it",
  CloseRun: (value, { outcome }) => ("later" in value ? undefined : outcomeWords(outcome)),
  SealFiles: ({ total, bytes }, { role }) =>
    total === 0 ? `there are no ${role} files` : `${counted(total, `${role} file`)} hashed, ${size(bytes)}`,
  CreateArtifact: ({ artifactId }, { role }) => `${uploads[role]} go to artifact ${artifactId}`,
  PutFiles: () => undefined,
  Commit: (_, { role }) => `${uploads[role]} COMMITTED`,
  Report: ({ lost }, { report }) =>
    lost
      ? "EMX2 does not know the artifacts any more: they are uploaded again"
      : `reported ${report.status}${reportDetail(report.detail)}`,
  RemoveDir: () => "its directory was removed",
};

function done<K extends EffectKind>(kind: K, effect: EffectOf<K>, value: EffectValue[K]): string | undefined {
  return phrases[kind](value, effect);
}

const maxDetailChars = 200;

function reportDetail(detail = ""): string {
  const [line = ""] = detail.split("\n", 1);
  const cut = line.length > maxDetailChars ? `${line.slice(0, maxDetailChars)}…` : line;
  return cut === "" ? "" : `: ${cut}`;
}

function outcomeWords({ state, proof, exitCode, signal, cause }: Outcome): string {
  const by = { receipt: "by its receipt", squeue: "by squeue", sacct: "by sacct", none: undefined }[proof];
  const code = exitCode === undefined ? undefined : `exit code ${exitCode}${signal ? `, signal ${signal}` : ""}`;
  return `ended: ${[state, by, code, cause].filter((part) => part !== undefined).join("; ")}`;
}

interface Look {
  readonly row?: SchedulerRow | null | undefined;
  readonly receipts?: Receipts;
}

/** What a look showed that the one before it did not. */
function differences({ row: rowBefore, receipts: before }: Look, event: Extract<JobEvent, { kind: "RunObserved" }>) {
  const { row, receipts } = event;
  const { start, stop, exit, done: sealed, lost, directory } = receipts;
  const shown = row === undefined ? undefined : rowWords(row);
  const news = rowBefore !== undefined && shown === rowWords(rowBefore) ? undefined : shown;
  // An end that Slurm shows came after what the script wrote.
  const isEnd = !row || phaseOf[row.state] === "ended";
  return [
    !directory && before?.directory !== false ? "its directory can not be seen" : undefined,
    receipts.restart > (before?.restart ?? 0) ? `Slurm runs it again (restart ${receipts.restart})` : undefined,
    isEnd ? undefined : news,
    start && !before?.start ? `receipt: begun on ${start.node}` : undefined,
    stop && !before?.stop ? `receipt: signal ${stop.signal} reached it` : undefined,
    exit && !before?.exit
      ? `receipt: exit code ${exit.exit}${exit.signal ? ` after signal ${exit.signal}` : ""}`
      : undefined,
    sealed && !before?.done
      ? `receipt: outputs are ${sealed.manifestSha256 === null ? "not sealed: they are hashed on this host" : "sealed"}`
      : undefined,
    isEnd ? news : undefined,
    lost.length > (before?.lost.length ?? 0) ? `twins that did nothing: ${lost.join(", ")}` : undefined,
  ].filter((text) => text !== undefined);
}

function rowWords(row: SchedulerRow | null): string {
  if (row === null) return "the scheduler does not know it";
  const word = row.word ?? row.state;
  const reason = phaseOf[row.state] !== "running" && row.reason && row.reason !== "None" ? ` (${row.reason})` : "";
  const by = row.cancelledBy === undefined ? "" : ` by uid ${row.cancelledBy}`;
  return `${word}${reason}${by}${row.node === undefined ? "" : ` on ${row.node}`}`;
}
