/** `register`: makes the worker and what it can run known to EMX2, and says what EMX2 answered. */
import { hostname } from "node:os";
import { defineCommand } from "citty";
import { systemClock } from "../clock.ts";
import { clientOf } from "../daemon/connect.ts";
import { capabilitiesOf } from "../daemon/server-poll.ts";
import { exitCodes } from "./exit.ts";
import { configFor, globals, logFor, signalOf, warnOf } from "./globals.ts";

export const register = defineCommand({
  meta: { name: "register", description: "register the worker and its capabilities at EMX2" },
  args: globals,
  async run({ args, data }) {
    const log = logFor(args);
    const config = configFor(args);
    warnOf(config, log);
    const capabilities = capabilitiesOf(config.profiles, config.worker.maxConcurrentJobs);
    const client = clientOf(config, systemClock, log);
    await client.register({ hostname: hostname(), capabilities }, { signal: signalOf(data) });
    console.log(
      `registered ${config.emx2.workerId} at ${config.emx2.baseUrl} with ${capabilities.length} capabilities`,
    );
    for (const { processor, profile } of capabilities) console.log(`  ${processor}/${profile}`);
    return exitCodes.done;
  },
});
