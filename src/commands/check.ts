/** `check`: what works and what does not, a line an item, with the fix. Exit 1 if anything failed. */
import { homedir } from "node:os";
import { defineCommand } from "citty";
import { systemClock } from "../clock.ts";
import { loadWhole } from "../config/load.ts";
import { type CheckItem, checks } from "../daemon/checks.ts";
import { checkText, colorsOf } from "../view/lines.ts";
import { columnsOf } from "../view/width.ts";
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
    const look = { columns: columnsOf(process.stdout, process.env), colors: colorsOf(process.stdout) };
    const parts = { config, written, clock: systemClock, log, signal: signalOf(data) };
    for await (const item of checks(parts)) {
      items.push(item);
      if (!args.json) console.log(checkText(item, look));
    }
    if (args.json) console.log(JSON.stringify({ items }, null, 2));
    return items.some(({ result }) => result === "failed") ? exitCodes.failed : exitCodes.done;
  },
});
