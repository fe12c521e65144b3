import { describe, expect, test } from "bun:test";
import { longestValueBytes, parseWorkload } from "../../../src/job/workload.ts";

describe("parseWorkload", () => {
  test("values are spelled as in the source text", () => {
    const text =
      '{"args": [1.0, 12345678901234567890, "1.0", true, null, "\\u00e9"], "environment": {"B":2e0,"A":"x"}}';
    expect(parseWorkload(text, ["*"])).toMatchObject({
      is: "parsed",
      workload: {
        args: ["1.0", "12345678901234567890", "1.0", "true", "null", "é"],
        environment: [
          { name: "B", value: "2e0" },
          { name: "A", value: "x" },
        ],
      },
    });
  });

  test.each(["{}", "null", "[]", '"text"', '{"args":null,"environment":null}', '{"args":[],"environment":{}}'])(
    "%s asks for nothing",
    (text) => expect(parseWorkload(text, [])).toMatchObject({ is: "parsed", workload: { args: [], environment: [] } }),
  );

  test("nesting that has no canonical spelling is refused", () => {
    const deep = `{"x":${"[".repeat(5_000)}${"]".repeat(5_000)}}`;
    expect(parseWorkload(deep, []).is).toBe("refused");
  });

  const variable = (name: string, value = '"x"') => `{"environment":{${JSON.stringify(name)}:${value}}}`;

  test.each(
    [
      ["PATH", "LD_PRELOAD", "BASH_ENV", "ENV", "IFS", "PYTHONPATH", "SLURM_CONF", "SBATCH_X", "APPTAINER_BIND"],
      ["SINGULARITYENV_LD_PRELOAD", "APPTAINERENV_PATH", "HPC_OUTPUT_DIR", "EMX2_RUN_ID", "UID", "SHELLOPTS"],
      ["HOME", "PERL5OPT", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "GCONV_PATH", "GLIBC_TUNABLES", "RUBYOPT"],
    ].flat(),
  )("%s may never be set, whatever the profile allows", (name) => {
    const cause = `parameters.environment."${name}" may never be set by a job`;
    expect(parseWorkload(variable(name), ["*", name])).toEqual({ is: "refused", cause });
  });

  test("a name must be allowed by the profile, by a whole pattern", () => {
    expect(parseWorkload(variable("MODEL"), ["MOD*"]).is).toBe("parsed");
    expect(parseWorkload(variable("MODEL"), ["M.*L", "MOD", "ODEL"])).toEqual({
      is: "refused",
      cause: `parameters.environment."MODEL" is not allowed by the profile's allowed_environment`,
    });
    expect(parseWorkload(variable("MODEL"), []).is).toBe("refused");
  });

  const refusals: [string, string, RegExp][] = [
    ["text that is no JSON", "{", /not readable JSON/],
    ["arguments that are no list", '{"args":"-v"}', /parameters\.args is not a list/],
    ["a list among the arguments", '{"args":["a",["b"]]}', /parameters\.args\[1\] is a list or an object/],
    ["an environment that is no object", '{"environment":["A=1"]}', /environment is not an object/],
    ["an object in the environment", variable("A", "{}"), /"A" is a list or an object/],
    ["a name with a newline", variable("A\nB"), /"A\\nB" is not a name/],
    ["a name with an equals sign", variable("A=B"), /is not a name/],
    ["a name that begins with a digit", variable("1A"), /is not a name/],
    ["a NUL character in an argument", '{"args":["a\\u0000b"]}', /args\[0\] holds a NUL character/],
    ["a NUL character in a variable", variable("A", '"\\u0000"'), /"A" holds a NUL character/],
    ["half of a surrogate pair", '{"args":["\\ud83d"]}', /surrogate/],
    [
      "an argument that no program can be given",
      JSON.stringify({ args: ["x".repeat(longestValueBytes + 1)] }),
      /longer than/,
    ],
    ["more than fits together", JSON.stringify({ args: Array(20).fill("x".repeat(100_000)) }), /together/],
  ];
  test.each(refusals)("%s is refused", (_, text, cause) => {
    const parsed = parseWorkload(text, ["*"]);
    expect(parsed.is === "refused" && parsed.cause).toMatch(cause);
  });
});
