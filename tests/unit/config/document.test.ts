// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's own references are tested here
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkDocument } from "../../../src/config/check.ts";
import { dotted, parseYaml } from "../../../src/config/document.ts";
import { interpolate } from "../../../src/config/interpolate.ts";
import { formatProblem } from "../../../src/errors.ts";

describe("variables", () => {
  const env = { A: "a", EMPTY: "", NESTED: "${A}", DOLLAR: "$&" };
  test.each([
    ["x${A}y${A}", "xaya"],
    ["${EMPTY}", ""],
    ["${EMPTY:-d}", "d"],
    ["${NO:-d:-e}", "d:-e"],
    ["${NO:-}", ""],
    ["${NESTED}", "${A}"],
    ["${DOLLAR}", "$&"],
    ["$A $ $$ ${A}", "$A $ $$ a"],
    ["$${A} $$${A}", "${A} $${A}"],
  ])("%s", (text, expected) => {
    expect(interpolate(text, env)).toEqual({ text: expected, faults: [] });
  });

  test.each([
    ["${NO}", "NO is not set"],
    ["${", "${ is neither"],
    ["${A", "${A is neither"],
    ["${A-b}", "${A-b} is neither"],
    ["${1}", "${1} is neither"],
    ["${}", "${} is neither"],
  ])("%s is a fault", (text, message) => {
    expect(
      interpolate(text, env)
        .faults.map((fault) => fault.message)
        .join(),
    ).toContain(message);
  });

  test("every unset variable of a text is told", () => {
    expect(interpolate("${NO}${NEITHER}", env).faults).toHaveLength(2);
  });

  test("names inside Object are not variables", () => {
    expect(interpolate("${constructor:-d}", Object.create(null)).text).toBe("d");
  });
});

describe("YAML", () => {
  test.each([
    ["a: !tag b", "Unresolved tag"],
    ["a: !!binary aGk=", "Unresolved tag"],
    ["a: 1\n---\nb: 2", "a second document begins"],
    ["%YAML 1.1\n---\na: yes", "must be YAML 1.2"],
    ["a: *b", "refers to an anchor"],
    ["a: &b [*b]", "nested more than 20 deep"],
    ["? [a]\n: b", "a key must be a text"],
    ['"a\\e": 1', "a key must be a text"],
    [": b", "a key must be a text"],
    ["a: 1\na: 2", "given twice (first in line 1)"],
    ["a: 'b", "Missing closing 'quote"],
    ["- a", ""],
  ])("%j", (text, message) => {
    const { problems } = parseYaml(text, {});
    expect(problems.map(formatProblem).join("\n")).toContain(message);
  });

  test("an alias bomb is refused before it is built", () => {
    const lines = Array.from({ length: 12 }, (_, i) => `k${i + 1}: &a${i + 1} [${`*a${i}, `.repeat(9)}*a${i}]`);
    const { problems } = parseYaml(`k0: &a0 x\n${lines.join("\n")}`, {});
    expect(problems.map(({ message }) => message)).toEqual(["more than 20000 values"]);
  });

  test.each(["[", "{a: ", "- ", "? "])("a hundred thousand %j end in a problem", (text) => {
    const document = parseYaml(text.repeat(100_000), {});
    const { settings } = checkDocument(document, { home: "/", directory: "/" });
    expect(settings).toBeUndefined();
  });

  test("keys of every kind become texts, and values keep YAML 1.2's types", () => {
    const { value, problems } = parseYaml("1: 04:00:00\ntrue: yes\n__proto__: 0x10\nb: &x [~, 1.50]\nc: *x", {});
    expect(problems).toEqual([]);
    expect(Object.entries(value ?? {})).toEqual([
      ["1", "04:00:00"],
      ["true", "yes"],
      ["__proto__", 16],
      ["b", [null, 1.5]],
      ["c", [null, 1.5]],
    ]);
  });

  test("a place is that of the key or item, else of what is around it", () => {
    const document = parseYaml("a:\n  b:\n    - x\n    - y\n", {});
    expect(document.place(["a", "b", 1])).toEqual({ line: 4, column: 7 });
    expect(document.place(["a", "missing"])).toEqual({ line: 1, column: 1 });
    expect(document.place(["missing"])).toEqual({});
  });

  test("a path reads as it would be written", () => {
    expect(dotted(["profiles", "a:b/c.d", "sbatch_args", 0])).toBe('profiles."a:b/c.d".sbatch_args[0]');
  });
});

describe("whatever a file holds", () => {
  const key = fc.constantFrom(
    ...["emx2", "worker", "slurm", "profiles", "apptainer", "base_url", "worker_secret", "sif_image", "sbatch_args"],
    ...["p/q", "a:b:c", "__proto__", "constructor", "toString", "bind_paths", "gpus", "", "\u001b[2J"],
  );
  const data = fc.letrec((tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom("${NO}", "https://x", "-J", "never", "~/x"),
      fc.string({ unit: "binary" }),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("node"), { maxLength: 4 }),
      fc.dictionary(key, tie("node"), { maxKeys: 6 }),
    ),
  })).node;
  const places = { home: "/home/u", directory: "/etc/emx2" };
  const controls = /[\p{Cc}\u202a-\u202e]/u;

  const outcome = (text: string) => {
    const { settings, problems } = checkDocument(parseYaml(text, {}), places);
    expect(settings === undefined).toBe(problems.length > 0);
    for (const problem of problems) expect(formatProblem(problem)).not.toMatch(controls);
  };

  test("data of any shape loads or ends with problems that a terminal can show", () => {
    fc.assert(
      fc.property(data, (value) => outcome(JSON.stringify(value) ?? "")),
      { numRuns: 500 },
    );
  });

  test("so does any text", () => {
    const token = fc.constantFrom(
      ..."{}[],:-?&*!|>'\"%@`#~ \n\t\u0000\u001b\ufeff",
      "- ",
      ": ",
      "\n  ",
      "---",
      "...",
      "${",
      "emx2",
    );
    const texts = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(token).map((tokens) => tokens.join("")),
    );
    fc.assert(fc.property(texts, outcome), { numRuns: 1000 });
  });
});
