import { expect, test } from "bun:test";
import { parse } from "yaml";
import { alone } from "./alone.ts";

const faulty = `emx2:
  base_url: https://emx2.test
  worker_id: w
  worker_secret_fil: secret
worker:
  poll_interval_seconds: soon
  max_concurrent_jobs: 0
profiles:
  a/b:
    host_entrypoint: /bin/true
    cpus: many
    sbatch_args: ["--job-name=mine"]
apptainer:
  tmp_dir: \${SCRATCH_THAT_IS_NOT_SET}
`;

test("every fault of a configuration is named with its line, and the exit code is 78", async () => {
  using place = alone();
  const file = place.write("config.yaml", faulty);
  for (const command of ["run", "once", "check", "register", "config show"]) {
    const { exitCode, stdout, stderr } = await place.run([...command.split(" "), "-c", file]);
    expect([command, exitCode, stdout]).toEqual([command, 78, ""]);
    const at = (line: number, words: string) => new RegExp(`^${RegExp.escape(file)}:${line}:\\d+: .*${words}`, "m");
    expect(stderr).toMatch(at(4, "worker_secret_fil.*did you mean worker_secret_file"));
    expect(stderr).toMatch(at(6, "poll_interval_seconds.*soon"));
    expect(stderr).toMatch(at(7, "max_concurrent_jobs"));
    expect(stderr).toMatch(at(11, "cpus.*many"));
    expect(stderr).toMatch(at(12, "sbatch_args.*--job-name"));
    expect(stderr).toMatch(at(14, "SCRATCH_THAT_IS_NOT_SET is not set"));
    expect(stderr).not.toMatch(/^\s+at /m);
  }
});

test("a file that is no YAML, is empty, or is not there exits 78 with its name", async () => {
  using place = alone();
  const files = [
    place.write("tabs.yaml", "emx2:\n\tbase_url: x\n"),
    place.write("empty.yaml", ""),
    place.write("list.yaml", "- 1\n"),
    place.write("binary.yaml", "\u0000\u0001"),
    `${place.dir}/missing.yaml`,
    place.dir,
  ];
  for (const file of files) {
    const { exitCode, stderr } = await place.run(["config", "show", "-c", file]);
    expect([file, exitCode]).toEqual([file, 78]);
    expect(stderr).toContain(file);
    expect(stderr).not.toContain("bug of ours");
  }
});

test("`config show` shows defaults and hides every secret", async () => {
  using place = alone();
  const file = place.write(
    "config.yaml",
    `emx2:\n  base_url: https://emx2.test\n  worker_id: w\n  worker_secret: hunter2-\${TAIL}\napptainer:\n  tmp_dir: /scratch\n`,
  );
  const { exitCode, stdout, stderr } = await place.run(["config", "show", "-c", file], { TAIL: "the-rest" });
  expect(exitCode).toBe(0);
  expect(stdout).toContain("poll_interval_seconds: 30");
  expect(stdout).toContain("tmp_dir: /scratch");
  for (const word of ["hunter2", "the-rest"]) expect(stdout + stderr).not.toContain(word);
  // What is shown can be used again, but for the secret.
  const again = place.write("again.yaml", stdout);
  const shown = await place.run(["config", "show", "-c", again]);
  expect(shown.exitCode).toBe(0);
  expect(parse(shown.stdout)).toEqual(parse(stdout));
});

test("`config schema` is a JSON Schema that knows every block", async () => {
  using place = alone();
  const { exitCode, stdout } = await place.run(["config", "schema"]);
  expect(exitCode).toBe(0);
  const schema = JSON.parse(stdout) as { $schema?: string; type: string; properties: object; required: string[] };
  expect(schema.$schema).toContain("json-schema.org");
  expect(schema.type).toBe("object");
  expect(Object.keys(schema.properties).sort()).toEqual(["apptainer", "emx2", "profiles", "slurm", "worker"]);
  expect(schema.required.sort()).toEqual(["apptainer", "emx2"]);
});

const secrets: readonly (readonly [string, string | undefined, number, RegExp])[] = [
  ["missing", undefined, 0, /does not exist/],
  ["empty", "\n", 0o600, /is empty/],
  ["open to its group", "s3cret\n", 0o660, /chmod 600/],
  ["open to others", "s3cret\n", 0o604, /chmod 600/],
];

for (const [name, content, mode, words] of secrets) {
  test(`a secret file that is ${name} exits 78 and says what to do`, async () => {
    using place = alone();
    if (content !== undefined) place.write("secret", content, mode);
    const file = place.write(
      "config.yaml",
      `emx2:\n  base_url: http://127.0.0.1:9\n  worker_id: w\n  worker_secret_file: secret\nworker:\n  state_dir: ${place.dir}/state\napptainer:\n  tmp_dir: ${place.dir}\n`,
    );
    for (const command of ["run", "once", "register"]) {
      const { exitCode, stderr } = await place.run([command, "-c", file]);
      expect([command, exitCode]).toEqual([command, 78]);
      expect(stderr).toMatch(words);
      expect(stderr).not.toContain("s3cret");
    }
  });
}
