import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { backoffMs, judge, nextAttempt } from "../../../src/emx2/retry.ts";
import { ApiError, IntegrityError, NetworkError, type RefusalForm } from "../../../src/errors.ts";

const answered = (status: number, more: { detail?: string; retryAfterMs?: number; form?: RefusalForm } = {}) =>
  new ApiError("no", { status, method: "POST", path: "/", form: "problem", ...more });
/** What is not in a form of EMX2's own. */
const foreign = (status: number) => new ApiError("no", { status, method: "POST", path: "/" });
const tooLarge = (status: number) => new ApiError("no", { status, method: "PUT", path: "/", tooLarge: {} });
const network = (maybeDelivered: boolean) =>
  new NetworkError("no answer", { code: "X", method: "POST", path: "/", maybeDelivered });

describe("judge", () => {
  test.each([
    ["undelivered", network(false), "retry", "retry"],
    ["perhaps delivered", network(true), "retry", "doubt"],
    ["a success that cannot be read", answered(200), "retry", "doubt"],
    ["302, a redirect", answered(302), "retry", "retry"],
    ["400", answered(400), "refused", "refused"],
    ["401", answered(401), "retry", "retry"],
    ["403", answered(403), "retry", "retry"],
    ["404", answered(404), "refused", "refused"],
    ["409", answered(409), "refused", "refused"],
    ["413", answered(413), "refused", "refused"],
    ["a missing route", answered(404, { form: "errors" }), "refused", "refused"],
    ["a path that can not be sent", answered(400, { form: "unsent" }), "refused", "refused"],
    ["a proxy's 400", foreign(400), "retry", "doubt"],
    ["a proxy's 404", foreign(404), "retry", "doubt"],
    ["what is too large for a proxy", tooLarge(413), "refused", "refused"],
    ["what is too large for 2026-02", tooLarge(500), "refused", "refused"],
    ["a file that lies on the cluster", answered(302, { form: "posix" }), "refused", "refused"],
    ["a proxy's 401", foreign(401), "retry", "retry"],
    ["a proxy's 429", foreign(429), "retry", "retry"],
    ["429", answered(429), "retry", "retry"],
    ["500", answered(500), "retry", "doubt"],
    [
      "500 after the commit",
      answered(500, { detail: "Cannot add files to artifact in status COMMITTED" }),
      "refused",
      "refused",
    ],
    ["503", answered(503), "retry", "doubt"],
    ["wrong bytes", new IntegrityError("no", { what: "hash", expected: "a", actual: "b" }), "refused", "refused"],
    ["an abort", new DOMException("aborted", "AbortError"), "stop", "stop"],
    ["a bug", new TypeError("undefined is not a function"), "stop", "stop"],
  ] as const)("%s", (_name, error, whenRepeatable, whenNot) => {
    expect(judge(error, { repeatable: true })).toBe(whenRepeatable);
    expect(judge(error, { repeatable: false })).toBe(whenNot);
  });
});

describe("backoffMs", () => {
  test("doubles from a second to a minute, half of it chance", () => {
    expect([1, 2, 3, 7, 8, 5_000].map((failures) => backoffMs(failures, 0))).toEqual([
      500, 1_000, 2_000, 30_000, 30_000, 30_000,
    ]);
    expect([1, 2, 3, 7, 8].map((failures) => backoffMs(failures, 0.999_999))).toEqual([
      1_000, 2_000, 4_000, 60_000, 60_000,
    ]);
  });

  test("never undercuts Retry-After, nor waits more than an hour for it", () => {
    const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), chance, fc.nat(10_000_000), (failures, random, askedMs) => {
        const waitMs = backoffMs(failures, random, askedMs);
        expect(waitMs).toBeGreaterThanOrEqual(Math.min(askedMs, 3_600_000));
        expect(waitMs).toBeLessThanOrEqual(Math.max(60_000, Math.min(askedMs, 3_600_000) + 500));
      }),
    );
  });

  test("takes other limits", () => {
    expect(backoffMs(20, 0, 0, { firstMs: 10, capMs: 80 })).toBe(40);
  });
});

describe("nextAttempt", () => {
  const first = { made: 1, allowed: 3, previousStatus: undefined };

  test("sends nothing that is in doubt again", () => {
    expect(nextAttempt(network(true), { repeatable: false }, first)).toBe("give-up");
    expect(nextAttempt(network(true), { repeatable: true }, first)).toBe("wait");
    expect(nextAttempt(network(false), { repeatable: false }, first)).toBe("wait");
  });

  test("believes a proxy's 404 no sooner than a failure of its own", () => {
    expect(nextAttempt(foreign(404), { repeatable: true }, first)).toBe("wait");
    expect(nextAttempt(foreign(404), { repeatable: false }, first)).toBe("give-up");
    expect(nextAttempt(foreign(400), { repeatable: false }, first)).toBe("give-up");
    expect(nextAttempt(answered(404), { repeatable: true }, first)).toBe("give-up");
  });

  test("ends with the allowed attempts", () => {
    expect(nextAttempt(network(false), { repeatable: true }, { ...first, made: 3 })).toBe("give-up");
  });

  test("believes a 401 and a 400 the second time in a row", () => {
    expect(nextAttempt(answered(401), { repeatable: false }, { ...first, made: 3 })).toBe("at-once");
    expect(nextAttempt(answered(401), { repeatable: true }, { ...first, made: 2, previousStatus: 401 })).toBe(
      "give-up",
    );
    expect(nextAttempt(answered(400), { repeatable: true }, { ...first, made: 2, previousStatus: 401 })).toBe("wait");
    expect(nextAttempt(answered(400), { repeatable: true }, { ...first, made: 2, previousStatus: 400 })).toBe(
      "give-up",
    );
  });

  test("hands up what asks for more patience than a call has", () => {
    expect(nextAttempt(answered(429, { retryAfterMs: 60_000 }), { repeatable: true }, first)).toBe("wait");
    expect(nextAttempt(answered(429, { retryAfterMs: 61_000 }), { repeatable: true }, first)).toBe("give-up");
  });
});
