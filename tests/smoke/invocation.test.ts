import { expect, test } from "bun:test";
import { closeSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { executable } from "../integration/program.ts";
import { alone } from "./alone.ts";

const commands = [
  "check",
  "run",
  "once",
  "status",
  "explain",
  "cancel",
  "retry",
  "clean",
  "register",
  "try",
  "demo",
  "config show",
  "config schema",
];
const controls = /[^\P{Cc}\n]/u;

test("--version says version and commit", async () => {
  using place = alone();
  const { exitCode, stdout, stderr } = await place.run(["--version"]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^emx2-hpc-daemon \d+\.\d+\.\d+\S* \([\w.-]+\)\n$/);
});

test("--help names every command, and every command explains itself, in plain text where it is piped", async () => {
  using place = alone();
  const root = await place.run(["--help"]);
  expect(root.exitCode).toBe(0);
  for (const command of commands) {
    expect(root.stdout).toMatch(new RegExp(`^ +${command.split(" ")[0]} +\\w`, "m"));
    const { exitCode, stdout, stderr } = await place.run([...command.split(" "), "--help"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("--config");
    expect(stdout).not.toMatch(controls);
  }
  expect(root.stdout).not.toMatch(controls);
});

const wrong: readonly (readonly [string, readonly string[], string])[] = [
  ["no command", ["-v"], "needs a command"],
  ["an unknown command", ["conquer"], 'unknown command "conquer" (check, '],
  ["a command with a slip", ["onec"], "did you mean once?"],
  ["an option with a slip", ["once", "--quit"], "unknown option --quit: did you mean --quiet?"],
  ["an empty value", ["check", "-c", ""], "-c needs a value"],
  ["an option in the place of a value", ["check", "-c", "-v"], "-c needs a value"],
  ["an unknown command of config", ["config", "conquer"], 'unknown command "conquer"'],
  ["config alone", ["config"], "show, schema"],
  ["an unknown option", ["check", "--conquer"], "--conquer"],
  ["an unknown option before the command", ["--conquer", "check"], "--conquer"],
  ["an option of another command", ["check", "--simulate"], "--simulate"],
  ["an extra argument", ["run", "away"], '"away"'],
  ["a value that looks like an option", ["try", "p/q", "--arg", "-x"], "--arg needs a value: is it --arg=-x?"],
  ["an option without its value", ["run", "-c"], "-c needs a value"],
  ["a value for an option that takes none", ["run", "--simulate=yes"], "--simulate takes no value"],
  ["an unknown backend", ["run", "--backend", "pbs"], '"pbs"'],
  ["two backends", ["once", "--simulate", "--backend", "slurm"], "exclude each other"],
  ["--wait that is no number", ["once", "--wait", "long"], '"long"'],
  ["a job that is not named", ["explain"], "explain: needs JOB"],
  ["two jobs", ["cancel", "1234", "5678"], 'unexpected argument "5678"'],
  ["a partition for a demo without Slurm", ["demo", "--partition", "gpu"], "--slurm"],
];

for (const [name, args, words] of wrong) {
  test(`${name} exits 2, says what is wrong and prints nothing else`, async () => {
    using place = alone();
    const { exitCode, stdout, stderr } = await place.run(args);
    expect(exitCode).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain(words);
    expect(stderr).toContain("--help");
    expect(stderr.trim().split("\n")).toHaveLength(2);
  });
}

test("options work before and after the command", async () => {
  using place = alone();
  const file = place.write("c.yaml", minimal(place.dir));
  const orders = [
    ["-c", file, "config", "show"],
    ["config", "-c", file, "show"],
    ["config", "show", "-c", file],
    ["config", "show", `--config=${file}`, "-v"],
    ["--verbose", "config", "--json-logs", "show", "--config", file],
  ];
  const answers = await Promise.all(orders.map((args) => place.run(args)));
  for (const { exitCode, stdout } of answers) expect([exitCode, stdout]).toEqual([0, answers[0]?.stdout ?? ""]);
  expect(answers[0]?.stdout).toContain("worker_id: w");
});

test("a command's own options work before it", async () => {
  using place = alone();
  const { exitCode, stderr } = await place.run(["--wait", "long", "once"]);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining('--wait takes seconds from 0 to 3600, not "long"')]);
});

test("nothing in the working directory changes what the executable does", async () => {
  using place = alone();
  const touched = join(place.dir, "touched");
  place.write(".env", `EMX2_HPC_CONFIG=${join(place.dir, "planted.yaml")}\nPLANTED=yes\n`);
  place.write("planted.yaml", minimal(place.dir));
  place.write("config.yaml", minimal(place.dir));
  place.write("bunfig.toml", 'preload = ["./planted.ts"]\n');
  place.write("planted.ts", `require("node:fs").writeFileSync(${JSON.stringify(touched)}, "");\n`);
  place.write("package.json", '{"type":"module","imports":{"citty":"./planted.ts"}}');
  place.write("tsconfig.json", '{"compilerOptions":{"paths":{"*":["./planted.ts"]}}}');
  const before = readdirSync(place.dir).sort();
  const { exitCode, stderr } = await place.run(["config", "show"]);
  expect([exitCode, stderr]).toEqual([78, expect.stringContaining("no configuration was found")]);
  place.write("asking.yaml", minimal(place.dir).replace("worker_id: w", `worker_id: $\{PLANTED}`));
  expect((await place.run(["config", "show", "-c", "asking.yaml"])).stderr).toContain("PLANTED is not set");
  expect(readdirSync(place.dir).sort()).toEqual([...before, "asking.yaml"].sort());
});

test("a reader that is gone, and streams that are closed, are no reason to crash", async () => {
  using place = alone();
  const file = place.write("c.yaml", minimal(place.dir));
  const shell = (script: string) => {
    const env = {
      PATH: process.env["PATH"] ?? "",
      HOME: join(place.dir, "home"),
      TMPDIR: place.dir,
      EXE: executable(),
      FILE: file,
    };
    const child = Bun.spawnSync(["bash", "-c", script], {
      env,
      cwd: place.dir,
      stdout: "pipe",
      stderr: "pipe",
      timeout: 20_000,
    });
    return child.stdout.toString() + child.stderr.toString();
  };
  for (const command of ["config schema", "config show", "--help", "check", "demo"]) {
    const said = shell(`"$EXE" -c "$FILE" ${command} 2>err | head -c 1 >/dev/null; echo "\${PIPESTATUS[0]}"; cat err`);
    expect([command, said]).toEqual([command, expect.stringMatching(/^(0|1|141)\n/)]);
    expect(said).not.toMatch(/bug of ours|EPIPE/);
    expect(shell(`"$EXE" -c "$FILE" ${command} >&- 2>err; cat err`)).not.toMatch(/bug of ours|EBADF|EPIPE/);
  }
  const full = openSync("/dev/full", "w");
  const child = Bun.spawnSync([executable(), "--version"], { stdout: full, stderr: "pipe" });
  closeSync(full);
  expect(child.stderr.toString()).not.toContain("at ");
});

function minimal(dir: string): string {
  return [
    "emx2:\n  base_url: http://127.0.0.1:9\n  worker_id: w\n  worker_secret_file: secret",
    `worker:\n  state_dir: ${dir}/state`,
    `apptainer:\n  tmp_dir: ${dir}`,
    "",
  ].join("\n");
}
