/** When a ring counts as failed, and when this machine may have a cluster. */
import { describe, expect, test } from "bun:test";
import { testCases } from "../../../scripts/junit.ts";
import { closing, judge, together } from "../../../scripts/ring.ts";
import { readSkips } from "../../../scripts/skips.ts";
import { decide, type Machine } from "../../../scripts/slurm-ring.ts";

const testcase = (name: string, body = "") =>
  `<testcase name="${name}" classname="inner &gt; outer" time="0.1" file="tests/unit/a.test.ts" line="2" assertions="1"${
    body === "" ? " />" : `>\n${body}\n</testcase>`
  }`;
const passing = testcase("passes &amp; &lt;holds&gt;");
const failing = testcase("fails", '<failure type="AssertionError" message="&quot;no&quot;">no</failure>');
const skipped = testcase("waits", "<skipped />");
const todo = testcase("waits", '<skipped message="TODO" />');
const skippedName = "tests/unit/a.test.ts > outer > inner > waits";

describe("a ring", () => {
  const counts = (exitCode: number, junit: string, list = "", ci = false) => {
    const { passed, failed, skipped } = judge(exitCode, `<testsuites>${junit}</testsuites>`, readSkips(list), ci);
    return { passed, failed, skipped: skipped.length };
  };

  test("counts each test by its full name", () => {
    expect(testCases(passing + failing)).toEqual([
      { name: "tests/unit/a.test.ts > outer > inner > passes & <holds>", ended: "passed" },
      { name: "tests/unit/a.test.ts > outer > inner > fails", ended: "failed" },
    ]);
    expect(counts(1, passing + failing)).toEqual({ passed: 1, failed: 1, skipped: 0 });
  });

  test("fails when it has no test", () => expect(counts(0, "")).toEqual({ passed: 0, failed: 1, skipped: 0 }));

  test("fails when bun failed though no test did", () => {
    expect(counts(1, passing)).toEqual({ passed: 1, failed: 1, skipped: 0 });
  });

  test.each([skipped, todo])("fails over a skip that nobody allowed", (junit) => {
    expect(counts(0, passing + junit)).toEqual({ passed: 1, failed: 1, skipped: 0 });
  });

  test("accepts a skip that the list allows, with CI=true only one that it allows anywhere", () => {
    const accepted = { passed: 1, failed: 0, skipped: 1 };
    const refused = { passed: 1, failed: 1, skipped: 0 };
    expect(counts(0, passing + skipped, `local | ${skippedName} | as root it means nothing`)).toEqual(accepted);
    expect(counts(0, passing + skipped, `anywhere | ${skippedName} | needs a GPU`, true)).toEqual(accepted);
    expect(counts(0, passing + skipped, `local | ${skippedName} | as root it means nothing`, true)).toEqual(refused);
  });

  describe("that failed and is tried again", () => {
    const judged = (exitCode: number, junit: string) => judge(exitCode, `<testsuites>${junit}</testsuites>`, [], true);
    const failedName = "tests/unit/a.test.ts > outer > inner > fails";
    const passingNow = testcase("fails");

    test("passes where everything passes now, and says what was unsteady", () => {
      const result = together(judged(1, passing + failing), judged(0, passingNow));
      expect(result).toMatchObject({ passed: 2, failed: 0, unsteady: [failedName] });
    });

    test.each([
      ["the same test", judged(1, failing)],
      ["another one of the file", judged(1, passingNow + testcase("also fails", "<failure>no</failure>"))],
      ["or if the second try did not end", judged(1, passingNow)],
      ["or had no test", judged(0, "")],
    ])("fails where %s fails now", (_, again) => {
      expect(together(judged(1, passing + failing), again)).toMatchObject({ passed: 1, failed: 1 });
    });

    test("keeps a skip that nobody allowed", () => {
      const result = together(judged(1, passing + failing + skipped), judged(0, passingNow));
      expect(result).toMatchObject({ failed: 1, unsteady: [failedName] });
    });
  });

  test("a list that cannot be read is an error, not an empty list", () => {
    expect(() => readSkips("slurm needs root")).toThrow("tests/skips.txt");
  });
});

describe("a whole run inside of another", () => {
  test.each([
    ["as its last line says", "== slurm\n121 passed, 0 failed\n", 0, 121, 0],
    ["with what failed", "x\n117 passed, 4 failed\n", 1, 117, 4],
    ["as failed where no test did, but it", "121 passed, 0 failed\n", 137, 121, 1],
    ["as failed where it ended early", "121 passed, 0 failed\nstopped: ", 0, 0, 1],
    ["as failed where it said nothing", "", 0, 0, 1],
    ["as failed where no line begins so", "of 2121 passed, 0 failed\n", 0, 0, 1],
  ])("counts %s", (_, printed, exitCode, passed, failed) => {
    expect(closing(printed, exitCode)).toEqual({ passed, failed, skipped: [] });
  });
});

describe("this machine may have a cluster", () => {
  const fresh: Machine = {
    root: true,
    debian: true,
    container: false,
    ci: true,
    asked: false,
    missingPrograms: ["slurmctld"],
    siteSlurm: [],
  };

  test.each<[string, Partial<Machine>, boolean]>([
    ["with CI=true", {}, true],
    ["in a container", { ci: false, container: true }, true],
    ["when asked for", { ci: false, asked: true }, true],
    ["but not unasked", { ci: false }, false],
    ["but not unasked, even if Slurm is installed", { ci: false, missingPrograms: [] }, false],
    ["but not as an ordinary user", { root: false }, false],
    ["but not on another system", { debian: false }, false],
    ["but not beside a site's configuration", { siteSlurm: ["/etc/slurm/slurm.conf"] }, false],
    ["but not beside a running munge, even when asked for", { siteSlurm: ["munged (pid 1)"], asked: true }, false],
  ])("%s", (_, facts, may) => expect(decide({ ...fresh, ...facts }).run).toBe(may));

  test("and installs only what is missing", () => {
    expect(decide(fresh)).toEqual({ run: true, install: true });
    expect(decide({ ...fresh, missingPrograms: [] })).toEqual({ run: true, install: false });
  });

  test("and a refusal says how to turn it on", () => {
    expect(decide({ ...fresh, ci: false })).toMatchObject({ why: expect.stringContaining("EMX2_INSTALL_SLURM=1") });
  });
});
