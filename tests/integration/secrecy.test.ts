/** The worker's secret and the submitter's parameters stay where they belong. */
import { expect, test } from "bun:test";
import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { committed } from "./committed.ts";
import { openStage } from "./harness.ts";

const testMs = 60_000;
const parameter = "PATIENT-4711-parameter";
const daemonsOwn = "CANARY-of-the-daemon";
const parametersText = JSON.stringify({
  args: [parameter],
  environment: { NOTE: parameter },
  deep: { list: [parameter] },
});

/** Files below a directory that hold the text. */
function holders(dir: string, text: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .filter((name) => lstatSync(join(dir, name)).isFile() && readFileSync(join(dir, name)).includes(text))
    .sort();
}

for (const command of ["run", "once"] as const) {
  test(
    `\`${command}\` at its most talkative: neither secret nor parameters in the log, the journal, the snapshot or any argument`,
    async () => {
      const profiles = {
        show: {
          program: 'env | sort >"$HPC_OUTPUT_DIR/env"; printf "%s" "$1" >"$HPC_OUTPUT_DIR/arg"',
          allowed_environment: ["*"],
        },
        fails: { program: "exit 3" },
      };
      await using stage = await openStage({ profiles, env: { EMX2_CANARY: daemonsOwn, SBATCH_COMMENT: daemonsOwn } });
      const id = stage.submit("show", { parametersText });
      const failed = stage.submit("fails", { parametersText });
      const refused = stage.submit("fails", { parametersText });
      const logs: string[] = [];
      const goal = () => [id, failed, refused].every((one) => stage.job(one).completedAt !== null);
      await stage.until("all have ended", async () => {
        const program = stage.start(command, "-v");
        if (command === "run") {
          await stage.until("all have ended", goal);
          program.kill();
        }
        logs.push((await program.ended()).stderr);
        return goal();
      });

      const log = logs.join("");
      expect(log).toMatch(/debug .*POST .*\/claim/);
      expect(log).toMatch(/debug .*sbatch/);
      for (const word of [stage.secret, parameter]) {
        expect(log).not.toContain(word);
        expect(holders(stage.stateDir, word)).toEqual([]);
        expect(readFileSync(join(stage.slurmDir, "calls.log"), "utf8")).not.toContain(word);
      }
      expect(readdirSync(stage.stateDir)).toEqual(expect.arrayContaining(["journal.db", "snapshot.db"]));
      for (const word of [stage.secret, daemonsOwn]) expect(holders(stage.jobsDir, word)).toEqual([]);

      const output = committed(stage, stage.job(id).outputArtifactId);
      const environment = new TextDecoder().decode(output.get("env"));
      expect(new TextDecoder().decode(output.get("arg"))).toBe(parameter);
      expect(environment).toContain(`NOTE=${parameter}`);
      expect(environment).not.toContain("CANARY");
      expect(environment).not.toContain(stage.secret);
    },
    testMs,
  );
}

test(
  "a job's directory and the state are for nobody else to read",
  async () => {
    await using stage = await openStage();
    const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    for (const path of [join(stage.jobsDir, id), stage.stateDir]) expect(statSync(path).mode & 0o077).toBe(0);
  },
  testMs,
);
