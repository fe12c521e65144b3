/** What a snapshot tells beside the journal (`journal/overview.ts`), gathered from those who know it. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { JobId } from "../job/run.ts";
import type { Movement, Outlook, Overview } from "../journal/overview.ts";
import type { Assembly } from "./assemble.ts";

function withMovements(
  outlooks: Readonly<Record<JobId, Outlook>>,
  movements: ReadonlyMap<JobId, Movement>,
): Readonly<Record<JobId, Outlook>> {
  const jobs: Record<JobId, Outlook> = { ...outlooks };
  for (const [jobId, moving] of movements) {
    const outlook = jobs[jobId];
    if (outlook) jobs[jobId] = { ...outlook, moving };
  }
  return jobs;
}

export function overviewOf(
  { engine, holds, movements, reach, serverPoll }: Assembly,
  { config, clock }: { readonly config: Config; readonly clock: Clock },
): Overview {
  const backends = new Set([...engine.jobs.values()].filter(({ closed }) => !closed).map(({ backend }) => backend));
  const { cause = serverPoll.cause } = reach;
  return {
    at: clock.wall(),
    workerId: config.emx2.workerId,
    emx2: { url: config.emx2.baseUrl, reachable: serverPoll.reachable, ...(cause === undefined ? {} : { cause }) },
    schedulers: [...backends].map((backend) => ({ backend, answers: engine.isSchedulerUp(backend) })),
    held: holds.list().flatMap(({ profileKey: profile, cause, hold }) => {
      return hold ? [{ profile, cause, since: hold.since, nextProbeAt: hold.nextProbeAt }] : [];
    }),
    jobs: withMovements(engine.outlook(), movements.now()),
    notClaiming: serverPoll.notClaiming,
  };
}
