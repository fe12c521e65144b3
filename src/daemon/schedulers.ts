/** One scheduler a backend, made when a job first needs it: a job stays with the backend that took it. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { BackendName } from "../job/profile.ts";
import type { Log } from "../log.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import { createShell } from "../scheduler/shell.ts";
import { createSimulate } from "../scheduler/simulate.ts";
import { createSlurm } from "../scheduler/slurm.ts";
import type { Completed } from "../subprocess.ts";

export interface SchedulerParts {
  readonly config: Pick<Config, "slurm">;
  readonly clock: Clock;
  readonly log: Log;
  /** The name of the user who submits; undefined: no job is Slurm's. */
  readonly user: string | undefined;
  /** Called before each command of Slurm; throws where the state, and so the jobs, are somebody else's by now. */
  readonly beforeCommand: () => void;
}

export function createSchedulers(parts: SchedulerParts): (backend: BackendName) => Scheduler {
  const made = new Map<BackendName, Scheduler>();
  return (backend) => {
    const scheduler = made.get(backend) ?? make(backend, parts);
    made.set(backend, scheduler);
    return scheduler;
  };
}

/** A line for each command; its environment is nobody's business. */
export function commandLog(log: Log): (completed: Completed) => void {
  return ({ argv, exitCode, signal, spawnError, durationMs }) =>
    log.debug("command", {
      command: argv.join(" "),
      exit: exitCode ?? spawnError ?? signal ?? undefined,
      ms: Math.round(durationMs),
    });
}

function make(backend: BackendName, { config, clock, log, user, beforeCommand }: SchedulerParts): Scheduler {
  const { binDir, limits } = config.slurm;
  switch (backend) {
    case "slurm":
      if (user === undefined) throw new Error("Slurm is needed, and nobody has asked who submits");
      return createSlurm({
        ...{ clock, env: process.env, user, beforeCommand, onCommand: commandLog(log), limits },
        ...(binDir === undefined ? {} : { binDir }),
      });
    case "shell":
      return createShell({ clock, env: process.env });
    case "simulate":
      return createSimulate({ clock });
  }
}
