/**
 * One answer for all who ask at the same time. A question that is on its way was put before the next one came up, and may
 * know nothing of what has happened since: whoever asks meanwhile waits for the next, which is one for all of them. So
 * there are at most two questions for any number of askers, and every answer was begun after it was asked for.
 */
import type { Clock } from "../clock.ts";
import type { RunRef } from "../job/run.ts";

export type Unavailable = { readonly is: "unavailable"; readonly cause: string };

/** `runs`: of all who ask, each once. */
type Ask<T> = (runs: readonly RunRef[], signal: AbortSignal) => Promise<T | Unavailable>;

/** How long a question waits for others to join it. */
const gatherMs = 50;

const givenUp: Unavailable = { is: "unavailable", cause: "given up" };

interface Question {
  readonly runs: Map<string, RunRef>;
  /** Those who still wait for its answer. */
  askers: number;
  readonly stop: AbortController;
}

export function sharedQuery<T>(clock: Clock, ask: Ask<T>): Ask<T> {
  /** Takes further askers until it is put. */
  let next: (Question & { readonly answer: Promise<T | Unavailable> }) | undefined;
  let before: Promise<unknown> = Promise.resolve();

  function open() {
    const question: Question = { runs: new Map(), askers: 0, stop: new AbortController() };
    const answer = before.then(() => put(question));
    before = answer.catch(() => "its askers are told");
    return Object.assign(question, { answer });
  }

  async function put(question: Question): Promise<T | Unavailable> {
    await clock.sleep(gatherMs);
    next = undefined;
    if (question.askers === 0) return givenUp;
    return ask([...question.runs.values()], question.stop.signal);
  }

  return async (runs, signal) => {
    if (signal.aborted) return givenUp;
    next ??= open();
    const question = next;
    for (const run of runs) question.runs.set(`${run.name} ${run.schedulerId ?? ""}`, run);
    question.askers += 1;
    const left = Promise.withResolvers<Unavailable>();
    const leave = () => left.resolve(givenUp);
    signal.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([question.answer, left.promise]);
    } finally {
      signal.removeEventListener("abort", leave);
      question.askers -= 1;
      // Nobody waits for it any more. Before it is put somebody may still join.
      if (question.askers === 0 && question !== next) question.stop.abort();
    }
  };
}
