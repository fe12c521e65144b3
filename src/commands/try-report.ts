/** A trial as it is shown. */
import type { TrialReport } from "../view/trial.ts";
import { type Trial, verdictsOf } from "./try-verdict.ts";

/** `kept`: the directory that stays. */
export function reportOf(trial: Trial, kept: string | undefined): TrialReport {
  const { profile, stored, job, shown, received } = trial;
  const end = job?.run.stage === "ended" ? job.run : undefined;
  const { slurmJobId } = stored;
  const sha256 = end?.outcome.imageChanged ? undefined : job?.image?.sha256;
  const detail = stored.transitions.at(-1)?.detail;
  return {
    profile: `${profile.processor}/${profile.profile}`,
    jobId: stored.id,
    status: stored.status,
    steps: stored.transitions,
    shown,
    outputs: received.files,
    verdicts: verdictsOf(trial),
    ...(slurmJobId === null ? {} : { slurmJobId }),
    ...(end && { outcome: end.outcome }),
    ...(sha256 === undefined ? {} : { imageSha256: sha256 }),
    ...(detail ? { detail } : {}),
    ...(kept === undefined ? {} : { kept }),
  };
}
