/** Failpoints are the fault tests' own: the program that is handed out knows none. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { openStage } from "../integration/harness.ts";
import { executable } from "../integration/program.ts";

test("the executable holds nothing of them", () => {
  const bytes = readFileSync(executable());
  const holds = (text: string) => bytes.includes(text);
  // The names of its sources stand in it uncompressed, so that a foreign one would be found.
  expect(holds("src/daemon/effects.ts")).toBe(true);
  for (const text of ["FAILPOINT", "failpoint", "tests/fault"]) expect([text, holds(text)]).toEqual([text, false]);
});

test.each(["ClaimJob:before", "Submit:after", "Report:recorded"])(
  "EMX2_FAILPOINT=%s means nothing to it",
  async (failpoint) => {
    await using stage = await openStage({ env: { EMX2_FAILPOINT: failpoint } });
    const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
    const run = stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    expect(run.exitCode()).toBeUndefined();
  },
);
