/** `once`: one poll-claim-monitor cycle, for cron. */
import { defineCommand } from "citty";
import { compose } from "../daemon/compose.ts";
import type { Job } from "../job/job.ts";
import type { JobStatus } from "../job/status.ts";
import type { Fields } from "../log.ts";
import { exitCodes } from "./exit.ts";
import { backendArgs, backendOf, configFor, globals, logFor, signalOf, takeOverArgs, warnOf } from "./globals.ts";
import { warnOfOpenState } from "./state-dir.ts";
import { UsageError } from "./usage.ts";
import { version } from "./version.ts";

/** A cron job that waits longer than this for its forerunner only piles up. */
const maxWaitS = 3_600;

export const once = defineCommand({
  meta: { name: "once", description: "one poll-claim-monitor cycle, then exit (for cron)" },
  args: {
    ...globals,
    ...backendArgs,
    ...takeOverArgs,
    wait: { type: "string", valueHint: "S", description: "seconds to wait for another instance to end (default 0)" },
    quiet: { type: "boolean", alias: "q", description: "print warnings and errors alone" },
  },
  async run({ args, data }) {
    const signal = signalOf(data);
    const backend = backendOf(args);
    const takeOver = args["take-over"] ?? false;
    const lockWaitMs = waitOf(args.wait) * 1000;
    const log = logFor(args, args.quiet);
    const config = configFor(args);
    warnOf(config, log);
    warnOfOpenState(config, log);
    const composed = await compose({ config, backend, log, takeOver, lockWaitMs, version: version.text, signal });
    if (composed.is === "held") {
      // Its forerunner is still at work, as happens in cron: the exit code says so to whoever asks.
      log.info("another instance holds this state", { stateDir: config.worker.stateDir, by: composed.by });
      return exitCodes.held;
    }
    const reachable = await composed.daemon.once(signal);
    if (signal.aborted) return exitCodes.failed;
    log.info("one cycle done", openJobs(composed.daemon.engine.jobs.values()));
    return reachable ? exitCodes.done : exitCodes.unavailable;
  },
});

/** How many are still to be brought to their end, and how far they are. */
function openJobs(jobs: Iterable<Job>): Fields {
  const open = [...jobs].filter((job) => !job.closed && job.claim.stage === "ours");
  const at = (status: JobStatus) => open.filter(({ announced }) => announced === status).length;
  return { jobs: open.length, claimed: at("CLAIMED"), submitted: at("SUBMITTED"), started: at("STARTED") };
}

function waitOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const seconds = Number(text);
  if (!(seconds >= 0 && seconds <= maxWaitS))
    throw new UsageError(`--wait takes seconds from 0 to ${maxWaitS}, not "${text}"`);
  return seconds;
}
