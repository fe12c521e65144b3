/**
 * The `detail` of reports. A terminal one begins as the reference's does, since EMX2 shows it and people grep for it:
 * `slurm_state=…; exit_code=CODE:SIGNAL; reason=…; node=…; elapsed=…`. Then the cause in a few words, who can act, what did
 * not come back, and the last lines of stderr.
 */
import { diagnose } from "./diagnosis.ts";
import type { Job, LeftOut, Report } from "./job.ts";
import type { Outcome } from "./run.ts";
import { usageWords } from "./usage.ts";

/** EMX2 takes 65,536 characters of text; a detail stays far below. */
export const maxDetailChars = 8_192;
const maxHeadChars = 4_096;

/** What a made-up run says of itself is marked so. */
export function spoken(job: Job, report: Report & { readonly detail: string }): Report {
  return job.backend === "simulate" ? { ...report, detail: `SIMULATED; ${report.detail}` } : report;
}

export function submittedDetail(job: Job, schedulerId: string): string {
  return [`submitted as ${schedulerId}`, profileChosen(job)].filter((part) => part !== undefined).join("; ");
}

export function reportDetail(job: Job, outcome: Outcome, stderrTail: readonly string[]): string {
  const facts = outcome.state === "NEVER_SUBMITTED" ? [] : slurmFacts(outcome);
  const { cause, who, hint } = diagnose(job, outcome);
  const used = usageWords(outcome.used ?? {});
  const causes = [
    cause,
    job.outputs.stage === "failed"
      ? `outputs were not uploaded: ${job.outputs.detail}${whereOutputsAre(job, outcome, job.outputs.detail)}`
      : undefined,
    job.logs.stage === "failed" ? `logs were not uploaded: ${job.logs.detail}` : undefined,
    who === undefined ? undefined : `who can act: ${who}`,
    hint,
    used === "" ? undefined : `used: ${used}`,
    outcome.imageChanged
      ? `the image ${job.image?.path} may not be the one that was looked at: it was changed since, or the node has another`
      : undefined,
    profileChosen(job),
    leftOut(job.leftOut, "outputs"),
    leftOut(job.leftOutLogs, "logs"),
    job.stop?.by === "server-cancelled" && job.logs.stage === "committed"
      ? `log artifact ${job.logs.artifactId}`
      : undefined,
  ].filter((part) => part !== undefined);
  const text = [...facts, ...causes].join("; ");
  const head = text.length <= maxHeadChars ? text : `${text.slice(0, maxHeadChars - 1)}…`;
  if (outcome.result === "succeeded" || stderrTail.length === 0) return head;
  return withTail(`${head}\nlast lines of stderr:\n`, stderrTail.join("\n"));
}

function whereOutputsAre({ outputBase, dir }: Job, { outputDir }: Outcome, why: string): string {
  return why.endsWith(" was removed") ? "" : `; they are in ${outputBase ?? dir}/${outputDir} on the cluster`;
}

/** Named last: the names may be many, and are what is cut where there is no room. */
function leftOut(files: LeftOut | undefined, of: "outputs" | "logs"): string | undefined {
  if (!files) return undefined;
  const { count, names } = files;
  const more = count > names.length ? ", …" : "";
  return `${count} left out of the ${of}: ${names.join(", ")}${more}`;
}

function profileChosen({ serverProfile, profileKey }: Job): string | undefined {
  return serverProfile === null ? `the job names no profile: run with ${profileKey}` : undefined;
}

/** Where there is too much, the end stays: a program says last what it died of. */
function withTail(head: string, tail: string): string {
  const room = maxDetailChars - head.length;
  return head + (tail.length <= room ? tail : `…${tail.slice(1 - room)}`);
}

function slurmFacts(outcome: Outcome): string[] {
  return [
    `slurm_state=${outcome.state}`,
    outcome.exitCode === undefined ? undefined : `exit_code=${outcome.exitCode}:${outcome.signal ?? 0}`,
    outcome.reason === undefined ? undefined : `reason=${outcome.reason}`,
    outcome.node === undefined ? undefined : `node=${outcome.node}`,
    outcome.elapsed === undefined ? undefined : `elapsed=${outcome.elapsed}`,
  ].filter((fact) => fact !== undefined);
}
