import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { columnsOf, fitted, padded, wrapped } from "../../../src/view/width.ts";

const words = fc.array(
  fc.string({ unit: fc.constantFrom("a", "数", "é", "e\u0301", "👩‍🔬", "/"), minLength: 1, maxLength: 12 }),
);

describe("the columns of a stream", () => {
  test("are without end in a pipe, whatever the environment says", () => {
    expect(columnsOf({}, { COLUMNS: "40" })).toBe(Number.POSITIVE_INFINITY);
    expect(columnsOf({ isTTY: false, columns: 40 }, {})).toBe(Number.POSITIVE_INFINITY);
  });

  test("are the terminal's own, else those of COLUMNS, else 80", () => {
    expect(columnsOf({ isTTY: true, columns: 132 }, { COLUMNS: "40" })).toBe(132);
    expect(columnsOf({ isTTY: true, columns: 0 }, { COLUMNS: "40" })).toBe(40);
    expect(columnsOf({ isTTY: true }, { COLUMNS: "wide" })).toBe(80);
    expect(columnsOf({ isTTY: true, columns: 0 }, {})).toBe(80);
  });
});

describe("a text", () => {
  test("that is fitted takes no more columns than there are, and is whole where it can be", () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 2, max: 60 }), (parts, columns) => {
        const text = parts.join(" ");
        const shown = fitted(text, columns);
        expect(Bun.stringWidth(shown)).toBeLessThanOrEqual(columns);
        if (Bun.stringWidth(text) <= columns) expect(shown).toBe(text);
        else expect(shown).toEndWith("…");
      }),
    );
  });

  test("that is padded fills its columns, wide characters counted twice", () => {
    expect(padded("数据", 6)).toBe("数据  ");
    expect(padded("e\u0301", 3)).toBe("e\u0301  ");
    expect(padded("longer", 3)).toBe("longer");
  });

  test("that is wrapped loses no word, breaks none, and keeps its indent", () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 20, max: 60 }), (parts, columns) => {
        const lead = "item    ";
        const lines = wrapped(lead + parts.join(" "), columns, lead.length).split("\n");
        expect(lines.join(" ").split(/ +/).filter(Boolean)).toEqual(["item", ...parts]);
        for (const line of lines.slice(1)) expect(line).toStartWith(" ".repeat(lead.length));
        for (const line of lines)
          if (Bun.stringWidth(line) > columns) expect(line.slice(lead.length).trim()).not.toContain(" ");
      }),
    );
  });

  test("that is wrapped keeps its colours, and their codes take no room", () => {
    const text = `\u001b[32mok\u001b[0m  ${"word ".repeat(6).trim()}`;
    const shown = wrapped(text, 24, 4);
    expect(Bun.stripANSI(shown)).toBe("ok  word word word word\n    word word");
    expect(shown).toContain("\u001b[32mok");
  });
});
