/**
 * Writes record after record into the journal of its first argument until it is killed, and says on stdout which durable
 * ones it was told are safe. With `until-full` it writes until the journal refuses, and says how.
 */
import { systemClock } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import { openJournal } from "../../../src/journal/journal.ts";
import { begun, filePut, refOf } from "./records.ts";

const [, , path = "", mode] = process.argv;
const maxRecords = 200_000;
const lossyPerDurable = 3;

const journal = openJournal(path, { clock: systemClock });
const first = journal.history("job-1").length;
try {
  for (let at = first; at < first + maxRecords; at += 1) {
    const durable = at % (lossyPerDurable + 1) === lossyPerDurable;
    const intent = begun("job-1", `effect-${at}`, { kind: "Submit", ref: refOf("job-1") });
    journal.record(
      durable ? { ...intent, event: { ...intent.event, at } } : filePut("job-1", at),
      durable ? "durable" : "lossy",
    );
    if (durable) console.log(at);
  }
} catch (error) {
  if (!(error instanceof StateError) || mode !== "until-full") throw error;
  console.log(JSON.stringify({ reason: error.state.reason, message: error.message }));
  // The journal would go on trying for ever.
  process.exit();
}
