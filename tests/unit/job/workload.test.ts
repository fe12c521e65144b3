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

  const vectors: [string, string, string][] = [
    [
      "unicode",
      '{ "z":"Zoë – 名前 😀", "a":"\\u00e9\\n\\"\\\\/" }',
      "f5206ba03dcc678e03cb5850534dd40e2cf6b536564d0fce551306b53a84b490",
    ],
    [
      "floats",
      '{"lr":1e-05,"big":1e22,"half":0.50,"one":1.0,"zero":-0.0,"third":0.1,"int":100000000000000000000,"tiny":1.5e-7,"e16":1e16}',
      "882cad67cb178c713eec12094e1d4bf182cdf9633eb4597c13062c06ce450388",
    ],
    [
      "nesting",
      '{"b":{"y":[3,{"k2":null,"k1":true}],"x":{}},"a":[[],[[false]]],"A":"","10":1,"9":2}',
      "09fbc8127f1c34ca2763edcbedcc1abc5ececb54861ca978a9209bbc9830fd35",
    ],
  ];
  // Python's json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")), hashed.
  test.each(vectors)("parameters_hash with %s is the one that submitters compute", (_, text, parametersHash) => {
    expect(parseWorkload(text, [])).toMatchObject({ is: "parsed", parametersHash });
  });

  const command = '{"command":"echo \\"$1\\" | wc","args":["x"]}';
  test("a command is what is run, a parameter like any other, or not allowed", () => {
    const run = parseWorkload(command, [], "run");
    expect(run).toMatchObject({ workload: { command: 'echo "$1" | wc', args: ["x"] } });
    const parameter = parseWorkload(command, [], "parameter");
    expect(parameter.is === "parsed" && parameter.workload).toEqual({ args: ["x"], environment: [] });
    expect(parseWorkload(command, [], "refuse")).toEqual({
      is: "refused",
      cause: expect.stringMatching(/^parameters\.command is not allowed: .*allow_command/),
    });
    for (const none of ["{}", '{"command":null}'])
      expect(parseWorkload(none, [], "refuse")).toMatchObject({ is: "parsed", workload: { args: [] } });
  });

  test.each([
    ['{"command":["ls"]}', /is not a text/],
    ['{"command":7}', /is not a text/],
    ['{"command":"a\\u0000b"}', /NUL/],
    [JSON.stringify({ command: "x".repeat(longestValueBytes + 1) }), /longer than/],
  ])("a command that no shell can be given is refused: %#", (text, cause) => {
    const parsed = parseWorkload(text, [], "run");
    expect(parsed.is === "refused" && parsed.cause).toMatch(cause);
  });

  const variable = (name: string, value = '"x"') => `{"environment":{${JSON.stringify(name)}:${value}}}`;

  test.each(
    [
      [
        "PATH",
        "PREPEND_PATH",
        "APPEND_PATH",
        "LD_PRELOAD",
        "BASH_ENV",
        "ENV",
        "IFS",
        "PYTHONPATH",
        "SLURM_CONF",
        "SBATCH_X",
        "APPTAINER_BIND",
      ],
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
