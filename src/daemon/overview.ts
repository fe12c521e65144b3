/** What a snapshot tells beside the journal (`journal/overview.ts`), gathered from those who know it. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { Overview } from "../journal/overview.ts";
import type { Assembly } from "./assemble.ts";

export function overviewOf(
  { engine, holds, reach, serverPoll }: Assembly,
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
    jobs: engine.outlook(),
  };
}
