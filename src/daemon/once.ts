/** `once`: one cycle of the daemon, for cron; and the same for one job alone, for a command that was given for it. */
import type { Clock } from "../clock.ts";
import type { JobId } from "../job/run.ts";
import type { Assembly } from "./assemble.ts";
import { type Loop, runLoop } from "./loop.ts";

/** What is still waited for: a pause between two tries of something that is under way. */
const lingerMs = 2_000;
/** So long a command that was given for one job goes on with it. */
const longestAttendMs = 45_000;
const attendPauseMs = 1_000;
const tidyPauseMs = 100;

interface CycleParts extends Assembly {
  readonly requests: Loop;
  readonly snapshot: Loop;
}

/**
 * One scheduler observation and one look at EMX2, then work until nothing is in flight and nothing is due. While transfers
 * last, runs and cancellations are looked at again each poll interval; heartbeats and snapshots go out, and requests are taken,
 * all along. False: EMX2 could not be asked.
 */
export async function cycle(
  assembly: CycleParts,
  clock: Clock,
  pollIntervalMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const { engine, schedulerPoll, serverPoll, heartbeat, movementNews, requests, snapshot, adoption } = assembly;
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  engine.recover();
  await requests.tick(signal);
  await schedulerPoll.tick(signal);
  await serverPoll.tick(signal);
  if (await adoption.settled()) await serverPoll.tick(signal);
  // What was just taken in has not been looked at.
  if (adoption.adopted > 0) await schedulerPoll.tick(signal);
  const asked = serverPoll.reachable;
  // Not at once: most calls are over before the first of them is due.
  const besides = Promise.all(
    [heartbeat, movementNews, requests, snapshot].map((loop) =>
      clock.sleep(loop.intervalMs, either).then(() => runLoop(loop, clock, either), ignoreAbort),
    ),
  );
  // Whatever ends one of them ends the cycle.
  besides.catch((error: unknown) => over.abort(error));
  let idle = false;
  const work = engine.idle(lingerMs).then(() => {
    idle = true;
  });
  try {
    while (!idle && !either.aborted) {
      await Promise.race([work, clock.sleep(pollIntervalMs, either).catch(ignoreAbort)]);
      if (idle || either.aborted || !engine.isBusy(["inputs", "logs", "outputs"])) continue;
      await serverPoll.watch(signal);
      await schedulerPoll.tick(signal);
    }
  } finally {
    over.abort();
    await besides;
  }
  return asked && serverPoll.reachable;
}

/**
 * Takes the requests that wait, claims nothing, and looks at the runs until this job has ended, nobody answers who could bring
 * it further, or it has taken long enough.
 */
export async function attend(
  { engine, schedulerPoll, serverPoll, requests }: Omit<CycleParts, "snapshot">,
  jobId: JobId,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  engine.recover(({ id }) => id === jobId);
  await requests.tick(signal);
  const deadline = clock.mono() + longestAttendMs;
  const goesOn = () => {
    const job = engine.jobs.get(jobId);
    if (!job || job.closed) return false;
    return job.run.stage === "ended" ? serverPoll.reachable : engine.isSchedulerUp(job.backend);
  };
  // A submission that is cut short would have to be looked for afterwards, and files that move would have to move again.
  const isMoving = () => engine.isBusy(["inputs", "logs", "outputs"]);
  const isBusy = () => isMoving() || engine.isBusy(["claim", "run", "report"]);
  while ((goesOn() || isBusy()) && (clock.mono() < deadline || isMoving()) && !signal.aborted) {
    await schedulerPoll.tick(signal);
    await clock.sleep(attendPauseMs, signal).catch(ignoreAbort);
  }
}

/** Takes the requests that wait, and removes the directories of jobs that have ended, where that is due or asked for. */
export async function tidy(
  { engine, requests }: Pick<CycleParts, "engine" | "requests">,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  // Where directories are kept for ever, a job that nothing was asked about is forgotten with its first look.
  let isTaken = false;
  engine.recover(({ closed }) => isTaken && closed !== undefined);
  await requests.tick(signal);
  isTaken = true;
  engine.reconsider();
  while (engine.isBusy(["clean"]) && !signal.aborted) await clock.sleep(tidyPauseMs, signal).catch(ignoreAbort);
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof DOMException && error.name === "AbortError")) throw error;
}
