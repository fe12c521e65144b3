/** Takes the lock of the state directory in its first argument, says how that went, and stays until it is killed. */
import { systemClock } from "../../../src/clock.ts";
import { acquireLock } from "../../../src/journal/lock.ts";

const longestStayMs = 60_000;

const answer = await acquireLock(process.argv[2] ?? "", { waitMs: 0, clock: systemClock });
console.log("held" in answer ? answer.held : "locked");
await systemClock.sleep(longestStayMs);
