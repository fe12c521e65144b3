/**
 * What sbatch's answer means: submitted, refused (the operator's options: asking again will not help), busy (Slurm takes no
 * more for now), unavailable (nobody at home, for all of them) or in doubt. The table goes from top to bottom; what it does
 * not know is in doubt, for a second submission costs more than a wait. Nothing is the job's own fault: it can ask Slurm for
 * nothing. The words are Slurm's: the tables of slurm_errno.c and job_state_reason.c, and sbatch.c, of 22.05 to 26.05.
 */
import { type Completed, failureLine } from "../subprocess.ts";
import type { SubmitAnswer } from "./scheduler.ts";

export function readSbatch(completed: Completed): SubmitAnswer {
  const schedulerId = printedId(completed.stdout);
  if (schedulerId !== undefined) return { is: "submitted", schedulerId };
  const cause = failureLine(completed);
  if (completed.spawnError !== null) return { is: "unavailable", cause };
  const { exitCode, stderr } = completed;
  const ended = exitCode !== null && exitCode !== 0 && !timedOutCodes.includes(exitCode);
  if (ended) return meaningOf(stderr, cause);
  // It was ended while it tried again and again: its last try may have gone through, the next one will not.
  const full = retrying.test(stderr) ? { full: "everything" as const } : {};
  return { is: "doubt", cause: exitCode === 0 ? "sbatch: exit 0 without a job id" : cause, ...full };
}

/** `timeout` ended sbatch (124), or had to kill it (137). */
const timedOutCodes = [124, 137];

/** `--parsable`: `17`, or `17;cluster`, on a line of its own; site wrappers add lines. */
function printedId(stdout: string): string | undefined {
  const ids = stdout.split("\n").flatMap((line) => /^(\d+)(?:;\S+)?$/.exec(line.trim())?.[1] ?? []);
  return ids.at(-1);
}

function meaningOf(stderr: string, cause: string): SubmitAnswer {
  const last = stderr
    .split("\n")
    .filter((line) => !retrying.test(line))
    .join("\n");
  const words = last.trim() === "" ? stderr : last;
  const meaning = meanings.find(({ pattern }) => pattern.test(words))?.is ?? "doubt";
  if (meaning === "full") return { is: "busy", cause, full: "everything" };
  if (meaning === "busy") return { is: "busy", cause, full: "profile" };
  return { is: meaning, cause };
}

/** sbatch tries 15 times for up to two minutes where the queue is full, and says so once; what it says last counts. */
const retrying = /retrying\.?$/m;

/** `full`: Slurm takes nothing more, whoever asks; `busy`: nothing more of these options. */
type Meaning = "doubt" | "unavailable" | "full" | "busy" | "refused";

const meanings: readonly { readonly is: Meaning; readonly pattern: RegExp }[] = [
  // The request may have arrived.
  { is: "doubt", pattern: /Socket timed out|Zero Bytes were transmitted|Unexpected message received/i },
  { is: "doubt", pattern: /Header lengths are longer|Insane message length|Message (send|receive) failure/i },
  { is: "doubt", pattern: /Unable to contact slurm controller \((send|receive|shutdown) failure\)/i },
  { is: "doubt", pattern: /Communication shutdown failure|Connection timed out (reading|writing)/i },
  { is: "doubt", pattern: /delayed socket error|closed by quiesce timeout/i },

  // The program is not there (said by `timeout`, exit 126 and 127).
  { is: "unavailable", pattern: /^timeout: failed to run command/m },
  // The controller, munge or the configuration does not answer; versions differ while a cluster is upgraded.
  { is: "unavailable", pattern: /Unable to contact slurm controller|in standby mode|Connection refused/i },
  { is: "unavailable", pattern: /Communication connection failure|Connection timed out establishing/i },
  { is: "unavailable", pattern: /Connection rejected by handler|Process is shutting down/i },
  { is: "unavailable", pattern: /authentication error|authentication credential|Munge \w+ failed/i },
  { is: "unavailable", pattern: /Unable to resolve|No route to host|Can't find an address/i },
  { is: "unavailable", pattern: /Unable to process configuration file|Could not establish a configuration source/i },
  { is: "unavailable", pattern: /Incompatible versions of client and server/i },
  // Most clients wait and ask again by themselves; one that is dropped says so (25.05).
  { is: "unavailable", pattern: /Rate limit exceeded/i },

  // The whole cluster takes nothing more for now, or its disk is full.
  { is: "full", pattern: /MaxJobCount limit reached|queue (is )?full|temporarily|submissions disabled/i },
  { is: "full", pattern: /I\/O error writing script|Slurm internal error/i },
  { is: "full", pattern: /No space left on device|Disk quota exceeded|Error generating job credential/i },
  { is: "full", pattern: /Unable to connect to database|too many open|Cannot allocate memory|PrologSlurmctld/i },

  // Limits on how many at once, and what is closed, in use or used up for a time: they pass.
  { is: "busy", pattern: /Max(Submit|Jobs)\w*(Limit|PerAccount)\b|GrpSubmit\w*Limit|job submit limit reached/i },
  { is: "busy", pattern: /Required partition not available|Partition in DOWN state|configuration not available now/i },
  { is: "busy", pattern: /Required node not available|nodes are busy|maintenance reservation|Max powered up nodes/i },
  { is: "busy", pattern: /reservation (is in use|not usable now)|Licenses currently unavailable|ports are in use/i },
  { is: "busy", pattern: /QOS usage threshold|Burst Buffer resource limit|Waiting for burst buffer/i },
  { is: "busy", pattern: /locked by another sibling|presently disabled|too many|try again/i },

  // Limits on how large: they stay.
  { is: "refused", pattern: /\b(QOS|Assoc|Partition)\w*Limit\b|\b(QOS|Assoc)(Max|Min|Grp)\w+\b/ },
  // `MaxSubmitJobs` without the name of the limit reads like this; so does a size limit.
  { is: "busy", pattern: /Job violates accounting\/QOS policy/ },

  // The options are wrong, before or at the controller; it says "Batch job submission failed" of all that it refuses.
  {
    is: "refused",
    pattern: /unrecognized option|invalid option|ambiguous|requires an argument|doesn't allow an argument/,
  },
  { is: "refused", pattern: /Invalid .*(specification|value|directive)|is not a valid|Unable to open file/i },
  { is: "refused", pattern: /does not look like a batch script|Batch job submission failed: / },
];
