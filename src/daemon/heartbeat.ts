/** The heartbeat: a loop and a request of its own, so that neither transfers nor a slow poll can hold it up. */
import type { Emx2Client } from "../emx2/client.ts";
import { ApiError, NetworkError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Loop } from "./loop.ts";

interface HeartbeatParts {
  readonly client: Emx2Client;
  readonly log: Log;
  readonly intervalMs: number;
  /** False until the worker is registered, which counts as a heartbeat itself, and while EMX2 refuses who we are. */
  isDue(): boolean;
  onAnswer(): void;
  /** EMX2 does not know this worker any more. */
  onUnknown(): void;
}

export function createHeartbeat({ client, log, intervalMs, isDue, onAnswer, onUnknown }: HeartbeatParts): Loop {
  return {
    intervalMs,
    async tick(signal) {
      if (!isDue()) return;
      try {
        const answer = await client.heartbeat({ signal });
        onAnswer();
        if (answer === "ok") return;
        log.warn("EMX2 does not know this worker any more: it is registered again");
        onUnknown();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ApiError || error instanceof NetworkError)) throw error;
        log.debug("no heartbeat went through", { cause: error.message });
      }
    },
  };
}
