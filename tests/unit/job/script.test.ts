import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { controlFiles, quote } from "../../../src/job/script.ts";
import { parseWorkload } from "../../../src/job/workload.ts";
import { hostProfile, jobDirectory, runToEnd, shells, shellsByPath } from "./job-directory.ts";

/** Longer than any wait in here, on a busy machine. */
setDefaultTimeout(30_000);

let base = "";
let probe = "";
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "emx2-script-"));
  probe = join(base, "probe");
  writeFileSync(probe, '#!/bin/sh\ncat /proc/$$/environ >environment\nfor a; do printf "%s\\0" "$a"; done >args\n');
  chmodSync(probe, 0o755);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** What the program saw, through a real shell. */
async function seenThrough(shell: readonly string[], parametersText: string) {
  const dir = jobDirectory(parametersText, { workload: { kind: "host", entrypoint: probe } });
  const text = (name: string) => readFileSync(join(dir, "work", name), "utf8");
  const words = (name: string) => text(name).split("\0").slice(0, -1);
  try {
    const ended = await runToEnd(shell, dir);
    const known = ["args", "environment", "parameters.json"];
    return {
      ...ended,
      args: words("args"),
      environment: new Map(words("environment").map((entry) => entry.split(/=(.*)/s).slice(0, 2) as [string, string])),
      parameters: text("parameters.json"),
      strays: readdirSync(join(dir, "work")).filter((name) => !known.includes(name)),
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const shapes = [
  "'",
  '"',
  "$(touch stray)",
  "`touch stray`",
  "\n",
  "%s",
  "%n\\",
  "😀é",
  "; touch stray #",
  "\\",
  " ",
  "-n",
];
const hostile = fc.oneof(
  fc
    .array(fc.constantFrom(...shapes, "a", "=", "$HOME", "~", "*", "!", "\t", "\r", "'\\''"))
    .map((parts) => parts.join("")),
  fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", "")),
);
/** JSON source text with the text that the program must see. */
const value = fc.oneof(
  hostile.map((text) => [JSON.stringify(text), text] as const),
  fc.constantFrom("1.0", "12345678901234567890", "-0", "1e400", "true", "null").map((text) => [text, text] as const),
);
/** What a job may set and the probe, a shell script itself, hands on as it was given. */
function isPassedOn(name: string): boolean {
  const parsed = parseWorkload(JSON.stringify({ environment: { [name]: "x" } }), ["*"]);
  return parsed.is === "parsed" && !["PWD", "OLDPWD", "SHLVL", "_"].includes(name);
}
const variable = fc.stringMatching(/^[A-Z_a-z][A-Z_a-z0-9]{0,8}$/).filter(isPassedOn);

describe.each(shells.map((shell) => [shell.join(" "), shell] as const))("a job's values through %s", (_, shell) => {
  test("arguments, environment and parameters arrive byte for byte, and run nothing", async () => {
    const job = fc.record({
      args: fc.array(value, { maxLength: 6 }),
      environment: fc.uniqueArray(fc.tuple(variable, value), { maxLength: 6, selector: ([name]) => name }),
    });
    await fc.assert(
      fc.asyncProperty(job, async ({ args, environment }) => {
        const members = environment.map(([name, [source]]) => `${JSON.stringify(name)}:${source}`);
        const parameters = `{ "args":[${args.map(([source]) => source)}], "environment":{${members}} }`;
        const seen = await seenThrough(shell, parameters);
        expect(seen).toMatchObject({ exitCode: 0, stdout: "", stderr: "", parameters, strays: [] });
        expect(seen.args).toEqual(args.map(([, text]) => text));
        for (const [name, [, text]] of environment) expect(seen.environment.get(name)).toBe(text);
        expect(seen.environment.get("HPC_PARAMETERS")).toBe(parameters);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  test("variables that shells keep for themselves are passed on like any other", async () => {
    const itsOwn =
      Bun.spawnSync([...shell, "-c", "set"])
        .stdout.toString()
        .match(/^[A-Za-z_]\w*(?==)/gm) ?? [];
    const known = ["RANDOM", "SECONDS", "LINENO", "OPTIND", "OPTARG", "LC_ALL", "LANG", "PS4", "FUNCNAME", "GROUPS"];
    const ours = ["emx2_work", "emx2_dir", "run", "job", "status", "attempt", "HOSTNAME", "SRANDOM", "EPOCHSECONDS"];
    const names = [...new Set([...itsOwn, ...known, ...ours])].filter(isPassedOn);
    const environment = Object.fromEntries(names.map((name) => [name, "7"]));
    const seen = await seenThrough(shell, JSON.stringify({ environment }));
    expect(seen).toMatchObject({ exitCode: 0, stdout: "", strays: [] });
    expect(names.length).toBeGreaterThan(15);
    for (const name of names) expect([name, seen.environment.get(name)]).toEqual([name, "7"]);
  });

  test("no value of a variable is ever an argument that others on the node could read", async () => {
    const parametersText = JSON.stringify({ environment: { TOKEN: "hush", RANDOM: "5" }, note: "hush" });
    const tools = mkdtempSync(join(base, "tools-"));
    writeFileSync(join(tools, "env"), `#!/bin/sh\nprintf '%s\\n' "$@" >'${tools}/seen'\nexec /usr/bin/env "$@"\n`);
    chmodSync(join(tools, "env"), 0o755);
    const workload = { kind: "host", entrypoint: probe } as const;
    const dir = jobDirectory(parametersText, { workload, prelude: [`PATH=${quote(tools)}:$PATH`] });
    expect((await runToEnd(shell, dir)).exitCode).toBe(0);
    expect(readFileSync(join(dir, "work", "environment"), "utf8")).toContain("\0TOKEN=hush\0");
    // busybox may be its own env, and show nobody any arguments.
    if (shellsByPath.includes(shell)) expect(readFileSync(join(tools, "seen"), "utf8")).toBe(`RANDOM=5\n${probe}\n`);
    rmSync(dir, { recursive: true });
  });

  test("parameters of 1 MB arrive in the file alone, and the log says so", async () => {
    const parameters = JSON.stringify({ blob: "'$(id)\n".repeat(150_000), args: ["x"] });
    const seen = await seenThrough(shell, parameters);
    expect(seen.exitCode).toBe(0);
    expect(seen.parameters === parameters).toBe(true);
    expect(seen.environment.has("HPC_PARAMETERS")).toBe(false);
    expect(seen.environment.get("HPC_PARAMETERS_FILE")).toEndWith("/work/parameters.json");
    expect(seen.stderr).toContain("HPC_PARAMETERS is left out");
  });
});

test("nothing of a submitter stands in job.sh", () => {
  const [first, second] = ['{"args":["one"]}', '{"args":["two"]}'].map((parametersText) =>
    controlFiles({
      ...{ jobId: parametersText, dir: "/jobs/j1", profile: hostProfile, sealMs: 60_000, parametersText },
      apptainer: { command: "apptainer", binds: [] },
    }),
  );
  if (first?.is !== "written" || second?.is !== "written") throw new Error("refused");
  expect(first.files.find(({ name }) => name === "job.sh")).toEqual(second.files.find(({ name }) => name === "job.sh"));
  expect(existsSync(join(import.meta.dir, "../../../src/job/job.sh"))).toBe(true);
});
