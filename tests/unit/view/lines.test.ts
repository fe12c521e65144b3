import { expect, test } from "bun:test";
import { aligned, colorsOf, table } from "../../../src/view/lines.ts";

const plain = colorsOf({});

test("columns stand under each other, wide and combining characters included", () => {
  const lines = aligned([
    ["数据", "x", "end"],
    ["e\u0301", "yy", "end"],
    ["abcdef", "", "end"],
  ]);
  const places = lines.map((line) => Bun.stringWidth(line.slice(0, line.indexOf("end"))));
  expect(places).toEqual([12, 12, 12]);
});

test("a table escapes its cells and leaves no blanks behind", () => {
  expect(table(["a", "b"], [["\u001b[2J\n", ""]], plain)).toBe("a          b\n\\x1b[2J\\n");
});
