/** Stands in the place of `daemon/effects.ts` in the executable with failpoints: each effect can be the last thing it does. */
import * as real from "../../src/daemon/effects.ts";
import { end, isMet } from "./failpoint.ts";

export const createPerformer: typeof real.createPerformer = (...parts) => {
  const performer = real.createPerformer(...parts);
  return {
    ...performer,
    async run(job, effect, signal) {
      if (isMet(effect, "before")) end();
      const ending = await performer.run(job, effect, signal);
      if (isMet(effect, "after")) end();
      return ending;
    },
  };
};
