import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { admit, type Limits, type Offer, profilesFor } from "../../../src/job/admit.ts";
import { type Profile, profileDefaults } from "../../../src/job/profile.ts";

/** `a1`: for profile a; `ab1`: for a, else for b. */
const offers = (words: string): Offer[] =>
  words.split(" ").map((jobId) => ({ jobId, profileKeys: [...jobId.replace(/\d+$/, "")] }));
const limits = (maxConcurrentJobs: number, perProfile: Limits["perProfile"] = {}): Limits => ({
  maxConcurrentJobs,
  perProfile,
});

describe("admit", () => {
  test.each<[string, string, string[], Limits, string]>([
    ["oldest first", "a1 a2 a3", [], limits(2), "a1 a2"],
    ["no more than there are free slots", "a1 a2 a3", ["a", "a"], limits(3), "a1"],
    ["nothing where all slots are taken", "a1", ["a", "b"], limits(2), ""],
    ["nothing where more are taken than there are (the limit was lowered)", "a1", ["a", "b", "b"], limits(2), ""],
    ["profiles in turn, whatever the backlog of one", "a1 a2 a3 a4 b1 b2", [], limits(4), "a1 b1 a2 b2"],
    ["the profile with the fewest jobs here goes next", "a1 a2 b1", ["a", "a"], limits(4), "b1 a1"],
    ["among equals the one whose job has waited longest", "b1 a1", [], limits(1), "b1"],
    ["a profile's own limit", "a1 a2 a3 b1", ["a"], limits(10, { a: 2 }), "b1 a1"],
    ["a profile's limit does not hold up the others", "a1 b1 b2", ["a"], limits(10, { a: 1 }), "b1 b2"],
    [
      "a job for several goes to the first of them that has room",
      "ab1 ab2 ab3",
      [],
      limits(10, { a: 1, b: 1 }),
      "ab1 ab2",
    ],
    ["a job for several waits its turn in each of them", "a1 ab2 b3", [], limits(2, { a: 1 }), "a1 ab2"],
  ])("%s", (_, words, active, limit, expected) => {
    expect(
      admit(offers(words), active, limit)
        .map(({ jobId }) => jobId)
        .join(" "),
    ).toBe(expected);
  });

  test("of nothing is nothing", () => {
    expect(admit([], [], limits(5))).toEqual([]);
  });

  test("never exceeds a limit, leaves no slot empty that could be filled, and overtakes nobody of the same profile", () => {
    const profile = fc.constantFrom("a", "b", "c");
    const world = fc.record({
      queue: fc.array(profile, { maxLength: 30 }),
      active: fc.array(profile, { maxLength: 12 }),
      max: fc.nat({ max: 15 }),
      perProfile: fc.dictionary(profile, fc.option(fc.nat({ max: 5 }), { nil: undefined })),
    });
    fc.assert(
      fc.property(world, ({ queue, active, max, perProfile }) => {
        const waiting = queue.map((profileKey, at) => ({ jobId: `${profileKey}${at}`, profileKeys: [profileKey] }));
        const taken = admit(waiting, active, limits(max, perProfile));
        expect(taken.length).toBeLessThanOrEqual(Math.max(0, max - active.length));
        for (const key of ["a", "b", "c"] as const) {
          const own = waiting.filter(({ profileKeys }) => profileKeys.includes(key)).map(({ jobId }) => jobId);
          const ofKey = taken.filter(({ profileKey }) => profileKey === key).map(({ jobId }) => jobId);
          const here = active.filter((other) => other === key).length;
          const limit = perProfile[key] ?? Number.POSITIVE_INFINITY;
          expect(ofKey).toEqual(own.slice(0, ofKey.length));
          expect(ofKey.length).toBeLessThanOrEqual(Math.max(0, limit - here));
          const isFull = active.length + taken.length >= max || here + ofKey.length >= limit;
          expect(isFull || ofKey.length === own.length).toBe(true);
        }
      }),
    );
  });

  test("takes no more of a profile than of one that still waits and had no more to begin with", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "b"), { maxLength: 30 }), fc.nat({ max: 10 }), (queue, max) => {
        const waiting = queue.map((profileKey, at) => ({ jobId: String(at), profileKeys: [profileKey] }));
        const taken = admit(waiting, [], limits(max));
        const count = (key: string) => taken.filter(({ profileKey }) => profileKey === key).length;
        for (const [more, fewer] of [
          ["a", "b"],
          ["b", "a"],
        ] as const) {
          const stillWaits = queue.filter((key) => key === fewer).length > count(fewer);
          if (stillWaits) expect(count(more)).toBeLessThanOrEqual(count(fewer) + 1);
        }
      }),
    );
  });
});

describe("the profiles of a job", () => {
  const profile = (processor: string, name: string): Profile => ({
    ...{ key: `${processor}/${name}`, processor, profile: name },
    ...{ workload: { kind: "host", entrypoint: "/bin/true" }, ...profileDefaults },
  });
  const profiles = [profile("p", "large"), profile("q", "default"), profile("p", "default"), profile("p", "small")];

  test.each<[string, string | null, string[], string]>([
    ["p", "small", [], "p/small"],
    ["p", "small", ["p/small"], "p/small"],
    ["p", "huge", [], ""],
    ["r", null, [], ""],
    ["q", null, [], "q/default"],
    ["p", null, [], "p/default p/large p/small"],
    ["p", null, ["p/default"], "p/large p/small"],
    ["p", null, ["p/default", "p/large", "p/small"], "p/default p/large p/small"],
  ])("of %s/%p, while %p are held", (processor, name, held, keys) => {
    const found = profilesFor({ processor, profile: name }, profiles, (key) => held.includes(key));
    expect(found.map(({ key }) => key).join(" ")).toBe(keys);
  });
});
