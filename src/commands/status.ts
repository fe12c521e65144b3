/** `status`: what is tracked and why it waits, from the snapshot alone; neither EMX2 nor Slurm is asked. */
import { defineCommand } from "citty";
import { colorsOf } from "../view/lines.ts";
import { statusJson, statusText } from "../view/status.ts";
import { columnsOf } from "../view/width.ts";
import { exitCodes } from "./exit.ts";
import { configFor, globals } from "./globals.ts";
import { trackedIn } from "./tracked.ts";

export const status = defineCommand({
  meta: { name: "status", description: "what is tracked, where each job stands and why it waits; asks nobody" },
  args: {
    ...globals,
    all: { type: "boolean", alias: "a", description: "list jobs that are done too" },
    json: { type: "boolean", description: "print it as JSON: daemon, emx2, schedulers, held, counts, jobs" },
  },
  run({ args }) {
    const { facts } = trackedIn(configFor(args));
    const all = args.all === true;
    const look = { columns: columnsOf(process.stdout, process.env), colors: colorsOf(process.stdout) };
    console.log(args.json ? JSON.stringify(statusJson(facts, all), null, 2) : statusText(facts, all, look));
    return exitCodes.done;
  },
});
