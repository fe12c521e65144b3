/**
 * Why a run ended as it did, in a few words, who can do something about it, and with which numbers. One table over Slurm's
 * state, exit code, signal, reason and the last lines of stderr: its rules are read from top to bottom, the first that
 * applies decides. What the evidence has said itself (`Outcome.cause`) is kept; the table only adds to it.
 */
import { type ApptainerFault, apptainerFault } from "./apptainer-message.ts";
import type { Job } from "./job.ts";
import { startedTwice } from "./outcome.ts";
import type { Outcome, Said } from "./run.ts";
import { stderrCauseIn } from "./stderr-causes.ts";
import { gigabytes, time, type Usage } from "./usage.ts";
import { nobody, operator, site, submitter } from "./who.ts";

export interface Diagnosis {
  readonly cause?: string;
  readonly who?: string;
  /** What to change, with the numbers that say so. */
  readonly hint?: string;
}

export function diagnose(job: Job, outcome: Outcome): Diagnosis {
  const end = { job, outcome };
  const rule = rules.find(({ applies }) => applies(end));
  const cause = outcome.cause ?? said(rule?.cause, end);
  const [who, hint] = [said(rule?.who, end), said(rule?.hint, end)];
  return {
    ...(cause === undefined ? {} : { cause }),
    ...(who === undefined ? {} : { who }),
    ...(hint === undefined ? {} : { hint }),
  };
}

/** Of the last lines of stderr what can be told of the end; undefined: nothing. */
export function saidIn(outcome: Outcome, lines: readonly string[]): Said | undefined {
  const apptainer = apptainerFault(outcome.exitCode, lines);
  const program = stderrCauseIn(lines);
  if (!apptainer && !program) return undefined;
  return { ...(apptainer && { apptainer }), ...(program && { program }) };
}

interface End {
  readonly job: Job;
  readonly outcome: Outcome;
}

type Words = string | ((end: End) => string | undefined);

interface Rule {
  readonly applies: (end: End) => boolean;
  readonly cause?: Words;
  readonly who?: Words;
  readonly hint?: Words;
}

function said(words: Words | undefined, end: End): string | undefined {
  return typeof words === "function" ? words(end) : words;
}

/** What keeps a job from being submitted and is not the submitter's. */
const ownHouse = /job directory|belongs to another daemon/;
/** What the job itself has made of its outputs: of another kind than can be taken, written to or removed since. */
const ownOutputs = [
  /^output ".*" can not be uploaded: /s,
  /goes on being written to long after the job's end$/,
  /^the list of the outputs, /,
  / changed while it was (read|sent)\b/,
  /\/output[^/]* was removed$/,
];
/** Keys of the configuration that stand in the way of what a job asks for. */
const keyNamed = /\b(posix_roots|allowed_environment|allow_command)\b/;

/** Why a container did not begin, in Apptainer's own words. */
function unstarted({ outcome }: End): ApptainerFault | undefined {
  return outcome.state === "FAILED" && !outcome.cause ? outcome.said?.apptainer : undefined;
}

const memoryWho = `${operator}, by more memory in the profile; ${submitter}, by smaller data`;

const rules: readonly Rule[] = [
  { applies: ({ job, outcome }) => outcome.result === "succeeded" && job.outputs.stage !== "failed" },
  { applies: ({ job }) => job.stop?.by === "timeout", who: `${submitter}, by a longer timeout_seconds` },
  {
    applies: ({ job }) => job.stop?.by === "execution-timeout",
    who: `${operator}, by a longer execution_timeout_seconds; ${submitter}, by less work a job`,
  },
  { applies: ({ job }) => job.stop?.by === "submission-timeout" || job.stop?.by === "held", who: operator },
  {
    applies: ({ job }) => job.stop?.by === "never-runnable",
    who: `${operator}, by what the profile asks for, or by the limit that it names`,
  },
  { applies: ({ job }) => job.stop !== undefined },
  {
    applies: ({ job: { outputs } }) =>
      outputs.stage === "failed" && ownOutputs.some((words) => words.test(outputs.detail)),
    who: submitter,
  },
  { applies: ({ job }) => job.outputs.stage === "failed", who: operator },
  { applies: ({ outcome }) => neverSubmitted(outcome, ownHouse), who: operator },
  {
    applies: ({ outcome }) => neverSubmitted(outcome, keyNamed),
    who: `${submitter}, by asking for less; ${operator}, by the key it names`,
  },
  { applies: ({ outcome }) => outcome.state === "NEVER_SUBMITTED", who: submitter },
  { applies: ({ outcome }) => outcome.cause === startedTwice, who: operator },
  {
    applies: ({ outcome }) => outcome.state === "OUT_OF_MEMORY",
    cause: "the job needed more memory than it had",
    who: memoryWho,
    hint: memoryHint,
  },
  {
    applies: ({ outcome }) => outcome.state === "TIMEOUT" || outcome.state === "DEADLINE",
    cause: "its time limit ended it",
    who: `${operator}, by a longer time in the profile; ${submitter}, by less work a job`,
    hint: timeHint,
  },
  {
    applies: ({ outcome }) => ["NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"].includes(outcome.state),
    cause: ({ outcome }) => (outcome.state === "PREEMPTED" ? "another job took its place" : "the node failed under it"),
    who: nobody,
  },
  { applies: ({ outcome }) => outcome.result === "cancelled", who: "whoever ended it on the cluster" },
  { applies: ({ outcome }) => outcome.state === "LOST", who: operator },
  {
    // slurmstepd's own: the directory or the log file could not be opened on the node.
    applies: ({ outcome }) => outcome.exitCode === 0 && outcome.signal === 53,
    cause: "Slurm could not start the script on the node: does it see the job directory?",
    who: operator,
  },
  {
    applies: ({ outcome }) => outcome.proof !== "receipt" && /^(JobLaunchFailure|Prolog)/.test(outcome.reason ?? ""),
    cause: "Slurm could not start the job on the node",
    who: site,
  },
  {
    // The batch script's own, before it could write a receipt.
    applies: ({ outcome }) => outcome.proof !== "receipt" && outcome.exitCode === 94,
    cause: "the job directory could not be read or written on the node",
    who: `${operator}: is tmp_dir on storage that the node sees?`,
  },
  {
    // Seen on 24.11: a node that refuses a job's credential ("already killed") ends it as if its program had exited 1.
    applies: ({ outcome }) => outcome.state === "FAILED" && outcome.unbegun === true,
    cause: "Slurm ended the run, and its script has left no trace: it seems never to have begun",
    who: site,
  },
  {
    // Its program has said so, or can not be started in an image that can; or the fault has passed, or was an input's.
    applies: (end) => unstarted(end) !== undefined && end.outcome.startable === true,
    cause: (end) => `${unstarted(end)?.cause}: so its stderr says, though the image itself starts there`,
    who: `${operator}, or ${submitter}, whose program may have said it`,
    hint: (end) => unstarted(end)?.hint,
  },
  {
    applies: (end) => unstarted(end) !== undefined,
    cause: (end) => unstarted(end)?.cause,
    who: (end) => (unstarted(end)?.who === "site" ? site : operator),
    hint: (end) => unstarted(end)?.hint,
  },
  {
    applies: ({ outcome }) => isOwnEnd(outcome) && outcome.said?.program !== undefined,
    cause: ({ outcome }) => outcome.said?.program?.cause,
    who: ({ outcome }) => outcome.said?.program?.who,
    hint: (end) => (end.outcome.said?.program?.isMemory ? memoryHint(end) : end.outcome.said?.program?.hint),
  },
  {
    applies: ({ outcome }) => outcome.proof !== "receipt" && outcome.exitCode === 0 && outcome.signal === 9,
    cause: "the batch script was killed (SIGKILL)",
    who: `${operator}, where --signal or the prelude did it; ${site}`,
  },
  {
    applies: ({ job, outcome }) => job.image !== undefined && deathBy(outcome) === "SIGBUS",
    cause: "the program crashed (SIGBUS, exit code 135), as it also does where a part of its image can not be read",
    who: `${submitter}; ${operator}, where other programs of the image do so too: is the image damaged?`,
  },
  {
    applies: ({ job, outcome }) => job.image !== undefined && outcome.exitCode === 255 && !outcome.startable,
    cause: "exit code 255: Apptainer's own where the image could not be started, or the program's",
    who: operator,
  },
  {
    applies: ({ outcome }) => outcome.exitCode === 126 || outcome.exitCode === 127,
    cause: ({ outcome }) =>
      `the program ended with exit code ${outcome.exitCode}: something could not be found or started`,
    who: operator,
  },
  {
    applies: ({ outcome }) => deathBy(outcome) === "SIGKILL" && outcome.noOomKill === true,
    cause: "the program was killed (SIGKILL), and not by the kernel for memory",
    who: submitter,
  },
  {
    applies: ({ outcome }) => deathBy(outcome) === "SIGKILL",
    cause: "the program was killed (SIGKILL), as the kernel does for memory",
    who: memoryWho,
    hint: memoryHint,
  },
  {
    applies: ({ outcome }) => deathBy(outcome) === "SIGILL",
    cause: "the program used an instruction that the node's processor does not have (SIGILL)",
    who: `${operator}, by other nodes (--constraint) or another build`,
  },
  {
    applies: ({ outcome }) => deathBy(outcome) === "SIGUSR2",
    cause: "SIGUSR2 ended the program: Slurm's warning before its time limit, where the profile asks for one",
    who: `${submitter}, by a program that handles SIGUSR2; ${operator}, by a longer time, or no warn_before_limit`,
    hint: timeHint,
  },
  {
    applies: ({ outcome }) => deathBy(outcome) !== undefined,
    cause: ({ outcome }) => `the program crashed (${deathBy(outcome)}, exit code ${outcome.exitCode})`,
    who: submitter,
  },
  {
    applies: ({ outcome }) => (outcome.exitCode ?? 0) > 0,
    cause: ({ outcome }) => `the program ended with exit code ${outcome.exitCode}`,
    who: submitter,
  },
  { applies: () => true, who: operator },
];

function neverSubmitted({ state, cause = "" }: Outcome, of: RegExp): boolean {
  return state === "NEVER_SUBMITTED" && of.test(cause);
}

/** It ended by itself, and badly. */
function isOwnEnd({ result, state, exitCode = 0 }: Outcome): boolean {
  return result === "failed" && state === "FAILED" && exitCode > 0;
}

/** A shell tells a death by a signal as 128 and the signal's number. */
const deaths: Readonly<Record<number, string>> = {
  132: "SIGILL",
  134: "SIGABRT",
  135: "SIGBUS",
  136: "SIGFPE",
  137: "SIGKILL",
  139: "SIGSEGV",
  140: "SIGUSR2",
};

function deathBy({ exitCode = 0 }: Outcome): string | undefined {
  return deaths[exitCode];
}

/** MaxRSS is sampled: a peak may pass between two looks. */
const sampledShare = 0.9;

function memoryHint({ outcome: { used } }: End): string | undefined {
  const { memoryBytes, maxRssBytes, nodes = 1 }: Usage = used ?? {};
  if (memoryBytes === undefined) return undefined;
  const asked = `asked ${gigabytes(memoryBytes)}${nodes > 1 ? " on each node" : ""}`;
  if (maxRssBytes === undefined) return `${asked}: raise memory`;
  const sampled = maxRssBytes < memoryBytes * sampledShare ? " when it was last sampled" : "";
  return `${asked}, peaked at ${gigabytes(maxRssBytes)}${sampled}: raise memory`;
}

function timeHint({ outcome: { used } }: End): string | undefined {
  const { timeLimitSeconds, elapsedSeconds, cpuSeconds }: Usage = used ?? {};
  if (timeLimitSeconds === undefined) return undefined;
  const ran = elapsedSeconds === undefined ? "" : `, ran ${time(elapsedSeconds)}`;
  const busy = cpuSeconds === undefined ? "" : `, cpu ${time(cpuSeconds)}`;
  return `asked ${time(timeLimitSeconds)}${ran}${busy}: raise time`;
}
