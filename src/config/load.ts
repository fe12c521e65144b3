/**
 * From a file to a configuration: which file, what is in it, everything that is wrong with it. Nothing but that one file
 * is opened; the secret's file is `readSecret`'s.
 */
import { readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { ConfigError, type ConfigProblem, errnoOf, meaningOf } from "../errors.ts";
import { escapeText } from "../log.ts";
import { checkDocument } from "./check.ts";
import type { Config } from "./config.ts";
import { type Document, dotted, parseYaml } from "./document.ts";
import type { Environment } from "./interpolate.ts";
import { adviceOn, resolveConfig } from "./resolve.ts";
import type { Settings } from "./schema.ts";

interface LoadOptions {
  /** The file that was asked for (`-c`). */
  readonly path?: string;
  readonly env: Environment;
  /** The user's home directory. */
  readonly home: string;
}

/** A configuration and how it was said. */
export interface LoadedConfig {
  readonly config: Config;
  readonly settings: Settings;
  /** The file's data, to tell what it says from what is a default. */
  readonly written: Document["value"];
}

/** Throws ConfigError with all that is wrong. */
export function loadConfig(options: LoadOptions): Config {
  return loadWhole(options).config;
}

export function loadWhole(options: LoadOptions): LoadedConfig {
  const file = findConfig(options);
  const document = parseYaml(readText(file), options.env);
  const { XDG_STATE_HOME: stateHome } = options.env;
  const around = { file, home: options.home, directory: dirname(file), ...(stateHome && { stateHome }) };
  const inFile = (problem: ConfigProblem): ConfigProblem => ({ ...problem, file: escapeText(file) });
  const { settings, problems } = checkDocument(document, around);
  if (settings === undefined) throw new ConfigError(problems.map(inFile));
  const warnings = adviceOn(settings, around).map(({ path, ...advice }) =>
    inFile({ ...document.place(path), path: dotted(path), ...advice }),
  );
  return { config: { ...resolveConfig(settings, around), warnings }, settings, written: document.value };
}

/**
 * Absolute path of the configuration: the one asked for, else $EMX2_HPC_CONFIG, else the first that exists of the user's
 * and the machine's. Never the working directory: whoever can write there would choose what runs as this user.
 */
export function findConfig({ path, env, home }: LoadOptions): string {
  const { EMX2_HPC_CONFIG: named } = env;
  const asked = path ?? (named || undefined);
  if (asked !== undefined) {
    const file = resolve(asked);
    if (exists(file)) return file;
    const by = path === undefined ? "named by $EMX2_HPC_CONFIG" : "named by -c";
    throw new ConfigError([{ message: `${escapeText(file)}, ${by}, does not exist` }]);
  }
  const usual = [join(home, ".config/emx2-hpc-daemon/config.yaml"), "/etc/emx2-hpc/config.yaml"];
  const found = usual.find(exists);
  if (found !== undefined) return found;
  const tried = ["-c FILE (not given)", "$EMX2_HPC_CONFIG (not set)", ...usual.map(escapeText)].join(", ");
  throw new ConfigError([{ message: `no configuration was found; tried: ${tried}` }]);
}

/** A file that is there and cannot be read counts: silently taking the next one would be worse. */
function exists(file: string): boolean {
  try {
    return statSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    // Bun 1.4.5 throws for a path through a file, where Node says undefined.
    return errnoOf(error) !== "ENOTDIR";
  }
}

function unreadable(file: string, reason: string): ConfigError {
  return new ConfigError([{ file: escapeText(file), message: `cannot be read: ${reason}` }]);
}

function readText(file: string): string {
  let bytes: Buffer;
  try {
    // A FIFO would stop the start for ever, a device fill the memory.
    if (!statSync(file).isFile()) throw unreadable(file, "it is not a regular file");
    bytes = readFileSync(file);
  } catch (error) {
    const code = errnoOf(error);
    throw code === undefined ? error : unreadable(file, meaningOf(code));
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigError([{ file: escapeText(file), message: "is not UTF-8 text" }]);
  }
}
