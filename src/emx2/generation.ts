/**
 * Which generation of EMX2 answers. /health tells; it is remembered, and learnt again once anything hints at another (a 401,
 * a refused upload, a missing route, a registration) or after a while: a server may be upgraded, or restored older, beneath
 * us. Where EMX2 does not tell, the call that asked fails: nothing is guessed.
 */
import type { Clock } from "../clock.ts";
import { ApiError, IntegrityError } from "../errors.ts";
import type { Call } from "./client.ts";
import { untilAborted } from "./idle.ts";

/** `2026-02`: one secret for all workers; `2026-05`: a secret for each. */
export type Generation = "2026-02" | "2026-05";

export interface Generations {
  /** Those who ask at the same time share one question. */
  present(call?: Call): Promise<Generation>;
  /** Sends in the present generation, and once more where that is refused and EMX2 turns out to be of the other. */
  sendIn<T>(call: Call | undefined, send: (generation: Generation) => Promise<T>): Promise<T>;
  learn(generation: Generation): void;
  forget(): void;
}

/** An upgrade that nothing has hinted at is noticed after this. */
const rememberedMs = 10 * 60_000;

export function createGenerations(clock: Clock, ask: () => Promise<Generation>): Generations {
  let known: { readonly generation: Generation; readonly at: number } | undefined;
  let asking: Promise<Generation> | undefined;

  const learn = (generation: Generation) => {
    known = { generation, at: clock.mono() };
  };
  const forget = () => {
    known = undefined;
    asking = undefined;
  };
  const question = () => {
    const asked = ask();
    asked
      .then((generation) => {
        // What was forgotten meanwhile stays forgotten.
        if (asking === asked) learn(generation);
      })
      // Told to those who wait for it, of whom there may be none left.
      .catch(() => undefined)
      .finally(() => {
        if (asking === asked) asking = undefined;
      });
    return asked;
  };
  const present = async (call?: Call) => {
    if (known && clock.mono() - known.at < rememberedMs) return known.generation;
    asking ??= question();
    return call?.signal ? untilAborted(asking, call.signal) : asking;
  };

  return {
    present,
    async sendIn(call, send) {
      const assumed = await present(call);
      try {
        return await send(assumed);
      } catch (error) {
        // Another hash than the generation's own form of the answer may come from the other generation.
        if (!(error instanceof ApiError || error instanceof IntegrityError)) throw error;
        forget();
        const generation = await present(call);
        if (generation === assumed) throw error;
        return send(generation);
      }
    },
    learn,
    forget,
  };
}
