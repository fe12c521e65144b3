/**
 * Which command an argument list means. citty neither passes options of a parent on nor refuses what it does not know, so
 * the command's words are looked up here, and what remains is checked strictly against that command's own arguments.
 */
import { parseArgs } from "node:util";
import type { ArgsDef, CommandDef } from "citty";
import { nearestName } from "../config/check.ts";

const program = "emx2-hpc-daemon";

/** The command line is wrong (exit 2). */
export class UsageError extends Error {
  override name = "UsageError";
  constructor(
    message: string,
    /** The words of the command whose `--help` says what is right. */
    readonly command = program,
  ) {
    super(message);
  }
}

export type Resolved =
  | { readonly is: "run"; readonly command: CommandDef; readonly rawArgs: string[] }
  | { readonly is: "help"; readonly command: CommandDef; readonly name: string }
  | { readonly is: "version" };

export function resolveCommand(root: CommandDef, argv: readonly string[]): Resolved {
  if (argv.length === 0) return { is: "help", command: root, name: program };
  const { command, rest, name } = descend(root, argv);
  if (rest.includes("--help") || rest.includes("-h")) return { is: "help", command, name };
  if (command === root && rest.length === 1 && rest[0] === "--version") return { is: "version" };
  if (command.subCommands) throw unknownCommand(command, name, rest);
  checkArguments(command, name, rest);
  return { is: "run", command, rawArgs: [...rest] };
}

interface Place {
  readonly command: CommandDef;
  readonly rest: readonly string[];
  readonly name: string;
}

function descend(root: CommandDef, argv: readonly string[]): Place {
  // An option may stand before the command that it belongs to.
  const options = optionsBelow(root);
  let place: Place = { command: root, rest: argv, name: program };
  for (;;) {
    const word = tokensOf(options, place.rest).find((token) => token.kind === "positional");
    const next = word && subCommand(place.command, word.value);
    if (!next) return place;
    const rest = place.rest.filter((_, index) => index !== word.index);
    place = { command: next, rest, name: `${place.name} ${word.value}` };
  }
}

function subCommand(command: CommandDef, word: string): CommandDef | undefined {
  const known = (command.subCommands ?? {}) as Record<string, CommandDef>;
  return Object.hasOwn(known, word) ? known[word] : undefined;
}

function unknownCommand(command: CommandDef, name: string, argv: readonly string[]): UsageError {
  const names = Object.keys(command.subCommands ?? {});
  const word = tokensOf(optionsBelow(command), argv).find((token) => token.kind === "positional")?.value;
  if (word === undefined) return new UsageError(`${name} needs a command: ${names.join(", ")}`, name);
  const known = `(${names.join(", ")})`;
  return new UsageError(`${name}: unknown command "${word}"${guess(word, names)} ${known}`, name);
}

/** Which word is which depends on the options: `-c FILE` takes the word after it. */
function tokensOf(options: Options, argv: readonly string[]) {
  return parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true }).tokens;
}

function checkArguments(command: CommandDef, name: string, argv: readonly string[]): void {
  const options = optionsOf(command);
  const tokens = tokensOf(options, argv);
  const wanted = operandsOf(command);
  const given = tokens.filter((token) => token.kind === "positional");
  const extra = given.at(wanted.length);
  const missing = wanted.at(given.length);
  const faults = [
    ...tokens.map((token) => (token.kind === "option" ? optionFault(token, options) : undefined)),
    extra && `unexpected argument "${extra.value}"`,
    missing && `needs ${missing}`,
  ];
  const fault = faults.find((each) => each !== undefined);
  if (fault !== undefined) throw new UsageError(`${name}: ${fault}`, name);
}

/** All that an option was given, which may be given again; citty keeps the last one alone. */
export function valuesOf(argv: readonly string[], args: ArgsDef, option: string): string[] {
  const tokens = tokensOf(optionsOf({ args }), argv);
  return tokens.flatMap((token) => (token.kind === "option" && token.name === option ? (token.value ?? []) : []));
}

/** What stands without an option before it, as help names it. */
export function operandsOf(command: CommandDef): string[] {
  const args = Object.entries((command.args ?? {}) as ArgsDef);
  return args.filter(([, arg]) => arg.type === "positional").map(([name]) => name.toUpperCase());
}

interface OptionToken {
  readonly name: string;
  /** As it was written: `-c` or `--config`. */
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}

function optionFault({ name, rawName, value, inlineValue }: OptionToken, options: Options): string | undefined {
  const option = Object.hasOwn(options, name) ? options[name] : undefined;
  if (!option) return `unknown option ${rawName}${guess(name, Object.keys(options), "--")}`;
  if (option.type === "boolean") return value === undefined ? undefined : `${rawName} takes no value`;
  // A word that looks like an option is one, unless it stands behind "=".
  const isGiven = value !== undefined && value !== "" && (inlineValue || !value.startsWith("-"));
  if (isGiven) return undefined;
  const isMeant = rawName.startsWith("--") && value?.startsWith("-");
  return `${rawName} needs a value${isMeant ? `: is it ${rawName}=${value}?` : ""}`;
}

function guess(given: string, names: readonly string[], prefix = ""): string {
  const near = nearestName(given, names);
  return near === undefined ? "" : `: did you mean ${prefix}${near}?`;
}

type Options = Readonly<Record<string, { type: "string" | "boolean"; short?: string }>>;

function optionsBelow(command: CommandDef): Options {
  const children = Object.values((command.subCommands ?? {}) as Record<string, CommandDef>);
  return Object.assign({}, optionsOf(command), ...children.map(optionsBelow));
}

function optionsOf(command: CommandDef): Options {
  const options: Record<string, { type: "string" | "boolean"; short?: string }> = {};
  for (const [name, arg] of Object.entries((command.args ?? {}) as ArgsDef)) {
    if (arg.type === "positional") continue;
    const aliases = "alias" in arg ? arg.alias : undefined;
    const alias = [aliases ?? []].flat().find((short) => short.length === 1);
    options[name] = { type: arg.type === "boolean" ? "boolean" : "string", ...(alias ? { short: alias } : {}) };
  }
  return options;
}
