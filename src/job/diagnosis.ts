/**
 * Why a run ended as it did, in a few words, and who can do something about it. The rules are read from top to bottom, the
 * first that applies decides. What the evidence has said itself (`Outcome.cause`) is kept; the table only adds to it.
 */
import { apptainerFault } from "./apptainer-message.ts";
import type { Job } from "./job.ts";
import { startedTwice } from "./outcome.ts";
import type { Outcome } from "./run.ts";

export interface Diagnosis {
  readonly cause?: string;
  readonly who?: string;
}

/** `stderr`: its last lines, in which Apptainer says why a container did not begin. */
export function diagnose(job: Job, outcome: Outcome, stderr: readonly string[] = []): Diagnosis {
  const fault = outcome.state === "FAILED" && !outcome.cause ? apptainerFault(outcome.exitCode, stderr) : undefined;
  if (fault)
    return { cause: fault.cause, who: `${fault.who === "site" ? "whoever runs the nodes" : operator}: ${fault.hint}` };
  const rule = rules.find(({ applies }) => applies(job, outcome));
  const said = outcome.cause ?? rule?.cause?.(outcome);
  return {
    ...(said === undefined ? {} : { cause: said }),
    ...(rule?.who === undefined ? {} : { who: rule.who }),
  };
}

interface Rule {
  readonly applies: (job: Job, outcome: Outcome) => boolean;
  readonly cause?: (outcome: Outcome) => string;
  readonly who?: string;
}

const submitter = "the submitter";
const operator = "the operator of this worker";

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

const rules: readonly Rule[] = [
  { applies: (job, { result }) => result === "succeeded" && job.outputs.stage !== "failed" },
  { applies: (job) => job.stop?.by === "timeout", who: `${submitter}, by a longer timeout_seconds` },
  {
    applies: (job) => job.stop?.by === "execution-timeout",
    who: `${operator}, by a longer execution_timeout_seconds; ${submitter}, by less work a job`,
  },
  { applies: (job) => job.stop?.by === "submission-timeout" || job.stop?.by === "held", who: operator },
  {
    applies: (job) => job.stop?.by === "never-runnable",
    who: `${operator}, by what the profile asks for, or by the limit that it names`,
  },
  { applies: (job) => job.stop !== undefined },
  {
    applies: ({ outputs }) => outputs.stage === "failed" && ownOutputs.some((words) => words.test(outputs.detail)),
    who: submitter,
  },
  { applies: (job) => job.outputs.stage === "failed", who: operator },
  { applies: (_job, { state, cause = "" }) => state === "NEVER_SUBMITTED" && ownHouse.test(cause), who: operator },
  {
    applies: (_job, { state, cause = "" }) => state === "NEVER_SUBMITTED" && keyNamed.test(cause),
    who: `${submitter}, by asking for less; ${operator}, by the key it names`,
  },
  { applies: (_job, { state }) => state === "NEVER_SUBMITTED", who: submitter },
  { applies: (_job, { cause }) => cause === startedTwice, who: operator },
  {
    applies: (_job, { state }) => state === "OUT_OF_MEMORY",
    cause: () => "the job needed more memory than it had",
    who: `${operator}, by more memory in the profile; ${submitter}, by smaller data`,
  },
  {
    applies: (_job, { state }) => state === "TIMEOUT" || state === "DEADLINE",
    cause: () => "its time limit ended it",
    who: `${operator}, by a longer time in the profile; ${submitter}, by less work a job`,
  },
  {
    applies: (_job, { state }) => ["NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"].includes(state),
    cause: ({ state }) => (state === "PREEMPTED" ? "another job took its place" : "the node failed under it"),
    who: "nobody; it may be submitted again",
  },
  { applies: (_job, { result }) => result === "cancelled", who: "whoever ended it on the cluster" },
  { applies: (_job, { state }) => state === "LOST", who: operator },
  {
    // slurmstepd's own: the directory or the log file could not be opened on the node.
    applies: (_job, { exitCode, signal }) => exitCode === 0 && signal === 53,
    cause: () => "Slurm could not start the script on the node: does it see the job directory?",
    who: operator,
  },
  {
    applies: (_job, { exitCode }) => exitCode === 126 || exitCode === 127,
    cause: ({ exitCode }) => `the program ended with exit code ${exitCode}: something could not be found or started`,
    who: operator,
  },
  {
    applies: (_job, { exitCode }) => (exitCode ?? 0) > 0,
    cause: ({ exitCode }) => `the program ended with exit code ${exitCode}`,
    who: submitter,
  },
  { applies: () => true, who: operator },
];
