/** Stands in the place of `journal/journal.ts` in the executable with failpoints: each recorded result can be the last. */
import * as real from "../../src/journal/journal.ts";
import { end, isMet } from "./failpoint.ts";

export const openJournal: typeof real.openJournal = (...where) => {
  const journal = real.openJournal(...where);
  const record = journal.record.bind(journal);
  journal.record = (entry, durability) => {
    record(entry, durability);
    const { event } = entry;
    if (event.kind !== "Ended" || !isMet(event.effect, "recorded")) return;
    // A lossy record is still in memory, where this edge would be the same as the one before it.
    journal.flush();
    end();
  };
  return journal;
};
