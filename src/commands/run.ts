/** `run`: the daemon, until SIGTERM. `backendOf` and what a held state means are shared with `once`. */
import { defineCommand } from "citty";
import { compose } from "../daemon/compose.ts";
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
    const composed = await compose({ config, backend, log, version: version.text, signal });
    if (composed.is === "held") {
      log.error("another instance holds this state", { stateDir: config.worker.stateDir, by: composed.by });
      return exitCodes.held;
    }
    log.info("started", { version: version.text, worker: config.emx2.workerId, emx2: config.emx2.baseUrl, backend });
    await composed.daemon.run(signal);
    log.info("stopped");
    return exitCodes.done;
  },
});
