/**
 * What `check` asks of Slurm: questions alone, each with a bound on its time. `sbatch --test-only` is the submission that a
 * profile's jobs would have, but for the script: Slurm judges it and submits nothing.
 */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import type { Clock } from "../clock.ts";
import { errnoOf, SchedulerOutputError } from "../errors.ts";
import type { Profile } from "../job/profile.ts";
import { type RunRef, runName } from "../job/run.ts";
import { type Completed, failureLine, run, succeeded } from "../subprocess.ts";
import { type Partition, parsePartitions, sinfoArgv } from "./partitions.ts";
import { readSbatch } from "./sbatch-answer.ts";
import { located, queryEnvironment, sacctArgv, sbatchOptions, squeueArgv } from "./slurm-format.ts";

export interface ProbeOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly user: string;
  readonly binDir?: string;
  readonly onCommand?: (completed: Completed) => void;
  readonly timeoutMs?: number;
}

/** `missing`: the program is not there. */
export type Asked<T> =
  | { readonly is: "answered"; readonly value: T }
  | { readonly is: "failed"; readonly cause: string; readonly missing: boolean };

/** `busy`: refused now, and taken later. */
export type TestAnswer = {
  readonly is: "accepted" | "busy" | "refused" | "unavailable";
  /** What sbatch said. */
  readonly words: string;
};

export interface SlurmProbe {
  /** Why the file that SLURM_CONF names can not be read; undefined: it can, or Slurm finds its own. */
  configurationFault(): Promise<string | undefined>;
  /** `slurm 24.11.5`, as the command itself says. */
  version(command: string): Promise<Asked<string>>;
  /** Each controller and whether it answers. */
  ping(): Promise<Asked<readonly ControllerState[]>>;
  /** The question that the daemon asks each poll. */
  queue(): Promise<Asked<string>>;
  accounting(): Promise<Asked<"answers" | "disabled">>;
  /** What `scontrol show config` tells, by the name of the setting. */
  settings(): Promise<Asked<ReadonlyMap<string, string>>>;
  partitions(): Promise<Asked<readonly Partition[]>>;
  /** `tmpDir`: where job directories are made. */
  testOnly(profile: Profile, tmpDir: string): Promise<TestAnswer>;
}

export interface ControllerState {
  readonly name: string;
  readonly isUp: boolean;
}

/** A controller that is down is given up by Slurm's own commands after 9 to 10 s (22.05, 26.05). */
const usualTimeoutMs = 15_000;
/** A script that does nothing; sbatch refuses one that is empty. */
const script = Buffer.from("#!/bin/sh\n");

export function createProbe(options: ProbeOptions): SlurmProbe {
  const ask = (argv: readonly string[], stdin?: Uint8Array) => askSlurm(argv, options, stdin);
  return {
    configurationFault: () => configurationFault(options.env),
    version: async (command) => asked(await ask([command, "--version"]), (stdout) => stdout.trim()),
    async ping() {
      const completed = await ask(["scontrol", "ping"]);
      // Exit 1 where none is up; what it says counts.
      const controllers = parsePing(completed.stdout);
      return controllers.length > 0 ? { is: "answered", value: controllers } : asked(completed, () => controllers);
    },
    queue: async () => asked(await ask(squeueArgv(options.user)), (stdout) => stdout),
    async accounting() {
      const completed = await ask(sacctArgv({ names: ["emx2-none"] }, 60));
      if (/accounting storage is disabled/i.test(completed.stderr)) return { is: "answered", value: "disabled" };
      return asked(completed, () => "answers");
    },
    settings: async () => asked(await ask(["scontrol", "show", "config"]), parseSettings),
    partitions: async () => asked(await ask(sinfoArgv), parsePartitions),
    async testOnly(profile, tmpDir) {
      const [sbatch = "", ...argv] = sbatchOptions(noRun(tmpDir), profile);
      return testAnswer(await ask([sbatch, "--test-only", ...argv], script));
    },
  };
}

/** Its directory does not exist, and sbatch does not mind before the job starts. */
function noRun(tmpDir: string): RunRef {
  return { jobId: "check", attempt: "a1", name: runName("check"), dir: `${tmpDir}/check`, notBefore: 0 };
}

function askSlurm(argv: readonly string[], options: ProbeOptions, stdin?: Uint8Array): Promise<Completed> {
  const { clock, signal, binDir, user, onCommand, timeoutMs = usualTimeoutMs } = options;
  const env = queryEnvironment({ ...options.env, USER: user, LOGNAME: user });
  const told = onCommand ? { onCompleted: onCommand } : {};
  return run(located(binDir, argv), { clock, signal, env, timeoutMs, ...(stdin && { stdin }), ...told });
}

function asked<T>(completed: Completed, read: (stdout: string) => T): Asked<T> {
  if (!succeeded(completed)) {
    return { is: "failed", cause: failureLine(completed), missing: completed.spawnError === "ENOENT" };
  }
  try {
    return { is: "answered", value: read(completed.stdout) };
  } catch (error) {
    if (!(error instanceof SchedulerOutputError)) throw error;
    return { is: "failed", cause: error.message, missing: false };
  }
}

/** `Slurmctld(primary) at vm is UP`; with a backup a line each (22.05, 24.11: `… is UP`, `… is DOWN`). */
function parsePing(stdout: string): ControllerState[] {
  return [...stdout.matchAll(/^Slurmctld\((\S+)\) at (\S+) is (\w+)$/gm)].map(([, role, host, word]) => ({
    name: `${role} on ${host}`,
    isUp: word === "UP",
  }));
}

/** `MinJobAge               = 300 sec`, a line a setting. */
function parseSettings(stdout: string): ReadonlyMap<string, string> {
  return new Map([...stdout.matchAll(/^(\w+)\s+= (.*)$/gm)].map(([, name = "", value = ""]) => [name, value.trim()]));
}

/** All of `--test-only` is on stderr; a refusal begins with `allocation failure:` where a submission would have its own words. */
function testAnswer(completed: Completed): TestAnswer {
  const lines = completed.stderr
    .split("\n")
    .map((line) => line.replace(/^(sbatch|allocation failure): (error: )?/, ""));
  const words = lines.filter(Boolean).slice(0, 3).join("; ").slice(0, 300);
  if (succeeded(completed)) return { is: "accepted", words };
  const { is } = readSbatch(completed);
  if (is === "busy") return { is, words };
  const unheard = is === "unavailable" || completed.exitCode === null;
  return unheard ? { is: "unavailable", words: failureLine(completed) } : { is: "refused", words };
}

/** Asked here, since Slurm's commands try for a minute to read a slurm.conf that is not there. */
async function configurationFault(env: ProbeOptions["env"]): Promise<string | undefined> {
  const { SLURM_CONF: conf } = env;
  if (conf === undefined) return undefined;
  try {
    await access(conf, constants.R_OK);
    return undefined;
  } catch (error) {
    if (errnoOf(error) === undefined || !(error instanceof Error)) throw error;
    return `SLURM_CONF: ${error.message}`;
  }
}
