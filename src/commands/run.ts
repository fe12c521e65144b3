/** `run`: the daemon, until SIGTERM. */
import { defineCommand } from "citty";
import { systemClock } from "../clock.ts";
import { type Composed, compose } from "../daemon/compose.ts";
import { StateError } from "../errors.ts";
import type { Fields, Log } from "../log.ts";
import { exitCodes } from "./exit.ts";
import { backendArgs, backendOf, configFor, globals, logFor, signalOf, warnOf } from "./globals.ts";
import { version } from "./version.ts";

export const run = defineCommand({
  meta: { name: "run", description: "the daemon: claim, submit, monitor and transfer until SIGTERM" },
  args: { ...globals, ...backendArgs },
  async run({ args, data }) {
    const signal = signalOf(data);
    const backend = backendOf(args);
    const log = logFor(args);
    const config = configFor(args);
    warnOf(config, log);
    const about = { version: version.text, worker: config.emx2.workerId, emx2: config.emx2.baseUrl, backend };
    const held = await untilStopped(log, about, signal, () =>
      compose({ config, backend, log, version: version.text, signal }),
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
const diskFullPauseMs = 60_000;

/**
 * Runs the daemon until the signal. When the journal's disk is full it lets go, waits, and comes back as after a crash.
 * Gives who holds the state, if it is not ours.
 */
async function untilStopped(
  log: Log,
  about: Fields,
  signal: AbortSignal,
  start: () => Promise<Composed>,
): Promise<string | undefined> {
  for (;;) {
    try {
      const composed = await start();
      if (composed.is === "held") return composed.by;
      log.info("started", about);
      await composed.daemon.run(signal);
      return undefined;
    } catch (error) {
      if (!(error instanceof StateError && error.state.reason === "full") || signal.aborted) throw error;
      log.error("the state can not be written; nothing is done until it can", { cause: error.message });
    }
    await systemClock.sleep(diskFullPauseMs, signal);
  }
}
