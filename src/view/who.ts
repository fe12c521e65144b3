/** Who can act on a job as it stands: mostly nobody need, and saying so lets an operator sleep. */
import { diagnose } from "../job/diagnosis.ts";
import { type Job, lanes } from "../job/job.ts";
import { operator } from "../job/who.ts";
import type { Overview } from "../journal/overview.ts";

/** Tries in a row that failed before somebody is asked to look. */
const troublingFailures = 3;

interface Rule {
  applies(job: Job, overview: Overview | undefined): boolean;
  readonly who: string;
}

/** From top to bottom; the first that applies. */
const rules: readonly Rule[] = [
  {
    applies: ({ profileKey, run }, overview) =>
      (run.stage === "written" || run.stage === "submitting") &&
      (overview?.held ?? []).some(({ profile }) => profile === profileKey),
    who: `${operator}: mend what the cause names (the profile's options, its image, the nodes); a changed configuration needs a restart`,
  },
  {
    applies: ({ backend, run }, overview) =>
      run.stage !== "ended" && (overview?.schedulers ?? []).some((one) => one.backend === backend && !one.answers),
    who: "whoever looks after the scheduler; it goes on by itself when that answers",
  },
  {
    applies: ({ run }) => run.stage === "tracked" && run.stuckSince !== undefined,
    who: `${operator}: it can never start so; mend its profile, or the limit that is named, and cancel it`,
  },
  {
    applies: ({ run }) => run.stage === "tracked" && /^JobHeld/.test(run.row?.reason ?? ""),
    who: "whoever held it on the cluster, by scontrol release",
  },
  {
    applies: ({ run }) => run.stage === "tracked" && ["SUSPENDED", "STOPPED"].includes(run.row?.state ?? ""),
    who: "whoever suspended it on the cluster, by scontrol resume",
  },
  {
    applies: (_job, overview) => overview?.emx2.reachable === false,
    who: "whoever looks after EMX2 or the way to it; it goes on by itself when EMX2 answers",
  },
  {
    applies: ({ waits }) => lanes.some((lane) => (waits[lane]?.failures ?? 0) >= troublingFailures),
    who: `${operator}: what goes wrong stands above`,
  },
];

export function whoCanAct(job: Job, overview: Overview | undefined): string {
  if (job.run.stage === "ended" && job.run.outcome.result !== "succeeded")
    return diagnose(job, job.run.outcome).who ?? "nobody need";
  if (job.closed) return "nobody need";
  return rules.find(({ applies }) => applies(job, overview))?.who ?? "nobody need: it goes on by itself";
}
