/**
 * What the log says of a job's life: one line for each change that an operator would want to know of, and a warning when a
 * lane begins to fail. Everything else is debug.
 */
import { acts } from "../job/acts.ts";
import { type JobEvent, laneOf } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { Log } from "../log.ts";
import { isNews } from "./news.ts";

export function logChange(log: Log, job: Job, before: Job | undefined, event: JobEvent): void {
  const say = log.child({ jobId: job.id });
  if (event.kind === "Ended") {
    const { effect, result } = event;
    if (result.is !== "ok") {
      const waits = job.waits[laneOf(effect)]?.failures ?? 0;
      const fields = { outcome: result.is, cause: result.cause, failures: waits };
      if (isNews(waits)) say.warn(`${acts[effect.kind]} did not go through`, fields);
      else say.debug(`${acts[effect.kind]} still does not go through`, fields);
    } else say.debug(`${acts[effect.kind]}: done`);
  }
  if (!before || job === before) return;
  if (before.claim.stage !== job.claim.stage) {
    if (job.claim.stage === "ours") say.info("claimed", { processor: job.processor, profile: job.profileKey });
    if (job.claim.stage === "refused") say.info("not ours", { cause: job.claim.why });
  }
  if (before.run.stage !== "tracked" && job.run.stage === "tracked")
    say.info("submitted", { slurmJobId: job.run.ref.schedulerId, backend: job.backend });
  if (before.run.stage !== "ended" && job.run.stage === "ended") {
    const { result, state, exitCode, proof, cause } = job.run.outcome;
    say.info("run ended", { result, state, exitCode, proof, cause });
  }
  if (!before.stop && job.stop) say.warn("to be ended", { by: job.stop.by, detail: job.stop.detail });
  if (!before.closed && job.closed && job.claim.stage !== "refused")
    say.info("closed", { status: job.closed.status, why: job.closed.why });
}
