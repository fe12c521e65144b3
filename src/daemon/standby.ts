/**
 * Standing by, while the state can not be written: nothing is claimed, submitted or concluded. EMX2 goes on hearing that the
 * worker lives, so that its jobs are not taken for lost.
 */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { Emx2Client } from "../emx2/client.ts";
import { ApiError, NetworkError } from "../errors.ts";
import type { Log } from "../log.ts";
import { clientOf } from "./connect.ts";

interface StandbyParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
}

/** Says so to EMX2 at once, then waits; the signal ends the wait. */
export async function standBy(ms: number, { config, clock, log }: StandbyParts, signal: AbortSignal): Promise<void> {
  const waiting = clock.sleep(ms, signal).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  await beat(clientOf(config, clock, log), log, signal);
  await waiting;
}

async function beat(client: Emx2Client, log: Log, signal: AbortSignal): Promise<void> {
  try {
    await client.heartbeat({ signal });
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError || error instanceof NetworkError)) throw error;
    log.debug("no heartbeat went through", { cause: error.message });
  }
}
