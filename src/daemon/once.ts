/** `once`: one cycle of the daemon, for cron. */
import type { Clock } from "../clock.ts";
import type { Assembly } from "./assemble.ts";
import { runLoop } from "./loop.ts";

/** What is still waited for: a pause between two tries of something that is under way. */
const lingerMs = 2_000;

/**
 * One scheduler observation and one look at EMX2, then work until nothing is in flight and nothing is due. While transfers
 * last, runs and cancellations are looked at again each poll interval, and heartbeats go out. False: EMX2 could not be asked.
 */
export async function cycle(
  assembly: Assembly,
  clock: Clock,
  pollIntervalMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const { engine, schedulerPoll, serverPoll, heartbeat } = assembly;
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  engine.recover();
  await schedulerPoll.tick(signal);
  await serverPoll.tick(signal);
  const asked = serverPoll.reachable;
  const beating = clock.sleep(heartbeat.intervalMs, either).then(() => runLoop(heartbeat, clock, either), ignoreAbort);
  let idle = false;
  const work = engine.idle(lingerMs).then(() => {
    idle = true;
  });
  try {
    while (!idle && !signal.aborted) {
      await Promise.race([work, clock.sleep(pollIntervalMs, either).catch(ignoreAbort)]);
      if (idle || signal.aborted || !engine.isBusy(["inputs", "logs", "outputs"])) continue;
      await serverPoll.watch(signal);
      await schedulerPoll.tick(signal);
    }
  } finally {
    over.abort();
    await beating;
  }
  return asked && serverPoll.reachable;
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof DOMException && error.name === "AbortError")) throw error;
}
