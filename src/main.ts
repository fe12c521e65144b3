/**
 * The command tree, and the one place where the process ends. Options work before and after the command; unknown ones and
 * extra arguments are refused. Signals become one AbortController: the first asks for an orderly end, the second ends at
 * once.
 */
import { type CommandDef, runCommand } from "citty";
import { cancel } from "./commands/cancel.ts";
import { check } from "./commands/check.ts";
import { clean } from "./commands/clean.ts";
import { configSchema, configShow } from "./commands/config.ts";
import { demo } from "./commands/demo.ts";
import { ended, exitCodes, explain as explainError, type StopSignal, stopSignals } from "./commands/exit.ts";
import { explain } from "./commands/explain.ts";
import { globals } from "./commands/globals.ts";
import { helpText } from "./commands/help.ts";
import { once } from "./commands/once.ts";
import { register } from "./commands/register.ts";
import { retry } from "./commands/retry.ts";
import { run } from "./commands/run.ts";
import { status } from "./commands/status.ts";
import { tryOut } from "./commands/try.ts";
import { resolveCommand } from "./commands/usage.ts";
import { version } from "./commands/version.ts";
import { errnoOf } from "./errors.ts";
import { createLog, writeToStderr } from "./log.ts";
import { colorsOf } from "./view/lines.ts";
import { columnsOf } from "./view/width.ts";

const root = {
  meta: { name: "emx2-hpc-daemon", version: version.release, description: "Runs MOLGENIS EMX2 jobs on Slurm clusters" },
  args: globals,
  subCommands: {
    check,
    run,
    once,
    status,
    explain,
    cancel,
    retry,
    clean,
    register,
    try: tryOut,
    demo,
    config: {
      meta: { name: "config", description: "show the effective configuration, or its JSON Schema" },
      subCommands: { show: configShow, schema: configSchema },
    },
  },
};

const stop = new AbortController();
let stoppedBy: StopSignal | undefined;

for (const signal of stopSignals) {
  process.on(signal, () => {
    if (stoppedBy) process.exit(ended(signal));
    stoppedBy = signal;
    stop.abort(new DOMException(`stopped by ${signal}`, "AbortError"));
  });
}

async function main(argv: readonly string[]): Promise<number> {
  // State, journal and job directories are nobody else's, whatever the login's umask. The batch script sets its own.
  process.umask(0o077);
  const found = resolveCommand(root as CommandDef, argv);
  if (found.is === "version") {
    console.log(version.text);
    return exitCodes.done;
  }
  if (found.is === "help") {
    const look = { columns: columnsOf(process.stdout, process.env), colors: colorsOf(process.stdout) };
    console.log(helpText(found.command, found.name, look));
    return exitCodes.done;
  }
  const { result } = await runCommand(found.command, { rawArgs: found.rawArgs, data: { signal: stop.signal } });
  return typeof result === "number" ? result : exitCodes.done;
}

function fail(error: unknown): never {
  // A command that was cut short by a signal has nothing to explain.
  if (stoppedBy && error === stop.signal.reason) process.exit(ended(stoppedBy));
  // Whoever read our output has gone, as `head` does.
  if (errnoOf(error) === "EPIPE") process.exit(exitCodes.unread);
  const { code, text } = explainError(error);
  // Not by console.error, which Bun paints red whatever NO_COLOR says.
  if (process.argv.includes("--json-logs"))
    createLog({ json: true, level: "error", color: false, write: writeToStderr }).error(text, { exitCode: code });
  else writeToStderr(`${text}\n`);
  process.exit(code);
}

// While a top-level await is pending, Bun prints what nobody handles and runs on: these end it as the bug it is.
process.on("unhandledRejection", fail);
process.on("uncaughtException", fail);

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  fail(error);
}
