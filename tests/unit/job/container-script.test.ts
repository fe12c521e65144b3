/** What a node's Apptainer is started with, seen by programs that stand in its place in several versions and shells. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ApptainerSettings, ImageWorkload, Profile } from "../../../src/job/profile.ts";
import { controlFiles, quote, type ScriptInput } from "../../../src/job/script.ts";
import { hostProfile, shells } from "./job-directory.ts";

let dir = "";
beforeAll(() => {
  dir = join(mkdtempSync(join(tmpdir(), "emx2-container-")), `it's, a "dir"`);
  mkdirSync(join(dir, ".emx2"), { recursive: true });
});
afterAll(() => rmSync(join(dir, ".."), { recursive: true, force: true }));

const image: ImageWorkload = {
  ...{ kind: "image", image: "/images/tool.sif", isolation: "contained", gpuRuntime: "none", apptainerArgs: [] },
};

interface Asked extends Partial<ScriptInput> {
  readonly workload?: Partial<ImageWorkload>;
  readonly allowCommand?: boolean;
  readonly settings?: Partial<ApptainerSettings>;
  readonly parameters?: string;
  /** What programs of these names answer to --version. */
  readonly programs?: Readonly<Record<string, string>>;
  readonly prelude?: string;
  readonly shell?: readonly string[];
}

interface Started {
  readonly program: string;
  readonly argv: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly stderr: string;
  readonly exitCode: number;
}

function start(asked: Asked = {}): Started {
  const { workload, allowCommand = true, settings, parameters = "{}", shell = ["sh"], prelude = ":", ...rest } = asked;
  const { programs = { apptainer: "apptainer version 1.4.5" }, ...input } = rest;
  const profile: Profile = { ...hostProfile, allowCommand, workload: { ...image, ...workload } };
  const apptainer: ApptainerSettings = { command: "apptainer", binds: [], ...settings };
  const given = { jobId: "j1", dir, parametersText: parameters, apptainer, sealMs: 60_000, profile };
  const script = controlFiles({ ...given, ...input });
  if (script.is === "refused") throw new Error(script.cause);
  for (const { name, content } of script.files) writeFileSync(join(dir, ".emx2", name), content);
  const seen = mkdtempSync(join(dir, "seen-"));
  const tools = install(seen, programs);
  const around = [
    `export PATH=${quote(tools)}:/usr/bin:/bin; emx2_dir=${quote(dir)} emx2_output=output emx2_work=work.a1.1 emx2_scratch=scratch.a1.1`,
    `emx2_node=n1 emx2_run=a1.1 emx2_status=.status\n${prelude}\n. "$emx2_dir/.emx2/environment.sh"\n. "$emx2_dir/.emx2/command.sh"`,
  ].join("\n");
  const { exitCode, stderr } = Bun.spawnSync([...shell, "-c", around], { env: {} });
  const dump = (name: string) =>
    exitCode === 0 ? readFileSync(join(seen, name), "utf8").split("\0").slice(0, -1) : [];
  const [program = "", ...argv] = dump("argv");
  const environment = new Map(dump("environ").map((entry) => entry.split(/=(.*)/s).slice(0, 2) as [string, string]));
  return { program: program.replace(/^.*\//, ""), argv, environment, stderr: stderr.toString(), exitCode };
}

function install(seen: string, programs: Readonly<Record<string, string>>): string {
  const tools = join(seen, "bin");
  mkdirSync(tools);
  for (const [name, version] of Object.entries(programs)) {
    const dumps = `printf '%s\\0' "$0" "$@" >${quote(seen)}/argv; cat /proc/$$/environ >${quote(seen)}/environ`;
    writeFileSync(join(tools, name), `#!/bin/sh\n[ "$1" != --version ] || { echo '${version}'; exit; }\n${dumps}\n`);
    chmodSync(join(tools, name), 0o755);
  }
  return tools;
}

const quoted = (path: string) => path.replaceAll('"', '""');
const mounts = () => [
  ...["--mount", `type=bind,"source=${quoted(dir)}/input",destination=/input,ro`],
  ...["--mount", `type=bind,"source=${quoted(dir)}/output",destination=/output`],
  ...["--mount", `type=bind,"source=${quoted(dir)}/work.a1.1",destination=/work`],
];
const contained = () => ["--containall", "--workdir", `${dir}/scratch.a1.1`];
const always = ["--no-eval", "--pwd", "/work"];

describe("an image", () => {
  test("has its runscript run contained, with the run's own directories", () => {
    const { argv, environment } = start({ parameters: '{"args":["$(id)", ""]}' });
    expect(argv).toEqual(["--quiet", "run", ...contained(), ...always, ...mounts(), "/images/tool.sif", "$(id)", ""]);
    expect(environment.get("APPTAINERENV_HPC_INPUT_DIR")).toBe("/input");
    expect(environment.get("APPTAINERENV_HPC_PARAMETERS_FILE")).toBe("/work/parameters.json");
  });

  test("gets an entrypoint, GPUs, binds, extra options and Apptainer's directories", () => {
    const binds = [
      { source: "/nfs/da:ta", destination: "/data", writable: false },
      { source: "/scratch", destination: "/scratch", writable: true },
    ];
    const { argv, environment } = start({
      workload: { entrypoint: "/opt/run.sh", gpuRuntime: "nv", isolation: "host", apptainerArgs: ["--cleanenv"] },
      settings: { binds, imageTmpDir: "/local/tmp", cacheDir: "/local/it's cache" },
    });
    expect(argv).toEqual([
      ...["--quiet", "exec", ...always, "--nv", ...mounts()],
      ...["--mount", 'type=bind,"source=/nfs/da:ta","destination=/data",ro'],
      ...["--mount", 'type=bind,"source=/scratch","destination=/scratch"'],
      ...["--cleanenv", "/images/tool.sif", "/opt/run.sh"],
    ]);
    expect(environment.get("APPTAINER_TMPDIR")).toBe("/local/tmp");
    expect(environment.get("APPTAINER_CACHEDIR")).toBe("/local/it's cache");
  });

  test("sees outputs that stay where they stay, posix inputs read-only at their artifact's id", () => {
    const sources = [{ artifactId: "a-1", kind: "directory", path: '/nfs/d,a"ta:1' }] as const;
    const settings = { binds: [{ source: "/b", destination: "/b", writable: false }] };
    const { argv, environment } = start({ settings, outputBase: "/nfs/results/it's j1", sources });
    const [input = "", , , , work = ""] = mounts().slice(1);
    expect(argv).toEqual([
      ...["--quiet", "run", ...contained(), ...always, "--mount", input],
      ...["--mount", `type=bind,"source=/nfs/results/it's j1/output",destination=/output`, "--mount", work],
      ...["--mount", 'type=bind,"source=/nfs/d,a""ta:1","destination=/input/a-1",ro'],
      ...["--mount", 'type=bind,"source=/b","destination=/b",ro', "/images/tool.sif"],
    ]);
    expect(environment.get("APPTAINERENV_HPC_OUTPUT_DIR")).toBe("/output");
  });

  test("runs a command that the profile allows by its own shell, the arguments behind it", () => {
    const begin = ["--quiet", "exec", ...contained(), ...always, ...mounts(), "/images/tool.sif", "/bin/sh", "-c"];
    const command = "echo '$HOME' \"$1\"; $(id)";
    expect(start({ parameters: JSON.stringify({ command }) }).argv).toEqual([...begin, command]);
    expect(start({ parameters: JSON.stringify({ command, args: ["-a"] }) }).argv).toEqual([
      ...begin,
      command,
      "sh",
      "-a",
    ]);
  });

  test("is left alone by a command where the operator has fixed the program, and refused it where it is not allowed", () => {
    const parameters = '{"command":"id"}';
    const { argv } = start({ workload: { entrypoint: "/opt/run" }, parameters });
    expect(argv.slice(-2)).toEqual(["/images/tool.sif", "/opt/run"]);
    expect(() => start({ parameters, allowCommand: false })).toThrow("allow_command");
    expect(() => start({ parameters, workload: { isolation: "host" } })).toThrow("allow_command");
  });

  test.each(["GID", "e", "key", "__script__"])(
    "can not be given %s, which Apptainer's own script would lose",
    (name) => {
      expect(() => start({ parameters: JSON.stringify({ environment: { [name]: "x" } }) })).toThrow(
        `parameters.environment.${name} does not reach an image`,
      );
    },
  );
});

const hostile = 'it\'s $HOME `id` \\n \\ "q" \\"\nend\\';
/** As the next shell must be given it, between double quotes in which it escapes double quotes itself. */
const onceEscaped = 'it\'s \\$HOME \\`id\\` \\\\n \\\\ "q" \\\\"\nend\\\\';
const parameters = JSON.stringify({ environment: { GREETING: hostile } });

test("an image can not be given a variable with CR LF, which Apptainer would change", () => {
  const parameters = (value: string) => JSON.stringify({ environment: { TEXT: value }, args: ["a\r\nb"] });
  expect(() => start({ parameters: parameters("a\r\nb") })).toThrow("parameters.environment.TEXT holds CR LF");
  expect(start({ parameters: parameters("a\rb\n\r") }).environment.get("APPTAINERENV_TEXT")).toBe("a\rb\n\r");
});

describe.each(shells.map((shell) => [shell.join(" "), shell] as const))(
  "the node's own version, through %s",
  (_, shell) => {
    test.each([
      ["apptainer version 1.1.0", "APPTAINER"],
      ["apptainer version 1.4.5-2.el9", "APPTAINER"],
      ["apptainer version 2.0.1", "APPTAINER"],
      ["singularity-ce version 3.10.0", "SINGULARITY"],
      ["singularity-ce version 4.1.5-bookworm", "SINGULARITY"],
    ])("%s: values pass as they are", (version, prefix) => {
      const { argv, environment } = start({ shell, parameters, programs: { apptainer: version } });
      expect(argv).toContain("--no-eval");
      expect(environment.get(`${prefix}ENV_GREETING`)).toBe(hostile);
      expect(environment.get(`${prefix}ENV_HPC_JOB_ID`)).toBe("j1");
    });

    test.each([
      ["apptainer version 1.0.3-1.el8", "APPTAINER"],
      ["singularity-ce version 3.9.9", "SINGULARITY"],
    ])("%s: values are escaped for the shell that evaluates them", (version, prefix) => {
      const settings = { imageTmpDir: "/local/$tmp" };
      const { argv, environment } = start({ shell, parameters, settings, programs: { apptainer: version } });
      expect(argv).not.toContain("--no-eval");
      expect(argv).not.toContain("");
      expect(environment.get(`${prefix}ENV_GREETING`)).toBe(onceEscaped);
      expect(environment.get(`${prefix}_TMPDIR`)).toBe("/local/$tmp");
    });

    test("one without --mount is refused, and so is one that can not say its version", () => {
      const old = start({ shell, programs: { apptainer: "singularity version 3.8.7-1.el8" } });
      expect(old).toMatchObject({
        exitCode: 255,
        stderr: expect.stringMatching(/3\.8\.7-1\.el8 has no --mount: .*\(on n1\)/),
      });
      const broken = start({ shell, programs: { apptainer: "'; exit 3; '" } });
      expect(broken).toMatchObject({ exitCode: 255, stderr: expect.stringContaining("apptainer --version fails") });
      const other = start({ shell, programs: { apptainer: "true (GNU coreutils) 9.1" } });
      expect(other).toMatchObject({
        exitCode: 255,
        stderr: expect.stringContaining("neither Apptainer nor Singularity"),
      });
    });

    test("the other name is taken where that alone is on PATH, and neither is a reason", () => {
      const singularity = { singularity: "singularity-ce version 3.11.4" };
      const other = start({ shell, programs: singularity });
      expect([other.program, other.environment.get("SINGULARITYENV_HPC_JOB_ID")]).toEqual(["singularity", "j1"]);
      const settings = { command: "singularity" };
      expect(start({ shell, settings }).program).toBe("apptainer");
      expect(start({ shell, settings: { command: "/opt/bin/apptainer" } }).stderr).toContain(
        "/opt/bin/apptainer is not found",
      );
      expect(start({ shell, programs: {} })).toMatchObject({
        ...{ exitCode: 255, stderr: expect.stringMatching(/^job\.sh: apptainer is not found: .* \(on n1\)\n$/) },
      });
    });

    test("a prelude may leave IFS strange", () => {
      const prelude = "IFS=-e\n";
      expect(start({ shell, prelude, parameters }).environment.get("APPTAINERENV_GREETING")).toBe(hostile);
    });
  },
);
