/**
 * What a job asks to be passed to its program: `parameters.args` and `parameters.environment`, and `parameters.command`
 * where it brings the program itself. It comes from a submitter and may be anything, so that whatever can not be passed byte for byte, or is not allowed, is refused by name.
 */
import { matchesAny } from "./pattern.ts";
import { canonicalHash, childTexts } from "./raw-json.ts";

export interface Workload {
  readonly args: readonly string[];
  readonly environment: readonly EnvironmentEntry[];
  /** For a shell inside the image. */
  readonly command?: string;
}

/**
 * What `parameters.command` is to a profile: a parameter like any other where the program is fixed, else what is run, or
 * something that is not allowed.
 */
export type CommandRule = "parameter" | "run" | "refuse";

export interface EnvironmentEntry {
  readonly name: string;
  readonly value: string;
}

export type ParsedWorkload =
  /** `parametersHash`: SHA-256 of the parameters in EMX2's canonical spelling. */
  | { readonly is: "parsed"; readonly workload: Workload; readonly parametersHash: string }
  | { readonly is: "refused"; readonly cause: string };

/** Linux passes one argument or `NAME=value` of at most 128 KiB, its final NUL included; the rest is for a prefixed name. */
export const longestValueBytes = 131_072 - 1_024;
/** All arguments and variables together; Linux allows a quarter of the stack's limit, 2 MiB where that is the usual 8 MiB. */
const mostValueBytes = 1_000_000;

/**
 * Names that could take over a program of the host, or that are ours. `UID` and its kin are bash's own read-only variables.
 * `*` stands for any run of characters.
 */
const neverAllowed = [
  // By the first two Apptainer changes PATH (1.4.5).
  ...["PREPEND_PATH", "APPEND_PATH", "PATH", "HOME", "ENV", "IFS", "BASH*", "SHELLOPTS", "UID", "EUID", "PPID"],
  ...[
    "CLASSPATH",
    "DOTNET_*",
    "GIT_*",
    "HOSTALIASES",
    "LESSOPEN",
    "LESSCLOSE",
    "LUA_*",
    "MODULEPATH",
    "OPENSSL_*",
    "PROMPT_COMMAND",
    "PS4",
  ],
  ...["LD_*", "GCONV_PATH", "GLIBC_*", "LOCPATH", "NLSPATH"],
  ...[
    "PYTHON*",
    "PERL*",
    "RUBY*",
    "NODE_*",
    "R_*",
    "JULIA_*",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
  ],
  ...["SLURM_*", "SBATCH_*", "APPTAINER*", "SINGULARITY*", "HPC_*", "EMX2_*"],
];

/** `allowedNames`: the profile's patterns. Numbers are spelled as in the text: `1.0` stays `1.0`. */
export function parseWorkload(
  parametersText: string,
  allowedNames: readonly string[],
  commandRule: CommandRule = "parameter",
): ParsedWorkload {
  try {
    JSON.parse(parametersText);
    const parameters = childTexts(parametersText);
    const args = parseArguments(parameters.get("args"));
    const environment = parseEnvironment(parameters.get("environment"), allowedNames);
    const command = parseCommand(parameters.get("command"), commandRule);
    checkTotal(args, environment);
    // Nesting beyond what can be spelt canonically throws too: the job fails for it, not the daemon.
    const parametersHash = canonicalHash(parametersText);
    return { is: "parsed", workload: { args, environment, ...command }, parametersHash };
  } catch (error) {
    if (error instanceof Refusal) return { is: "refused", cause: error.message };
    if (error instanceof SyntaxError || error instanceof RangeError)
      return { is: "refused", cause: `parameters are not readable JSON: ${error.message}` };
    throw error;
  }
}

class Refusal extends Error {}

function parseArguments(text: string | undefined): string[] {
  if (text === undefined || text === "null") return [];
  if (!text.startsWith("[")) throw new Refusal("parameters.args is not a list");
  return [...childTexts(text).values()].map((source, index) => scalar(source, `parameters.args[${index}]`));
}

function parseEnvironment(text: string | undefined, allowedNames: readonly string[]): EnvironmentEntry[] {
  if (text === undefined || text === "null") return [];
  if (!text.startsWith("{")) throw new Refusal("parameters.environment is not an object");
  return [...childTexts(text)].map(([name, source]) => {
    const where = `parameters.environment.${JSON.stringify(name)}`;
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,254}$/.test(name)) throw new Refusal(`${where} is not a name of a variable`);
    if (matchesAny(name, neverAllowed)) throw new Refusal(`${where} may never be set by a job`);
    if (!matchesAny(name, allowedNames))
      throw new Refusal(`${where} is not allowed by the profile's allowed_environment`);
    return { name, value: scalar(source, where) };
  });
}

function parseCommand(text: string | undefined, rule: CommandRule): Pick<Workload, "command"> {
  if (text === undefined || text === "null" || rule === "parameter") return {};
  if (rule === "refuse")
    throw new Refusal(
      "parameters.command is not allowed: the profile needs allow_command: true and isolation: contained",
    );
  if (!text.startsWith('"')) throw new Refusal("parameters.command is not a text");
  return { command: scalar(text, "parameters.command") };
}

function scalar(source: string, where: string): string {
  if (source.startsWith("[") || source.startsWith("{")) throw new Refusal(`${where} is a list or an object`);
  if (!source.startsWith('"')) return source;
  const value: string = JSON.parse(source);
  if (value.includes("\0")) throw new Refusal(`${where} holds a NUL character`);
  if (!value.isWellFormed()) throw new Refusal(`${where} holds half of a surrogate pair`);
  if (Buffer.byteLength(value) > longestValueBytes)
    throw new Refusal(
      `${where} is longer than ${longestValueBytes} bytes; the program can read it in HPC_PARAMETERS_FILE`,
    );
  return value;
}

function checkTotal(args: readonly string[], environment: readonly EnvironmentEntry[]): void {
  const all = [...args, ...environment.map(({ name, value }) => name + value)];
  const bytes = all.reduce((sum, value) => sum + Buffer.byteLength(value) + 1, 0);
  if (bytes > mostValueBytes)
    throw new Refusal(`parameters.args and parameters.environment hold more than ${mostValueBytes} bytes together`);
}
