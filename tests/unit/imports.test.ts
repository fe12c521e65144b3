/** The shape of src holds, and each rule that says so can fail. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type Graph, type Import, readGraph, readSource } from "./import-graph.ts";
import { maxLines, rules } from "./import-rules.ts";

describe("in src", () => {
  const graph = readGraph(join(import.meta.dir, "../../src"));

  for (const { name, why, broken } of rules) {
    test(`${name}: ${why}`, () => expect(broken(graph)).toEqual([]));
  }

  test("the graph that was read is the real one", () => {
    expect(graph.size).toBeGreaterThan(50);
    expect(graph.get("job/script.ts")?.imports).toContainEqual({ to: "job/job.sh", typeOnly: false });
    expect([...graph.values()].some(({ imports }) => imports.some(({ typeOnly }) => typeOnly))).toBe(true);
  });
});

/** A tree in order, which main.ts reaches whole; `changes` is what is wrong with it. */
function madeUp(changes: Readonly<Record<string, readonly (string | Import)[]>> = {}, lines = 10): Graph {
  const inOrder: Record<string, readonly (string | Import)[]> = {
    "main.ts": ["commands/run.ts"],
    "commands/run.ts": ["daemon/engine.ts", "view/table.ts", "emulator/serve.ts"],
    "daemon/engine.ts": ["scheduler/slurm.ts", "artifacts/stage.ts", "emx2/client.ts", "journal/journal.ts"],
    "view/table.ts": ["log.ts", typeOf("daemon/engine.ts")],
    "emulator/serve.ts": ["emx2/wire.ts", "job/job.ts", "clock.ts"],
    "scheduler/slurm.ts": ["subprocess.ts", typeOf("journal/journal.ts")],
    "artifacts/stage.ts": ["clock.ts"],
    "emx2/client.ts": ["emx2/wire.ts", "config/load.ts"],
    "emx2/wire.ts": ["job/job.ts"],
    "journal/journal.ts": ["log.ts"],
    "config/load.ts": ["errors.ts"],
    "subprocess.ts": ["clock.ts"],
    "log.ts": ["clock.ts"],
    "clock.ts": [],
    "job/job.ts": ["errors.ts"],
    "errors.ts": [],
  };
  return new Map(
    Object.entries({ ...inOrder, ...changes }).map(([path, imports]) => [
      path,
      { lines, imports: imports.map((to) => (typeof to === "string" ? { to, typeOnly: false } : to)) },
    ]),
  );
}

function typeOf(to: string): Import {
  return { to, typeOnly: true };
}

const brokenRules = (graph: Graph) => rules.filter((rule) => rule.broken(graph).length > 0).map((rule) => rule.name);

describe("each rule can fail", () => {
  test("where nothing is wrong, none does", () => expect(brokenRules(madeUp())).toEqual([]));

  const wrong: readonly (readonly [what: string, rule: string, graph: Graph])[] = [
    ["errors imports clock", "errors imports", madeUp({ "errors.ts": ["clock.ts"] })],
    ["job imports clock", "job imports", madeUp({ "job/job.ts": ["clock.ts"] })],
    ["job imports a type of config", "job imports", madeUp({ "job/job.ts": [typeOf("config/load.ts")] })],
    ["clock imports config", "clock imports", madeUp({ "clock.ts": ["config/load.ts"] })],
    ["log imports journal", "log imports", madeUp({ "log.ts": [typeOf("journal/journal.ts")] })],
    ["subprocess imports scheduler", "subprocess imports", madeUp({ "subprocess.ts": [typeOf("scheduler/slurm.ts")] })],
    ["config imports emx2", "config imports", madeUp({ "config/load.ts": ["emx2/wire.ts"] })],
    ["scheduler calls journal", "scheduler imports", madeUp({ "scheduler/slurm.ts": ["journal/journal.ts"] })],
    ["artifacts call emx2", "artifacts imports", madeUp({ "artifacts/stage.ts": ["emx2/client.ts"] })],
    ["emx2 calls artifacts", "emx2 imports", madeUp({ "emx2/client.ts": ["artifacts/stage.ts"] })],
    [
      "journal imports a type of daemon",
      "journal imports",
      madeUp({ "journal/journal.ts": [typeOf("daemon/engine.ts")] }),
    ],
    ["daemon imports view", "daemon imports", madeUp({ "daemon/engine.ts": ["view/table.ts", "log.ts"] })],
    ["daemon imports emulator", "daemon imports", madeUp({ "daemon/engine.ts": ["emulator/serve.ts"] })],
    ["view calls daemon", "view imports", madeUp({ "view/table.ts": ["daemon/engine.ts"] })],
    ["emulator uses the client", "emulator imports", madeUp({ "emulator/serve.ts": ["emx2/client.ts"] })],
    ["commands import main", "commands imports", madeUp({ "commands/run.ts": [typeOf("main.ts")] })],
    ["main imports emulator", "main imports", madeUp({ "main.ts": ["commands/run.ts", "emulator/serve.ts"] })],
    ["a part that nobody planned", "every file belongs", madeUp({ "plugins/load.ts": [] })],
    ["a circle", "no file imports itself", madeUp({ "emx2/wire.ts": ["emx2/client.ts"] })],
    ["a file that nothing imports", "every file is reachable", madeUp({ "job/old.ts": [] })],
    ["an import of nothing", "every import leads", madeUp({ "job/job.ts": ["job/gone.ts"] })],
    ["an import of package.json", "nothing outside src", madeUp({ "main.ts": ["../package.json"] })],
    ["a long file", "no file has more than", madeUp({}, maxLines + 1)],
    ["a barrel", "a file is named", madeUp({ "job/index.ts": [] })],
    ["a drawer", "a file is named", madeUp({ "emx2/utils.ts": [] })],
  ];
  for (const [what, rule, graph] of wrong) {
    test(what, () => expect(brokenRules(graph)).toContainEqual(expect.stringContaining(rule)));
  }

  test("no rule is without an example of how it fails", () => {
    const shown = rules.filter(({ name }) => !wrong.some(([, rule]) => name.startsWith(rule)));
    expect(shown.map(({ name }) => name)).toEqual([]);
  });
});

describe("imports are read", () => {
  const read = (text: string) => readSource("emx2/client.ts", text).imports;

  test.each([
    ['import { a } from "../errors.ts";', "errors.ts", false],
    ['import {\n  a,\n  type B,\n} from "./wire.ts";', "emx2/wire.ts", false],
    ['import type { B } from "../job/job.ts";', "job/job.ts", true],
    ['export { a } from "./wire.ts";', "emx2/wire.ts", false],
    ['export type { B } from "./wire.ts";', "emx2/wire.ts", true],
    ['import one, { two } from "../clock.ts";', "clock.ts", false],
    ['import one from "../clock.ts";', "clock.ts", false],
    ['import * as all from "../clock.ts";', "clock.ts", false],
    ['import "../log.ts";', "log.ts", false],
    ['import text from "../job/job.sh" with { type: "text" };', "job/job.sh", false],
    ['const later = await import("../view/table.ts");', "view/table.ts", false],
  ])("%s", (text, to, typeOnly) => expect(read(text)).toEqual([{ to, typeOnly }]));

  test("comments, strings and packages are none", () => {
    const text =
      '// import { a } from "./a.ts";\nconst x = \'import { b } from "./b.ts"\';\nimport { c } from "yaml";\n';
    expect(read(text)).toEqual([]);
  });

  test("an exported value before an import of a type takes nothing of it", () => {
    const text = 'export const a = 1\nexport interface B {}\nimport type { C } from "./wire.ts";\n';
    expect(read(text)).toEqual([{ to: "emx2/wire.ts", typeOnly: true }]);
  });
});
