import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { ApptainerSettings, ImageWorkload } from "../../../src/job/profile.ts";
import { controlFiles, quote, type ScriptInput } from "../../../src/job/script.ts";
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

  // An env of the shell's own nobody can stand in for, nor see its arguments before they are the program's.
  const others = shellsByPath.includes(shell) ? "others on the node" : undefined;
  test.each([others].filter((who) => who !== undefined))(
    "no value of a variable is ever an argument that %s could read",
    async () => {
      const parametersText = JSON.stringify({ environment: { TOKEN: "hush", RANDOM: "5" }, note: "hush" });
      const tools = mkdtempSync(join(base, "tools-"));
      writeFileSync(join(tools, "env"), `#!/bin/sh\nprintf '%s\\n' "$@" >'${tools}/seen'\nexec /usr/bin/env "$@"\n`);
      chmodSync(join(tools, "env"), 0o755);
      const workload = { kind: "host", entrypoint: probe } as const;
      const dir = jobDirectory(parametersText, { workload, prelude: [`PATH=${quote(tools)}:$PATH`] });
      expect((await runToEnd(shell, dir)).exitCode).toBe(0);
      expect(readFileSync(join(dir, "work", "environment"), "utf8")).toContain("\0TOKEN=hush\0");
      expect(readFileSync(join(tools, "seen"), "utf8")).toBe(`RANDOM=5\n${probe}\n`);
      rmSync(dir, { recursive: true });
    },
  );

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

describe("controlFiles for an image", () => {
  const dir = `/jobs/it's, a "dir"`;
  const image: ImageWorkload = {
    ...{ kind: "image", image: "/images/tool.sif", isolation: "contained", gpuRuntime: "none", apptainerArgs: [] },
  };
  const settings: ApptainerSettings = { command: "apptainer", binds: [] };

  /** The words after expansion by a real shell, as env(1) would get them, and then all that is exported. */
  function words(
    workload: Partial<ImageWorkload>,
    apptainer: Partial<ApptainerSettings> = {},
    parameters = "{}",
    rest: Partial<ScriptInput> = {},
  ): string[] {
    const script = controlFiles({
      ...{ jobId: "j1", dir, parametersText: parameters, apptainer: { ...settings, ...apptainer }, sealMs: 60_000 },
      profile: { ...hostProfile, allowCommand: true, workload: { ...image, ...workload } },
      ...rest,
    });
    if (script.is === "refused") throw new Error(script.cause);
    const file = (name: string) => script.files.find((each) => each.name === name)?.content ?? "";
    const [command = ""] = file("command.sh").split("exec env");
    const given = `emx2_dir=${quote(dir)} emx2_output=output emx2_work=work.a1.1\n`;
    const print = `for word; do printf '%s\\0' "$word"; done`;
    const shown = Bun.spawnSync(["sh", "-c", `${given}${file("environment.sh")}${command}${print}; env -0`], {
      env: {},
    });
    expect(shown.stderr.toString()).toBe("");
    return shown.stdout.toString().split("\0").slice(0, -1);
  }

  const mounts = [
    ...["--mount", `type=bind,"source=/jobs/it's, a ""dir""/input",destination=/input,ro`],
    ...["--mount", `type=bind,"source=/jobs/it's, a ""dir""/output",destination=/output`],
    ...["--mount", `type=bind,"source=/jobs/it's, a ""dir""/work.a1.1",destination=/work`],
  ];
  const contained = ["--containall", "--workdir", `${dir}/scratch`];
  const always = ["--no-eval", "--pwd", "/work"];
  const commandOf = (all: string[]) =>
    all.slice(
      0,
      all.findIndex((text) => /^(APPTAINER|PWD|HPC)\w*=/.test(text)),
    );

  test("an image's runscript is run contained, with the run's own directories", () => {
    const all = words({}, {}, '{"args":["$(id)", ""]}');
    expect(commandOf(all)).toEqual([
      ...["apptainer", "run", ...contained, ...always, ...mounts, "/images/tool.sif", "$(id)", ""],
    ]);
    expect(all).toContain("APPTAINERENV_HPC_INPUT_DIR=/input");
    expect(all).toContain("APPTAINERENV_HPC_PARAMETERS_FILE=/work/parameters.json");
  });

  test("an entrypoint, GPUs, binds, extra options and Apptainer's directories are passed", () => {
    const binds = [
      { source: "/nfs/da:ta", destination: "/data", writable: false },
      { source: "/scratch", destination: "/scratch", writable: true },
    ];
    const all = words(
      { entrypoint: "/opt/run.sh", gpuRuntime: "nv", isolation: "host", apptainerArgs: ["--cleanenv"] },
      { binds, imageTmpDir: "/local/tmp", cacheDir: "/local/cache" },
    );
    expect(commandOf(all)).toEqual([
      ...["apptainer", "exec", ...always, "--nv", ...mounts],
      ...["--mount", 'type=bind,"source=/nfs/da:ta","destination=/data",ro'],
      ...["--mount", 'type=bind,"source=/scratch","destination=/scratch"'],
      ...["--cleanenv", "/images/tool.sif", "/opt/run.sh"],
    ]);
    expect(all).toContain("APPTAINER_TMPDIR=/local/tmp");
    expect(all).toContain("APPTAINER_CACHEDIR=/local/cache");
  });

  test("outputs that stay are bound from where they stay, posix inputs read-only at their artifact's id", () => {
    const sources = [{ artifactId: "a-1", kind: "directory", path: '/nfs/d,a"ta:1' }] as const;
    const all = words({}, { binds: [{ source: "/b", destination: "/b", writable: false }] }, "{}", {
      ...{ outputBase: "/nfs/results/it's j1", sources },
    });
    const [input = "", , output, , work] = mounts.slice(1);
    expect(output).toContain("/output");
    expect(commandOf(all)).toEqual([
      ...["apptainer", "run", ...contained, ...always, "--mount", input],
      ...["--mount", `type=bind,"source=/nfs/results/it's j1/output",destination=/output`, "--mount", work ?? ""],
      ...["--mount", 'type=bind,"source=/nfs/d,a""ta:1","destination=/input/a-1",ro'],
      ...["--mount", 'type=bind,"source=/b","destination=/b",ro', "/images/tool.sif"],
    ]);
    expect(all).toContain("APPTAINERENV_HPC_OUTPUT_DIR=/output");
  });

  test("a command that the profile allows is run by the image's shell, its arguments behind it", () => {
    const start = ["apptainer", "exec", ...contained, ...always, ...mounts, "/images/tool.sif", "/bin/sh", "-c"];
    const command = "echo '$HOME' \"$1\"; $(id)";
    expect(commandOf(words({}, {}, JSON.stringify({ command })))).toEqual([...start, command]);
    expect(commandOf(words({}, {}, JSON.stringify({ command, args: ["-a"] })))).toEqual([
      ...start,
      command,
      "sh",
      "-a",
    ]);
  });

  test("a command does nothing to a program that the operator has fixed, and nothing where it is not allowed", () => {
    const command = '{"command":"id"}';
    expect(commandOf(words({ entrypoint: "/opt/run" }, {}, command)).slice(-2)).toEqual([
      "/images/tool.sif",
      "/opt/run",
    ]);
    const ask = (workload: Partial<ImageWorkload>, allowCommand: boolean) => () =>
      words({}, {}, command, { profile: { ...hostProfile, allowCommand, workload: { ...image, ...workload } } });
    expect(ask({}, false)).toThrow("allow_command");
    expect(ask({ isolation: "host" }, true)).toThrow("allow_command");
  });

  test("a job's variables get the prefix that the container's program reads", () => {
    const parameters = '{"environment":{"GREETING":"it\'s $HOME"}}';
    expect(words({}, {}, parameters)).toContain("APPTAINERENV_GREETING=it's $HOME");
    expect(words({}, { command: "/opt/bin/singularity" }, parameters)).toContain("SINGULARITYENV_GREETING=it's $HOME");
  });

  test("nothing of a submitter stands in job.sh", () => {
    const [first, second] = ['{"args":["one"]}', '{"args":["two"]}'].map((parametersText) =>
      controlFiles({
        jobId: parametersText,
        dir,
        profile: hostProfile,
        apptainer: settings,
        sealMs: 60_000,
        parametersText,
      }),
    );
    if (first?.is !== "written" || second?.is !== "written") throw new Error("refused");
    expect(first.files.find(({ name }) => name === "job.sh")).toEqual(
      second.files.find(({ name }) => name === "job.sh"),
    );
    expect(existsSync(join(import.meta.dir, "../../../src/job/job.sh"))).toBe(true);
  });
});
