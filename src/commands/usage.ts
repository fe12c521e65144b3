/**
 * Which command an argument list means. citty neither passes options of a parent on nor refuses what it does not know, so
 * the command's words are looked up here, and what remains is checked strictly against that command's own arguments.
 */
import { parseArgs } from "node:util";
import type { ArgsDef, CommandDef } from "citty";

/** The command line is wrong (exit 2). */
export class UsageError extends Error {
  override name = "UsageError";
}

export type Resolved =
  | { readonly is: "run"; readonly command: CommandDef; readonly rawArgs: string[] }
  | { readonly is: "help"; readonly command: CommandDef; readonly parent?: CommandDef }
  | { readonly is: "version" };

export function resolveCommand(root: CommandDef, argv: readonly string[]): Resolved {
  if (argv.length === 0) return { is: "help", command: root };
  const { command, parent, rest, name } = descend(root, argv);
  if (rest.includes("--help") || rest.includes("-h")) return { is: "help", command, ...(parent ? { parent } : {}) };
  if (command === root && rest.length === 1 && rest[0] === "--version") return { is: "version" };
  if (command.subCommands) {
    const known = Object.keys(command.subCommands).join(", ");
    const word = positionals(command, rest)[0]?.value;
    throw new UsageError(
      word === undefined ? `${name} needs a command: ${known}` : `${name}: unknown command "${word}" (${known})`,
    );
  }
  const rawArgs = checkArguments(command, name, rest);
  return { is: "run", command, rawArgs };
}

interface Place {
  readonly command: CommandDef;
  readonly parent: CommandDef | undefined;
  readonly rest: readonly string[];
  readonly name: string;
}

function descend(root: CommandDef, argv: readonly string[]): Place {
  let place: Place = { command: root, parent: undefined, rest: argv, name: "emx2-hpc-daemon" };
  for (;;) {
    const [word] = positionals(root, place.rest);
    const next = word && subCommand(place.command, word.value);
    if (!next) return place;
    const rest = place.rest.filter((_, index) => index !== word.index);
    place = { command: next, parent: place.command, rest, name: `${place.name} ${word.value}` };
  }
}

function subCommand(command: CommandDef, word: string): CommandDef | undefined {
  const known = (command.subCommands ?? {}) as Record<string, CommandDef>;
  return Object.hasOwn(known, word) ? known[word] : undefined;
}

/** Words that are no options, seen with the global options' eyes: `-c FILE` takes the word after it. */
function positionals(
  command: CommandDef,
  argv: readonly string[],
): { readonly value: string; readonly index: number }[] {
  const options = optionsOf(command);
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true });
  return tokens.filter((token) => token.kind === "positional");
}

function checkArguments(command: CommandDef, name: string, argv: readonly string[]): string[] {
  const wanted = Object.values((command.args ?? {}) as ArgsDef).filter((arg) => arg.type === "positional");
  try {
    const found = parseArgs({ args: [...argv], options: optionsOf(command), strict: true, allowPositionals: true });
    if (found.positionals.length > wanted.length)
      throw new UsageError(`${name}: unexpected argument "${found.positionals[wanted.length]}"`);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // Node goes on with advice on positional arguments, which these commands do not take.
    const [reason = ""] = (error instanceof Error ? error.message : String(error)).split(". ");
    throw new UsageError(`${name}: ${reason}`);
  }
  return [...argv];
}

type ParseOptions = NonNullable<Parameters<typeof parseArgs>[0]>["options"];

function optionsOf(command: CommandDef): ParseOptions {
  const options: Record<string, { type: "string" | "boolean"; short?: string }> = {};
  for (const [name, arg] of Object.entries((command.args ?? {}) as ArgsDef)) {
    if (arg.type === "positional") continue;
    const aliases = "alias" in arg ? arg.alias : undefined;
    const alias = [aliases ?? []].flat().find((short) => short.length === 1);
    options[name] = { type: arg.type === "boolean" ? "boolean" : "string", ...(alias ? { short: alias } : {}) };
  }
  return options;
}
