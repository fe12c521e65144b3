/** Options that every command takes, and what they turn into. */
import { homedir } from "node:os";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../errors.ts";
import type { BackendName } from "../job/profile.ts";
import { createLog, type Log, wantsColor, writeToStderr } from "../log.ts";
import { UsageError } from "./usage.ts";

export const globals = {
  config: {
    type: "string",
    alias: "c",
    valueHint: "FILE",
    description:
      "the configuration (else $EMX2_HPC_CONFIG, ~/.config/emx2-hpc-daemon/config.yaml, /etc/emx2-hpc/config.yaml)",
  },
  verbose: { type: "boolean", alias: "v", description: "log commands and requests too" },
  "json-logs": { type: "boolean", description: "log lines as JSON" },
} as const;

export const backendArgs = {
  backend: { type: "string", valueHint: "slurm|shell|simulate", description: "where jobs run (default slurm)" },
  simulate: { type: "boolean", description: "the same as --backend simulate" },
} as const;

export const takeOverArgs = {
  "take-over": {
    type: "boolean",
    description: "carry on jobs that EMX2 calls this worker's and nothing here knows (the Python daemon's too)",
  },
} as const;

export function backendOf(args: {
  readonly backend?: string | undefined;
  readonly simulate?: boolean | undefined;
}): BackendName {
  const { backend = args.simulate ? "simulate" : "slurm" } = args;
  if (backend !== "slurm" && backend !== "shell" && backend !== "simulate")
    throw new UsageError(`--backend takes slurm, shell or simulate, not "${backend}"`);
  if (args.simulate && backend !== "simulate")
    throw new UsageError(`--simulate and --backend ${backend} exclude each other`);
  return backend;
}

/** The signal that main.ts hands to every command. */
export function signalOf(data: unknown): AbortSignal {
  const signal = typeof data === "object" && data !== null && "signal" in data ? data.signal : undefined;
  if (!(signal instanceof AbortSignal)) throw new TypeError("a command was run without its signal");
  return signal;
}

export interface GlobalOptions {
  readonly config?: string | undefined;
  readonly verbose?: boolean | undefined;
  readonly "json-logs"?: boolean | undefined;
}

/** Logs go to stderr. `quiet`: warnings and errors alone. */
export function logFor(options: GlobalOptions, quiet = false, write: (text: string) => void = writeToStderr): Log {
  return createLog({
    json: options["json-logs"] === true,
    level: options.verbose ? "debug" : quiet ? "warn" : "info",
    color: wantsColor(process.stderr, process.env),
    short: process.stderr.isTTY === true,
    write,
  });
}

export function configFor(options: GlobalOptions): Config {
  const { config: path } = options;
  return loadConfig({ ...(path === undefined ? {} : { path }), env: process.env, home: homedir() });
}

export function warnOf(config: Config, log: Log): void {
  for (const warning of config.warnings) log.warn(formatProblem(warning));
}
