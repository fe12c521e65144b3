/** `run`: the daemon, until SIGTERM. */
import { defineCommand } from "citty";
import { systemClock as clock } from "../clock.ts";
import { type Composed, compose } from "../daemon/compose.ts";
import { isNews } from "../daemon/news.ts";
import { standBy } from "../daemon/standby.ts";
import { StateError } from "../errors.ts";
import type { Fields, Log } from "../log.ts";
import { exitCodes } from "./exit.ts";
import { backendArgs, backendOf, configFor, globals, logFor, signalOf, takeOverArgs, warnOf } from "./globals.ts";
import { warnOfOpenState } from "./state-dir.ts";
import { version } from "./version.ts";

export const run = defineCommand({
  meta: { name: "run", description: "the daemon: claim, submit, monitor and transfer until SIGTERM" },
  args: { ...globals, ...backendArgs, ...takeOverArgs },
  async run({ args, data }) {
    const signal = signalOf(data);
    const backend = backendOf(args);
    const takeOver = args["take-over"] ?? false;
    const log = logFor(args);
    const config = configFor(args);
    warnOf(config, log);
    warnOfOpenState(config, log);
    const about = { version: version.text, worker: config.emx2.workerId, emx2: config.emx2.baseUrl, backend };
    const start = () => compose({ config, backend, log, takeOver, version: version.text, signal });
    const held = await untilStopped(
      { log, about, start, pause: () => standBy(pauseMs, { config, clock, log }, signal) },
      signal,
    );
    if (held !== undefined) {
      log.error("another instance holds this state", { stateDir: config.worker.stateDir, by: held });
      return exitCodes.held;
    }
    log.info("stopped");
    return exitCodes.done;
  },
});

/** A full disk at night is no reason to be gone in the morning. */
const pauseMs = 60_000;

interface Life {
  readonly log: Log;
  readonly about: Fields;
  start(): Promise<Composed>;
  /** While the state can not be written. */
  pause(): Promise<void>;
}

/**
 * Runs the daemon until the signal. When the journal can not be written any more it lets go, waits, and comes back as after a
 * crash. Gives who holds the state, if it is not ours.
 */
async function untilStopped({ log, about, start, pause }: Life, signal: AbortSignal): Promise<string | undefined> {
  let hasRun = false;
  for (let failures = 1; ; failures += 1) {
    try {
      const composed = await start();
      if (composed.is === "held") return composed.by;
      log.info("started", about);
      hasRun = true;
      failures = 1;
      await composed.daemon.run(signal);
      return undefined;
    } catch (error) {
      if (!passes(error, hasRun) || signal.aborted) throw error;
      const words = "the state can not be written; nothing is done until it can";
      if (isNews(failures)) log.error(words, { cause: error.message, failures });
      else log.debug(words, { cause: error.message, failures });
    }
    await pause();
    if (signal.aborted) return undefined;
  }
}

/** Disks are emptied, and file systems mounted again; a directory that never could be used is a mistake to be told at once. */
function passes(error: unknown, hasRun: boolean): error is StateError {
  return (
    error instanceof StateError && (error.state.reason === "full" || (error.state.reason === "unusable" && hasRun))
  );
}
