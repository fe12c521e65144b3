/** A simulated Slurm on which nothing goes wrong, behind the real adapter: for tests that are about something else. */
import type { Clock } from "../../src/clock.ts";
import type { Scheduler } from "../../src/scheduler/scheduler.ts";
import { slurmOver } from "../../src/scheduler/slurm.ts";
import { createChronicle } from "./chronicle.ts";
import type { SimulatedFiles } from "./memory-files.ts";
import { ourUser } from "./slurm-job.ts";
import { createPrograms } from "./slurm-programs.ts";
import { SlurmSite } from "./slurm-site.ts";
import { calm } from "./weather.ts";

export interface CalmCluster extends Scheduler {
  /** Job ids, one for each start of a workload. */
  readonly ledger: readonly string[];
}

export function createCluster(clock: Clock, files: SimulatedFiles): CalmCluster {
  const chronicle = createChronicle(
    () => clock.wall(),
    () => undefined,
  );
  const site = new SlurmSite({ clock, nodes: files, weather: calm, chronicle });
  const commands = createPrograms({ clock, site, weather: calm, chronicle, worker: "w1", onQuery: () => undefined });
  const scheduler = slurmOver({ clock, commands, leases: files.leases, user: ourUser });
  return {
    ...scheduler,
    get ledger() {
      return chronicle.starts.map(({ jobId }) => jobId);
    },
  };
}
