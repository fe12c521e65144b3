/** One scheduler a backend, made when a job first needs it: a job stays with the backend that took it. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { BackendName } from "../job/profile.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import { createShell } from "../scheduler/shell.ts";
import { createSimulate } from "../scheduler/simulate.ts";
import { createSlurm } from "../scheduler/slurm.ts";

export function createSchedulers(config: Config, clock: Clock, user: string): (backend: BackendName) => Scheduler {
  const made = new Map<BackendName, Scheduler>();
  return (backend) => {
    const scheduler = made.get(backend) ?? make(backend, config, clock, user);
    made.set(backend, scheduler);
    return scheduler;
  };
}

function make(backend: BackendName, config: Config, clock: Clock, user: string): Scheduler {
  const { binDir } = config.slurm;
  switch (backend) {
    case "slurm":
      return createSlurm({
        clock,
        env: process.env,
        user,
        ...(binDir === undefined ? {} : { binDir }),
      });
    case "shell":
      return createShell({ clock, env: process.env });
    case "simulate":
      return createSimulate({ clock });
  }
}
