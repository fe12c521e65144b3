/** What a job sees: its directory, its environment, its arguments, and what it may not ask for; on both backends that run programs. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const backends = ["slurm", "shell"] as const;
const dump = `
  tr '\\0' '\\n' </proc/$$/environ >"$HPC_OUTPUT_DIR/environ"
  pwd >"$HPC_OUTPUT_DIR/pwd"
  : >"$HPC_OUTPUT_DIR/args"
  for word in "$@"; do printf '%s\\0' "$word" >>"$HPC_OUTPUT_DIR/args"; done
  cat "$HPC_PARAMETERS_FILE" >"$HPC_OUTPUT_DIR/parameters"
  ls -R "$HPC_INPUT_DIR" >"$HPC_OUTPUT_DIR/inputs"`;
const login = ["PATH", "HOME", "USER", "LOGNAME"];
const ours = ["HPC_JOB_ID", "EMX2_JOB_ID", "HPC_INPUT_DIR", "HPC_OUTPUT_DIR", "HPC_WORK_DIR", "HPC_PARAMETERS_FILE"];
const ofTheShell = ["PWD", "OLDPWD", "SHLVL", "_"];
const profiles = { dump: { program: dump, allowed_environment: ["LANG", "OMP_*"] } };
/** None of it may reach a job. */
const env = { EMX2_TEST_TOKEN: "a secret of the daemon", PYTHONPATH: "/nowhere", SBATCH_EXPORT: "NONE" };

function told(stage: Stage, id: string, name: string): string {
  return readFileSync(join(stage.jobsDir, id, "output", name), "utf8");
}

function variables(stage: Stage, id: string): Map<string, string> {
  const lines = told(stage, id, "environ")
    .split("\n")
    .filter((line) => line.includes("="));
  return new Map(lines.map((line) => line.split(/=(.*)/s, 2) as [string, string]));
}

/** Slurm's own variables are not ours to say. */
function names(stage: Stage, id: string): string[] {
  const known = [...variables(stage, id).keys()];
  return known.filter((name) => !/^SLURM/.test(name) && name !== "ENVIRONMENT" && !ofTheShell.includes(name)).sort();
}

describe.each(backends)("on %s, a job", (backend) => {
  test(
    "sees its directory, the documented variables and those it was allowed, and nothing of the daemon's",
    async () => {
      await using stage = await openStage({ profiles, env });
      const parametersText = '{"environment":{"LANG":"C.UTF-8","OMP_NUM_THREADS":4},"a":1.0,"ü":[]}';
      const id = stage.submit("dump", { parametersText, files: [{ path: "a/b c.txt", content: "x" }] });
      stage.start("run", "--backend", backend);
      await stage.untilStatus(id, "COMPLETED");

      expect(names(stage, id)).toEqual([...login, ...ours, "HPC_PARAMETERS", "LANG", "OMP_NUM_THREADS"].sort());
      const dir = join(stage.jobsDir, id);
      expect(Object.fromEntries(variables(stage, id))).toMatchObject({
        ...{ HPC_JOB_ID: id, EMX2_JOB_ID: id, HPC_INPUT_DIR: `${dir}/input`, HPC_OUTPUT_DIR: `${dir}/output` },
        ...{ HPC_WORK_DIR: `${dir}/work`, HPC_PARAMETERS_FILE: `${dir}/work/parameters.json` },
        ...{ HPC_PARAMETERS: parametersText, LANG: "C.UTF-8", OMP_NUM_THREADS: "4" },
      });
      expect(told(stage, id, "pwd")).toBe(`${dir}/work\n`);
      expect(told(stage, id, "parameters")).toBe(parametersText);
      expect(told(stage, id, "inputs")).toContain("b c.txt");
      expect(readdirSync(join(dir, "input"))).toHaveLength(1);
    },
    testMs,
  );

  test(
    "gets parameters.args as separate arguments, byte for byte, numbers as they were spelt",
    async () => {
      await using stage = await openStage({ profiles });
      const words = ["", "a b", "'\"`$(id)\\", "-n", "*", "ünï\n", "\u001b[31m"];
      const parametersText = `{"args":[${words.map((word) => JSON.stringify(word)).join(",")},1.0,true,12345678901234567890]}`;
      const id = stage.submit("dump", { parametersText });
      stage.start("run", "--backend", backend);
      await stage.untilStatus(id, "COMPLETED");
      const seen = told(stage, id, "args").split("\0").slice(0, -1);
      expect(seen).toEqual([...words, "1.0", "true", "12345678901234567890"]);
    },
    testMs,
  );

  test(
    "with more than 100 kB of parameters has them in the file alone",
    async () => {
      await using stage = await openStage({ profiles });
      const parametersText = JSON.stringify({ long: "x".repeat(100_000) });
      const id = stage.submit("dump", { parametersText });
      stage.start("run", "--backend", backend);
      await stage.untilStatus(id, "COMPLETED");
      expect(names(stage, id)).toEqual([...login, ...ours].sort());
      expect(told(stage, id, "parameters")).toBe(parametersText);
    },
    testMs,
  );

  test(
    "succeeds with exit code 0 alone",
    async () => {
      await using stage = await openStage({ profiles: { zero: { program: "exit 0" }, seven: { program: "exit 7" } } });
      const [zero, seven] = [stage.submit("zero"), stage.submit("seven")];
      stage.start("run", "--backend", backend);
      await stage.untilStatus(zero, "COMPLETED");
      await stage.untilStatus(seven, "FAILED");
      expect(stage.job(seven).transitions.at(-1)?.detail).toMatch(/exit_code=7:0; .*the submitter/);
    },
    testMs,
  );
});

const refused = [
  ["a variable that could take over a program", '{"environment":{"LD_PRELOAD":"/tmp/x.so"}}', '"LD_PRELOAD"'],
  ["a variable of Slurm's", '{"environment":{"SLURM_CONF":"/tmp/x"}}', '"SLURM_CONF"'],
  ["a variable that the profile does not allow", '{"environment":{"MODE":"fast"}}', "allowed_environment"],
  ["a NUL character", '{"args":["a\\u0000b"]}', "NUL"],
  ["a list for an argument", '{"args":[["a"]]}', "parameters.args[0]"],
] as const;

test.each(refused)(
  "a job that asks for %s fails, saying which, and nothing is run",
  async (_, parametersText, word) => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("dump", { parametersText });
    stage.start("run");
    await stage.untilStatus(id, "FAILED");
    expect(stage.job(id).transitions.at(-1)?.detail).toContain(word);
    expect(stage.ledger()).toEqual([]);
    expect(existsSync(join(stage.slurmDir, "calls.log"))).toBe(false);
  },
  testMs,
);
