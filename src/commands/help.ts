/** What `--help` prints: the command's line, what it takes and which commands it has, in the terminal's width. */
import type { ArgsDef, CommandDef, CommandMeta } from "citty";
import type { Colors } from "../view/lines.ts";
import { padded, wrapped } from "../view/width.ts";
import { operandsOf } from "./usage.ts";

interface Look {
  /** Of the terminal; infinity in a pipe. */
  readonly columns: number;
  readonly colors: Colors;
}

/** `name`: the words that call the command. */
export function helpText(command: CommandDef, name: string, look: Look): string {
  const { bold } = look.colors;
  const { description = "" } = metaOf(command);
  const commands = leavesOf(command);
  const operands = operandsOf(command);
  const synopsis = [name, ...(commands.length > 0 ? ["COMMAND"] : []), ...operands, "[options]"];
  const sections = [
    wrapped(`${name}: ${description}`, look.columns, 0),
    wrapped(`${bold("Usage")}  ${synopsis.join(" ")}`, look.columns, "Usage  ".length),
    ...(commands.length > 0 ? [section("Commands", commands, look)] : []),
    ...(operands.length > 0 ? [section("Arguments", argumentsOf(command), look)] : []),
    section("Options", [...optionsOf(command), ...common(command)], look),
  ];
  if (commands.length > 0) sections.push(wrapped(`${name} COMMAND --help tells more of a command.`, look.columns));
  return sections.join("\n\n");
}

/** With less room beside it an explanation stands under what it explains. */
const fewestColumns = 24;

type Row = readonly [term: string, meaning: string];

function section(title: string, rows: readonly Row[], { columns, colors }: Look): string {
  const width = Math.max(...rows.map(([term]) => Bun.stringWidth(term)));
  const indent = 2 + width + 2;
  const lines = rows.map(([term, meaning]) =>
    columns - indent >= fewestColumns
      ? wrapped(`  ${padded(term, width)}  ${meaning}`, columns, indent)
      : `  ${term}\n${wrapped(`      ${meaning}`, columns, 6)}`,
  );
  return [colors.bold(title), ...lines].join("\n");
}

/** Commands that do something: `config show` and not `config`. */
function leavesOf(command: CommandDef, before = ""): Row[] {
  return Object.entries((command.subCommands ?? {}) as Record<string, CommandDef>).flatMap(([word, child]) => {
    const name = `${before}${word}`;
    if (child.subCommands) return leavesOf(child, `${name} `);
    return [[[name, ...operandsOf(child)].join(" "), metaOf(child).description ?? ""] as const];
  });
}

function argumentsOf(command: CommandDef): Row[] {
  const args = Object.entries((command.args ?? {}) as ArgsDef).filter(([, arg]) => arg.type === "positional");
  return args.map(([name, arg]) => [name.toUpperCase(), arg.description ?? ""]);
}

function optionsOf(command: CommandDef): Row[] {
  const args = Object.entries((command.args ?? {}) as ArgsDef).filter(([, arg]) => arg.type !== "positional");
  return args.map(([name, arg]) => {
    const alias = "alias" in arg ? [arg.alias ?? []].flat()[0] : undefined;
    const value = arg.type === "boolean" ? "" : ` ${arg.valueHint ?? name.toUpperCase()}`;
    return [`${alias === undefined ? "    " : `-${alias}, `}--${name}${value}`, arg.description ?? ""];
  });
}

function common(command: CommandDef): Row[] {
  const help: Row = ["-h, --help", "this text"];
  return metaOf(command).version === undefined
    ? [help]
    : [help, ["    --version", "the version and the commit it was built from"]];
}

function metaOf(command: CommandDef): CommandMeta {
  return (command.meta ?? {}) as CommandMeta;
}
