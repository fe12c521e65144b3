/** What is printed where: on terminals of several kinds, in pipes, and as JSON. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openStage, type Stage } from "./harness.ts";
import { onTerminal } from "./terminal.ts";

const testMs = 60_000;
const esc = "\u001b";
const controls = /[^\P{Cc}\n]/u;
const plainLine = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info |warn |error) \S/;

/** A job of one file, and as many calls of `once` as take it to its end; gives what they wrote. */
async function wholeLife(stage: Stage, ...options: string[]): Promise<{ readonly id: string; readonly log: string }> {
  const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
  let log = "";
  await stage.until("the job is COMPLETED", async () => {
    const { exitCode, stdout, stderr } = await stage.start(...options, "once").ended();
    expect([exitCode, stdout]).toEqual([0, ""]);
    log += stderr;
    return stage.job(id).status === "COMPLETED";
  });
  return { id, log };
}

describe("the log in a pipe", () => {
  test(
    "is one plain line each with time, level, message and pairs",
    async () => {
      await using stage = await openStage();
      const { id, log } = await wholeLife(stage, "--verbose");
      expect(log).not.toMatch(controls);
      for (const line of log.trimEnd().split("\n")) expect(line).toMatch(plainLine);
      expect(log).toMatch(new RegExp(`info  jobId=${id} submitted slurmJobId=\\d+ backend=slurm$`, "m"));
      expect(log).toMatch(/info {2}one cycle done jobs=\d claimed=\d submitted=\d started=\d$/m);
    },
    testMs,
  );

  for (const before of [true, false]) {
    test(
      `with --json-logs ${before ? "before" : "behind"} the command is one object a line, with the job's id where it is about one`,
      async () => {
        await using stage = await openStage();
        const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
        const { stderr } = await stage
          .start(...(before ? ["--json-logs", "-v", "once"] : ["once", "-v", "--json-logs"]))
          .ended();
        const lines = stderr.trimEnd().split("\n");
        for (const line of lines) {
          const entry = JSON.parse(line) as Record<string, unknown>;
          expect(Object.keys(entry).slice(0, 3)).toEqual(["time", "level", "message"]);
          expect(new Date(String(entry["time"])).toISOString()).toBe(String(entry["time"]));
          expect(["debug", "info", "warn", "error"]).toContain(String(entry["level"]));
        }
        const messages = lines.map((line) => JSON.parse(line)).filter(({ jobId }) => jobId === id);
        expect(messages.map(({ message }) => message)).toContain("claimed");
        expect(messages.map(({ message }) => message)).toContain("submitted");
      },
      testMs,
    );
  }

  test(
    "spells out what EMX2 says to drive a terminal, in both forms",
    async () => {
      await using stage = await openStage();
      stage.submit("copy");
      stage.around = async (request, answer) =>
        request.url.endsWith("/register")
          ? Response.json({ status: 400, title: `no${esc}[2J\u009b31m\u202e`, detail: "x" }, { status: 400 })
          : answer();
      const plain = await stage.start("once").ended();
      expect(plain.stderr).toContain("no");
      expect(plain.stderr).not.toMatch(controls);
      expect(plain.stderr).not.toContain("\u202e");
      const json = await stage.start("--json-logs", "once").ended();
      expect(json.stderr).not.toMatch(controls);
      for (const line of json.stderr.trimEnd().split("\n")) expect(JSON.parse(line)).toHaveProperty("message");
    },
    testMs,
  );

  test(
    "tells the fault that ends a command as an object too, with --json-logs",
    async () => {
      await using stage = await openStage({ worker: { state_dir: "config.yaml" } });
      const { exitCode, stderr } = await stage.start("once", "--json-logs").ended();
      const last = JSON.parse(stderr.trimEnd().split("\n").at(-1) ?? "");
      expect(last).toMatchObject({ level: "error", exitCode, message: expect.stringContaining("config.yaml") });
      expect(exitCode).toBe(1);
    },
    testMs,
  );
});

describe("`once --quiet`", () => {
  test(
    "prints nothing where there is nothing to do, and nothing of what it does",
    async () => {
      await using stage = await openStage();
      for (const status of [undefined, "SUBMITTED"]) {
        if (status) stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
        const { exitCode, stdout, stderr } = await stage.start("once", "--quiet").ended();
        expect([exitCode, stdout, stderr]).toEqual([0, "", ""]);
      }
      expect([...stage.state.jobs.values()].map(({ status }) => status)).toEqual(["SUBMITTED"]);
    },
    testMs,
  );

  test(
    "still says what a person should know",
    async () => {
      await using stage = await openStage();
      await stage.disconnect();
      const { exitCode, stdout, stderr } = await stage.start("once", "-q").ended(40_000);
      expect([exitCode, stdout]).toEqual([69, ""]);
      expect(stderr).toMatch(/ warn {2}EMX2 can not be asked/);
    },
    testMs,
  );
});

describe("on a terminal", () => {
  test(
    "the log is short and coloured, and without colours where NO_COLOR or a dumb terminal asks for it",
    async () => {
      await using stage = await openStage();
      const command = `"$X" -c '${stage.configFile}' once`;
      const coloured = await onTerminal(command, { cwd: stage.dir });
      expect(coloured.raw).toContain(`${esc}[36minfo ${esc}[0m`);
      for (const env of [{ NO_COLOR: "1" }, { NO_COLOR: "no" }, { TERM: "dumb" }]) {
        const { raw } = await onTerminal(command, { cwd: stage.dir, env });
        expect(raw).not.toContain(esc);
        expect(raw).toMatch(/^\d\d:\d\d:\d\d info {2}registered at EMX2 workerId=stage-worker profiles=1\r$/m);
      }
    },
    testMs,
  );

  test(
    "each stream is judged by itself",
    async () => {
      await using stage = await openStage();
      const file = join(stage.dir, "elsewhere");
      const piped = await onTerminal(`"$X" -c '${stage.configFile}' once 2>'${file}'`, { cwd: stage.dir });
      expect([piped.raw, readFileSync(file, "utf8")]).toEqual(["", expect.stringMatching(plainLine)]);
      const { raw } = await onTerminal(`"$X" -c '${stage.configFile}' -v check >'${file}'`, { cwd: stage.dir });
      expect(raw).toContain(`${esc}[2m`);
      expect(readFileSync(file, "utf8")).not.toMatch(controls);
    },
    testMs,
  );

  test(
    "`check` and help keep within the columns that there are, but for what can not be broken",
    async () => {
      await using stage = await openStage();
      for (const columns of [40, 80, 200]) {
        const commands = [`-c '${stage.configFile}' check`, "--help", "demo --help", "once --help"];
        const { lines } = await onTerminal(commands.map((words) => `"$X" ${words}`).join("; "), {
          columns,
          cwd: stage.dir,
        });
        const wide = lines.filter((line) => Bun.stringWidth(line) > columns && line.trim().includes(" "));
        expect([columns, wide]).toEqual([columns, []]);
      }
    },
    testMs,
  );

  test(
    "wrong usage is told without colours or control sequences of any kind",
    async () => {
      await using stage = await openStage();
      const { exitCode, raw } = await onTerminal(`"$X" fly`, { cwd: stage.dir });
      expect([exitCode, raw.includes(esc)]).toEqual([2, false]);
    },
    testMs,
  );
});
