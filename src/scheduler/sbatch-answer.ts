/**
 * What sbatch's answer means: submitted, refused (asking again will not help), busy (this one has to wait, others may go
 * on), unavailable (nobody at home, for all of them) or in doubt. The table goes from top to bottom; what it does not know
 * is in doubt, for a second submission costs more than a wait.
 */
import { type Completed, failureLine } from "../subprocess.ts";
import type { SubmitAnswer } from "./scheduler.ts";

export function readSbatch(completed: Completed): SubmitAnswer {
  const schedulerId = printedId(completed.stdout);
  if (schedulerId !== undefined) return { is: "submitted", schedulerId };
  const cause = failureLine(completed);
  if (completed.spawnError !== null) return { is: "unavailable", cause };
  const ended = completed.exitCode !== null && completed.exitCode !== 0 && !timedOutCodes.includes(completed.exitCode);
  if (!ended) return { is: "doubt", cause: completed.exitCode === 0 ? "sbatch: exit 0 without a job id" : cause };
  const known = meanings.find(({ pattern }) => pattern.test(completed.stderr));
  return { is: known?.is ?? "doubt", cause };
}

/** `timeout` ended sbatch (124), or had to kill it (137). */
const timedOutCodes = [124, 137];

/** `--parsable`: `17`, or `17;cluster`, on a line of its own; site wrappers add lines. */
function printedId(stdout: string): string | undefined {
  const ids = stdout.split("\n").flatMap((line) => /^(\d+)(?:;\S+)?$/.exec(line.trim())?.[1] ?? []);
  return ids.at(-1);
}

const meanings: readonly { readonly is: "doubt" | "unavailable" | "busy" | "refused"; readonly pattern: RegExp }[] = [
  // The request may have arrived.
  { is: "doubt", pattern: /Socket timed out|Zero Bytes were transmitted|Unexpected message received/i },

  // The program is not there (said by `timeout`, exit 126 and 127).
  { is: "unavailable", pattern: /^timeout: failed to run command/m },
  // The controller, munge or the configuration does not answer.
  { is: "unavailable", pattern: /Unable to contact slurm controller|in standby mode|Connection refused/i },
  { is: "unavailable", pattern: /authentication error|Munge \w+ failed|Unable to resolve|No route to host/i },
  { is: "unavailable", pattern: /Unable to process configuration file|Could not establish a configuration source/i },

  // Limits on how many, a partition that is closed, a controller that has too much to do: they pass.
  { is: "busy", pattern: /Max(Submit|Jobs)\w*Limit|GrpSubmit\w*Limit|job submit limit reached/i },
  { is: "busy", pattern: /Required partition not available/ },
  { is: "busy", pattern: /temporarily|sleeping and retrying|queue (is )?full|rate limit|too many|try again/i },
  { is: "busy", pattern: /No space left on device|Disk quota exceeded/i },

  // Limits on how large: they stay.
  { is: "refused", pattern: /\b(QOS|Assoc|Partition)\w*Limit\b/ },
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
