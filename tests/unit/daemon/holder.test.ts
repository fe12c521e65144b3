/** Whether somebody else takes care of a job directory, by its owner file and what is seen of the lease behind it. */
import { expect, test } from "bun:test";
import type { Owner } from "../../../src/artifacts/job-files.ts";
import { createHolders, type Sight } from "../../../src/daemon/holder.ts";

const ours: Owner = { state: "s1", stateDir: "/state", host: "login1", uid: 1 };
const elsewhere: Partial<Owner> = { state: "s2", stateDir: "/other" };

async function holderOf(owner: Partial<Owner>, sight: Sight): Promise<string> {
  const holders = createHolders(ours, async () => sight);
  const ask = () => holders.of({ is: "state", owner: { ...ours, ...owner } });
  const first = ask();
  if (first.is !== "being watched") return first.is;
  await first.until;
  return ask().is;
}

const cases: readonly (readonly [string, Partial<Owner>, Sight, string])[] = [
  ["our own state", {}, "unreadable", "ourselves"],
  ["our own state, which has moved", { stateDir: "/before", host: "login2" }, "fresh", "ourselves"],
  ["another state in our own directory: that one is lost", { state: "s2" }, "fresh", "gone"],
  ["the same path on another host may be another disk", { state: "s2", host: "login2" }, "stale", "unclear"],
  ["a lease that moves", elsewhere, "fresh", "alive"],
  ["a lease that moves, on another host", { ...elsewhere, host: "login2" }, "fresh", "alive"],
  ["a lease that does not move", elsewhere, "stale", "gone"],
  ["a lease that does not move, of another host", { ...elsewhere, host: "login2" }, "stale", "gone"],
  ["no state directory any more", elsewhere, "absent", "gone"],
  ["none that can be seen from this host", { ...elsewhere, host: "login2" }, "absent", "unclear"],
  ["one that was held a short while ago", elsewhere, "resting", "unclear"],
  ["one that may not be looked at", elsewhere, "unreadable", "unclear"],
];
test.each(cases)("%s", async (_, owner, sight, expected) => {
  expect(await holderOf(owner, sight)).toBe(expected);
});

test("one watch for all directories of the same holder, and a new one once it was forgotten", async () => {
  const watched: string[] = [];
  const holders = createHolders(ours, async (stateDir) => {
    watched.push(stateDir);
    return "fresh";
  });
  const ask = () => holders.of({ is: "state", owner: { ...ours, ...elsewhere } });
  const both = [ask(), ask()];
  await Promise.all(both.map((holder) => (holder.is === "being watched" ? holder.until : undefined)));
  expect(ask().is).toBe("alive");
  expect(watched).toEqual(["/other"]);
  holders.forget();
  expect(ask().is).toBe("being watched");
  expect(watched).toHaveLength(2);
});

test("a watch that is called off, since the daemon ends, has seen nothing and is nobody's fault", async () => {
  const holders = createHolders(ours, async () => {
    throw new DOMException("stopped by SIGTERM", "AbortError");
  });
  const ask = () => holders.of({ is: "state", owner: { ...ours, ...elsewhere } });
  const first = ask();
  if (first.is === "being watched") await first.until;
  expect(ask().is).toBe("being watched");
});

test("an owner file that says nothing leaves it unclear", () => {
  const holders = createHolders(ours, async () => "stale");
  expect(holders.of({ is: "nobody" }).is).toBe("unclear");
  expect(holders.of({ is: "unreadable", why: "is a FIFO" }).is).toBe("unclear");
});
