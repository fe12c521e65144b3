/** `check`: what works and what does not, a line an item, with the fix. Exit 1 if anything failed. */
import { homedir } from "node:os";
import { defineCommand } from "citty";
import { systemClock } from "../clock.ts";
import { loadWhole } from "../config/load.ts";
import { type CheckItem, checks } from "../daemon/checks.ts";
import { checkLine, colorsOf } from "../view/lines.ts";
import { columnsOf, wrapped } from "../view/width.ts";
import { exitCodes } from "./exit.ts";
import { globals, logFor, signalOf } from "./globals.ts";

export const check = defineCommand({
  meta: { name: "check", description: "check configuration, Slurm and EMX2; changes nothing" },
  args: { ...globals, json: { type: "boolean", description: "print the items as JSON" } },
  async run({ args, data }) {
    const log = logFor(args, true);
    const { config: path } = args;
    const { config, written } = loadWhole({ ...(path !== undefined && { path }), env: process.env, home: homedir() });
    const items: CheckItem[] = [];
    const parts = { config, written, clock: systemClock, log, signal: signalOf(data) };
    for await (const item of checks(parts)) {
      items.push(item);
      if (!args.json) print(checkLine(item, colorsOf(process.stdout)));
    }
    if (args.json) console.log(JSON.stringify({ items }, null, 2));
    return items.some(({ result }) => result === "failed") ? exitCodes.failed : exitCodes.done;
  },
});

/** The item's own line and that of its fix, each under itself where it is too long for the terminal. */
function print(text: string): void {
  const columns = columnsOf(process.stdout, process.env);
  const [line = "", ...fixes] = text.split("\n");
  console.log([wrapped(line, columns, 9), ...fixes.map((fix) => wrapped(fix, columns, 14))].join("\n"));
}
