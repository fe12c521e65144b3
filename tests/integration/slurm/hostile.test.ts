/** What a submitter may write anywhere reaches the program as those bytes, and no shell on the way takes it for a command. */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { onRealSlurm, openSlurmStage, type SlurmStage, slurmBoundMs, textOf } from "./real-slurm.ts";

/** The program's own view: what execve(2) was given, the parameters file, and the input's names and contents. */
const dumps = {
  program: [
    'cat /proc/$$/cmdline >"$HPC_OUTPUT_DIR/cmdline"',
    'cat /proc/$$/environ >"$HPC_OUTPUT_DIR/environ"',
    'cp "$HPC_PARAMETERS_FILE" "$HPC_OUTPUT_DIR/parameters.json"',
    'mkdir "$HPC_OUTPUT_DIR/names" && cp -R "$HPC_INPUT_DIR"/*/. "$HPC_OUTPUT_DIR/names"',
  ].join("\n"),
  allowed_environment: ["*"],
};

/** Each would leave this file, were it run. */
const canary = "canary-of-the-hostile-test";

function hostileTexts(dir: string): string[] {
  const touch = `touch ${dir}/${canary}`;
  return [
    ...[
      "'",
      '"',
      "''",
      "\\",
      "\\\\n",
      "`",
      "$",
      "%",
      "%j %% %s %x",
      "",
      " ",
      "*",
      "~",
      "!!",
      "#",
      "-n",
      "--help",
      "--",
    ],
    ...[`$(${touch})`, `\`${touch}\``, `'; ${touch}; '`, `"; ${touch}; "`, `\n${touch}\n`, `\\'; ${touch}; #`],
    ...[`\${IFS:=$(${touch})}`, `{${touch},}`, `<(${touch})`, `& ${touch} &`, `| ${touch}`, `EOF\n${touch}\nEOF\n`],
    ...[
      "several\nlines\n\n",
      "carriage\r\nreturn",
      "\ttab\t",
      "\u001b[2J\u0007\u0001",
      "\u00e9\u{1f9ec} \u202e x\u0301",
    ],
    "x".repeat(100_000),
  ];
}

/** As JSON spells it, and as the program must get it. */
const scalars = ["1.0", "12345678901234567890", "-0.0", "1E+2", "0.10000000000000000555", "true", "false"];

onRealSlurm("what a submitter writes", () => {
  test("reaches the job byte for byte as arguments, environment, parameters and names of files, and runs nothing", async () => {
    await using stage = await openSlurmStage({ profiles: { dumps } });
    const small = submit(stage, "");
    const large = submit(stage, hostileTexts(stage.dir).slice(0, -1).join("").repeat(3_000).slice(0, 1_000_000));
    stage.start("run");
    for (const { id } of [small, large]) await stage.untilStatus(id, "COMPLETED", slurmBoundMs);

    for (const job of [small, large]) expectSeen(stage, job);
    expect(environmentOf(stage, small.id).get("HPC_PARAMETERS")).toBe(small.parametersText);
    expect(environmentOf(stage, large.id).has("HPC_PARAMETERS")).toBe(false);
    const everywhere = readdirSync(stage.dir, { recursive: true }).map((path) => basename(String(path)));
    const made = [canary, inName(`${stage.dir}/${canary}`)];
    expect(everywhere.filter((name) => made.includes(name))).toEqual([]);
  });
});

interface Submitted {
  readonly id: string;
  readonly parametersText: string;
  readonly args: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly files: readonly { readonly path: string; readonly content: string }[];
}

function submit(stage: SlurmStage, blob: string): Submitted {
  // The long text alone, once: HPC_PARAMETERS holds all of the small job's parameters.
  const texts = hostileTexts(stage.dir).slice(0, blob === "" ? -1 : undefined);
  const args = [...texts.map((text) => JSON.stringify(text)), ...scalars];
  const environment = args.map((text, index) => `"SUBMITTED_${index}":${text}`);
  const parametersText = `{"args":[${args}],"environment":{${environment}},"10":1.0,"2":20,"text":${JSON.stringify(blob)}}`;
  const values = [...texts, ...scalars];
  const files = texts
    .filter((text) => text !== "" && text.length < 200)
    .map((text, index) => ({ path: `${index}${inName(text)}`, content: `${index}` }));
  return {
    id: stage.submit("dumps", { parametersText, files }),
    parametersText,
    args: values,
    environment: new Map(values.map((value, index) => [`SUBMITTED_${index}`, value])),
    files,
  };
}

/** A name of a file can hold anything else. */
function inName(text: string): string {
  return text.replaceAll("/", "_");
}

function expectSeen(stage: SlurmStage, { id, parametersText, args, environment, files }: Submitted): void {
  const output = stage.output(id);
  expect(textOf(output, "parameters.json")).toBe(parametersText);
  // Before the arguments: the interpreter and the script.
  expect(textOf(output, "cmdline").split("\0").slice(2, -1)).toEqual([...args]);
  const seen = [...environmentOf(stage, id)].filter(([name]) => name.startsWith("SUBMITTED_"));
  expect(new Map(seen)).toEqual(new Map(environment));
  const names = [...output.keys()].sort().filter((path) => path.startsWith("names/"));
  expect(names).toEqual(files.map(({ path }) => `names/${path}`).sort());
  for (const { path, content } of files) expect(textOf(output, `names/${path}`)).toBe(content);
}

function environmentOf(stage: SlurmStage, id: string): Map<string, string> {
  const entries = textOf(stage.output(id), "environ").split("\0");
  return new Map(
    entries.filter(Boolean).map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
  );
}
