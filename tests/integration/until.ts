/** Waiting for a named condition, with a bound: the only way in which these tests wait. */
import { systemClock } from "../../src/clock.ts";

const lookAgainMs = 20;

/** The first thing that `look` finds. `story` is what to print beside the name where nothing came in time. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  boundMs: number,
  story: () => string = () => "",
): Promise<NonNullable<T>> {
  const deadline = systemClock.mono() + boundMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false) return found;
    if (systemClock.mono() >= deadline) throw new Error(`not within ${boundMs} ms: ${what}\n${story()}`);
    await systemClock.sleep(lookAgainMs);
  }
}
