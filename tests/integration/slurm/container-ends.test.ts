/**
 * What is hostile in a job's values, and how a container ends that somebody or something else ends. All at once, as in
 * `container.test.ts`.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cancelJob } from "../../../src/emulator/submitter.ts";
import { committed } from "../committed.ts";
import { argsOf, onImages, openImageStage, realApptainer, shellOf, submitProgram } from "./images.ts";
import { asRoot } from "./own-cluster.ts";
import { type SlurmStage, slurmBoundMs, textOf } from "./real-slurm.ts";

/** Left below /output by whatever runs a part of a value. */
const canary = "canary";
const touch = `touch /output/${canary}`;
const hostileTexts = [
  ...[
    "'",
    '"',
    "''",
    "\\",
    "\\\\n",
    "\\n",
    "`",
    "$",
    "$HOME",
    `\${HOME}`,
    "%j %% %s",
    "",
    " ",
    "*",
    "~",
    "!!",
    "#",
    "-n",
  ],
  ...[
    "--help",
    "--",
    ",",
    "a,b=c",
    "destination=/x,ro",
    `$(${touch})`,
    `\`${touch}\``,
    `'; ${touch}; '`,
    `"; ${touch}; "`,
  ],
  ...[`\\"; ${touch}; \\"`, `\n${touch}\n`, `\\'; ${touch}; #`, `\${IFS:=$(${touch})}`, `& ${touch} &`, `| ${touch}`],
  ...["several\nlines\n\n", "carriage\rreturn", "\ttab\t", "\u001b[2J\u0007\u0001", "\u00e9\u{1f9ec} \u202e x\u0301"],
];
const dump = "cat /proc/$$/cmdline >/output/cmdline; cat /proc/$$/environ >/output/environ";

function submitHostile(stage: SlurmStage): string {
  const { args } = JSON.parse(argsOf(dump, ...hostileTexts)) as { args: string[] };
  const environment = Object.fromEntries(hostileTexts.map((text, index) => [`SUBMITTED_${index}`, text]));
  return stage.submit("shell", { parametersText: JSON.stringify({ args, environment }) });
}

async function expectUnharmed(stage: SlurmStage, id: string): Promise<void> {
  await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
  const output = stage.output(id);
  expect([...output.keys()].sort()).toEqual(["cmdline", "environ"]);
  // Before them: the shell, -ec, its program and sh.
  expect(textOf(output, "cmdline").split("\0").slice(4, -1)).toEqual(hostileTexts);
  const entries = textOf(output, "environ")
    .split("\0")
    .map((entry) => entry.split(/=(.*)/s).slice(0, 2) as [string, string]);
  const environment = new Map(entries);
  const changed = hostileTexts.flatMap((text, index) => {
    const value = environment.get(`SUBMITTED_${index}`);
    return value === text ? [] : [{ text: JSON.stringify(text), value: JSON.stringify(value) }];
  });
  expect(changed).toEqual([]);
  expect(environment.get("HPC_PARAMETERS")).toBe(stage.job(id).parametersText ?? undefined);
}

const endless =
  'trap "echo saved >/output/saved.log; exit 9" TERM; echo begun; : >/work/ready; while :; do sleep 0.1; done';

onImages("a container", () => {
  describe("that something else ends", () => {
    let stage: SlurmStage;
    beforeAll(async () => {
      const warned = { ...shellOf, time: "1", warn_before_limit: 30 };
      stage = await openImageStage({ profiles: { shell: shellOf, warned } });
      stage.start("run");
    });
    afterAll(() => stage[Symbol.asyncDispose]());

    const begun = async (processor: string, program: string) => {
      const id = submitProgram(stage, processor, program);
      await stage.untilStatus(id, "STARTED", slurmBoundMs);
      const ready = () => existsSync(join(stage.jobsDir, id, "work/ready"));
      await stage.until("the program is ready", ready, slurmBoundMs);
      return id;
    };
    const logOf = (artifactId: string | null) => {
      const log = committed(stage, artifactId);
      return [textOf(log, "container-stdout.log"), textOf(log, "saved.log")];
    };

    test.concurrent("gets hostile values byte for byte, and runs none of them", async () => {
      await expectUnharmed(stage, submitHostile(stage));
    });

    test.concurrent("ends with its submitter's cancel, and its log is told of", async () => {
      const id = await begun("shell", endless);
      cancelJob(stage.state, id);
      const told = () => stage.job(id).transitions.filter(({ to }) => to === "CANCELLED").length === 2;
      await stage.until("the log is told of", told, slurmBoundMs);
      const log = /log artifact ([\w-]+)/.exec(stage.job(id).transitions.at(-1)?.detail ?? "")?.[1] ?? null;
      expect(logOf(log)).toEqual(["begun\n", "saved\n"]);
      expect(processesOf(id)).toEqual([]);
    });

    test.concurrent("over its time limit is FAILED as TIMEOUT, with what it saved when it was told", async () => {
      const id = await begun("shell", endless);
      await asRoot("scontrol", "update", `jobid=${stage.job(id).slurmJobId}`, "EndTime=now+2");
      await stage.untilStatus(id, "FAILED", slurmBoundMs);
      expect(stage.job(id).transitions.at(-1)?.detail).toMatch(
        // Apptainer itself may end by the signal, when it comes to it a second time by Slurm's own way.
        /^slurm_state=TIMEOUT; exit_code=(9|143):0; /,
      );
      expect(logOf(stage.job(id).logArtifactId)).toEqual(["begun\n", "saved\n"]);
      expect(processesOf(id)).toEqual([]);
    });

    test.concurrent("that is warned before its time limit can finish its work, and its end is its own", async () => {
      const program =
        'trap "echo warned >>/output/saved" USR2; : >/work/ready; while [ ! -e /output/saved ]; do sleep 0.1; done';
      const id = await begun("warned", `${program}; sleep 1`);
      await stage.untilStatus(id, "COMPLETED", 2 * slurmBoundMs);
      expect(textOf(stage.output(id), "saved")).toBe("warned\n");
      const receipts = readdirSync(join(stage.jobsDir, id, ".emx2")).filter((name) => /^(stop|exit|done)\./.test(name));
      expect(receipts.sort()).toEqual(["done.a1.0", "exit.a1.0"]);
      expect(readFileSync(join(stage.jobsDir, id, ".emx2/exit.a1.0"), "utf8")).toContain('"exit":0,"signal":null');
    });
  });

  test("of an Apptainer without --no-eval gets hostile values byte for byte too, its directories where they are configured", async () => {
    // Where it evaluates values, today's does so as the old one did.
    const tools = mkdtempSync("/tmp/emx2-older-");
    chmodSync(tools, 0o777);
    const seen = join(tools, "seen");
    const older = join(tools, "apptainer");
    const program = [
      "#!/bin/sh",
      '[ "$1" != --version ] || { echo "apptainer version 1.0.3"; exit; }',
      'for word; do [ "$word" != --no-eval ] || { echo "FATAL: unknown flag: --no-eval" >&2; exit 1; }; done',
      `echo "$APPTAINER_TMPDIR $APPTAINER_CACHEDIR" >'${seen}'`,
      `exec '${realApptainer}' "$@"`,
    ];
    writeFileSync(older, `${program.join("\n")}\n`);
    chmodSync(older, 0o755);
    try {
      const apptainer = { command: older, image_tmp_dir: "/tmp", cache_dir: "/tmp/cache of images" };
      await using stage = await openImageStage({ profiles: { shell: shellOf }, apptainer });
      stage.start("run");
      await expectUnharmed(stage, submitHostile(stage));
      expect(readFileSync(seen, "utf8")).toBe("/tmp /tmp/cache of images\n");
    } finally {
      rmSync(tools, { recursive: true });
    }
  });
});

/** Whose arguments or directory name the job. */
function processesOf(id: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(id);
      } catch {
        return false;
      }
    });
}
