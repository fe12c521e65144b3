import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { canonicalHash, canonicalText, childTexts, memberText } from "../../../src/job/raw-json.ts";

describe("memberText", () => {
  const text =
    '{ "items" : [ {"id":"a"}, {"id":"b", "parameters" : {"10": 1.0, "2":12345678901234567890 ,"1":[ ]} } ] }';

  test("keeps number spelling, key order and spaces of the source", () => {
    expect(memberText(text, ["items", 1, "parameters"])).toBe('{"10": 1.0, "2":12345678901234567890 ,"1":[ ]}');
    expect(memberText(text, ["items", 1, "parameters", "2"])).toBe("12345678901234567890");
  });

  test("is undefined where nothing is", () => {
    expect(memberText(text, ["items", 2])).toBeUndefined();
    expect(memberText(text, ["items", 0, "id", "x"])).toBeUndefined();
    expect(memberText("7", ["x"])).toBeUndefined();
  });

  test("is not misled by quotes, backslashes and brackets inside strings, nor by escaped or hostile names", () => {
    const tricky = JSON.stringify({ 'a"}': "\\", b: '\\"}]{', __proto__: 1, "é\n": ["]"] });
    expect(childTexts(tricky).get('a"}')).toBe('"\\\\"');
    expect(memberText(tricky, ["b"])).toBe('"\\\\\\"}]{"');
    expect(memberText(tricky, ["é\n", 0])).toBe('"]"');
    expect(memberText('{"__proto__":{"x":1.0},"\\u0061":2}', ["__proto__", "x"])).toBe("1.0");
    expect(memberText('{"\\u0061":2}', ["a"])).toBe("2");
  });

  test("takes the last of two members with one name", () => {
    expect(memberText('{"a":1,"b":2,"a":3}', ["a"])).toBe("3");
  });

  test("passes over a million levels", () => {
    const deep = "[".repeat(1_000_000) + "]".repeat(1_000_000);
    expect(memberText(`{"deep":${deep},"after":1.0}`, ["after"])).toBe("1.0");
  });

  test("every child of any JSON reads back as JSON.parse reads it", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(undefined, 2, "\t"), (value, indent) => {
        const source = JSON.stringify(value, null, indent);
        const parsed: unknown = JSON.parse(source);
        const expected = typeof parsed === "object" && parsed !== null ? Object.entries(parsed) : [];
        const actual = [...childTexts(source)].map(([name, text]): [string, unknown] => [name, JSON.parse(text)]);
        expect(new Map(actual)).toEqual(new Map(expected));
      }),
      { numRuns: 300 },
    );
  });

  test("throws on text that is cut off instead of running on", () => {
    for (const cut of ["{", '{"a"', '{"a":', '{"a":"x', "[1,", "[1", '{"a" 1}', "[1 2]"]) {
      expect(() => childTexts(cut)).toThrow(SyntaxError);
    }
  });
});

/** Each pair was printed by CPython 3.11: json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")). */
describe("canonicalText", () => {
  test.each([
    ["1.0", "1.0"],
    ["1e5", "100000.0"],
    ["-0", "0"],
    ["-0.0", "-0.0"],
    ["1E+2", "100.0"],
    ["1e15", "1000000000000000.0"],
    ["1e16", "1e+16"],
    ["0.0001", "0.0001"],
    ["0.00001", "1e-05"],
    ["-1.5e-10", "-1.5e-10"],
    ["5e-324", "5e-324"],
    ["1e-400", "0.0"],
    ["-1e-400", "-0.0"],
    ["1E400", "Infinity"],
    ["-1e400", "-Infinity"],
    ["1.7976931348623157e308", "1.7976931348623157e+308"],
    ["12345678901234567.0", "1.2345678901234568e+16"],
    ["9007199254740993.0", "9007199254740992.0"],
    ["123456789.123456789", "123456789.12345679"],
    ["0.1e1", "1.0"],
    ["1.10", "1.1"],
    ["123456789012345678901234567890", "123456789012345678901234567890"],
    ['"\\u007f\\u0000\\/\\b\\u001f"', '"\\u007f\\u0000/\\b\\u001f"'],
    ['"\u2028😀"', '"\\u2028\\ud83d\\ude00"'],
    ['"\\ud800"', '"\\ud800"'],
    ['{"b":1,"a":2,"a":3}', '{"a":3,"b":1}'],
    ['{"😀":1,"\uffff":2}', '{"\\uffff":2,"\\ud83d\\ude00":1}'],
    [' { "b" : [ 1 , true , null , { } ] , "a" : [ ] } ', '{"a":[],"b":[1,true,null,{}]}'],
  ])("%s", (text, canonical) => {
    expect(canonicalText(text)).toBe(canonical);
  });

  test("does not change once it is canonical", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const once = canonicalText(JSON.stringify(value));
        expect(canonicalText(once)).toBe(once);
      }),
      { numRuns: 300 },
    );
  });

  test("refuses what is no JSON and what is nested deeper than a thousand levels", () => {
    expect(() => canonicalText('{"a":01}')).toThrow(SyntaxError);
    expect(() => canonicalText("[".repeat(1_001) + "]".repeat(1_001))).toThrow(RangeError);
    expect(canonicalText("[".repeat(1_000) + "]".repeat(1_000))).toHaveLength(2_000);
  });
});

describe("canonicalHash", () => {
  test.each([
    [
      "unicode",
      '{"naïve": "Zoë 😀", "a\\u0301": "\\u2603", "z": ""}',
      "b80b5f4fb3bb48721e21cd180356ee5d97e72faf33629de2c3a0e7d4a300c2a7",
    ],
    [
      "floats",
      '{"lr": 1e-5, "n": 3.0, "big": 12345678901234567890, "x": [1.50, -0.0, 1e22]}',
      "530ae30fca61b157d1dd5abbe7d2f88bb292f65449cd85f5341e74579840a050",
    ],
    [
      "nesting",
      '{"b": {"d": [1, {"y": 2, "x": null}], "c": true}, "10": 1, "9": 2, "a": []}',
      "74c617f6a6cfcb759da1f273cea5442304a11711455a4c73475359fa9d64c4ce",
    ],
  ])("%s", (_name, text, hash) => {
    expect(canonicalHash(text)).toBe(hash);
  });
});
