/** What `check` asks of Slurm: are its commands there, does the controller answer, does accounting? Nothing is submitted. */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import type { Clock } from "../clock.ts";
import { type Completed, failureLine, run, succeeded } from "../subprocess.ts";
import { located, queryEnvironment, sacctArgv, squeueArgv } from "./slurm-format.ts";

export interface ProbeOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly user: string;
  readonly binDir?: string;
  readonly onCommand?: (completed: Completed) => void;
}

export interface ProbeItem {
  readonly item: string;
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly fix?: string;
}

const probeTimeoutMs = 30_000;

export async function* probeSlurm(options: ProbeOptions): AsyncGenerator<ProbeItem> {
  const ask = (argv: readonly string[]) => askSlurm(argv, options);
  const unreadable = await unreadableConfiguration(options.env);
  if (unreadable) return yield unreadable;
  const version = await ask(["sbatch", "--version"]);
  if (!succeeded(version)) return yield missing(version);
  yield { item: "Slurm", result: "ok", detail: version.stdout.trim() };

  const queue = await ask(squeueArgv(options.user));
  if (succeeded(queue)) yield { item: "slurmctld", result: "ok", detail: "answers" };
  else {
    const fix = "jobs wait until the controller answers; ask the site if this lasts";
    yield { item: "slurmctld", result: "failed", detail: failureLine(queue), fix };
  }
  const accounting = await ask(sacctArgv({ names: ["emx2-none"] }, 60));
  if (succeeded(accounting)) yield { item: "accounting", result: "ok", detail: "sacct answers" };
  else {
    const fix = "not needed: without it the end of a job is known from its receipt alone";
    yield { item: "accounting", result: "warning", detail: failureLine(accounting), fix };
  }
}

function missing(version: Completed): ProbeItem {
  const commands = "put Slurm's commands on PATH, or name their directory in slurm.bin_dir";
  const fix = saysConfiguration(version) ? nameConfiguration : commands;
  return { item: "Slurm", result: "failed", detail: failureLine(version), fix };
}

/** Asked here, since Slurm's commands try for a minute to read a slurm.conf that is not there. */
async function unreadableConfiguration(env: ProbeOptions["env"]): Promise<ProbeItem | undefined> {
  const { SLURM_CONF: conf } = env;
  if (conf === undefined) return undefined;
  try {
    await access(conf, constants.R_OK);
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { item: "Slurm", result: "failed", detail: `SLURM_CONF: ${error.message}`, fix: nameConfiguration };
  }
}

const nameConfiguration =
  "let SLURM_CONF name this cluster's slurm.conf, or unset it where the commands find their own";

function saysConfiguration({ stderr }: Completed): boolean {
  return /process configuration file|establish a configuration source/i.test(stderr);
}

function askSlurm(argv: readonly string[], options: ProbeOptions): Promise<Completed> {
  const { clock, signal, env, binDir, onCommand } = options;
  const told = onCommand ? { onCompleted: onCommand } : {};
  return run(located(binDir, argv), { clock, signal, env: queryEnvironment(env), timeoutMs: probeTimeoutMs, ...told });
}
