import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { quote } from "../../../src/job/script.ts";
import { jobRunning, receipt, runToEnd, shells, start } from "./job-directory.ts";

/** Longer than any wait in here, on a busy machine. */
setDefaultTimeout(30_000);

const patienceMs = 10_000;

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = systemClock.mono() + patienceMs;
  while (!holds()) {
    if (systemClock.mono() > deadline) throw new Error(`not within ${patienceMs} ms: ${what}`);
    await systemClock.sleep(10);
  }
}

describe.each(shells.map((shell) => [shell.join(" "), shell] as const))("job.sh in %s", (_, shell) => {
  let dir = "";
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const inDir = (...parts: string[]) => join(dir, ...parts);
  const text = (...parts: string[]) => readFileSync(inDir(...parts), "utf8");

  test("a first run takes the lease, works in work/ and output/, and leaves its receipts", async () => {
    dir = jobRunning('pwd; echo done >"$HPC_OUTPUT_DIR/result"', { prelude: ["echo prepared"] });
    expect(await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "42" })).toEqual({
      ...{ exitCode: 0, stdout: `prepared\n${inDir("work")}\n`, stderr: "" },
    });
    expect(text("output", "result")).toBe("done\n");
    expect(text("work", "parameters.json")).toBe(text(".emx2", "parameters.json"));
    expect(readlinkSync(inDir(".emx2", "lease.a1"))).toBe("42");
    expect(readlinkSync(inDir(".emx2", "lease.a1.0"))).toMatch(/^42\.0\..+\.\d+$/);
    expect(receipt(dir, "start.a1.0")).toMatchObject({ v: 1, attempt: "a1", job: "42", restart: 0 });
    expect(receipt(dir, "exit.a1.0")).toMatchObject({
      ...{ v: 1, attempt: "a1", job: "42", restart: 0, how: "exit", exit: 0, signal: null, signal_at: 0 },
    });
    expect(readdirSync(inDir(".emx2")).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("outputs that are to stay elsewhere are made there, and without that place nothing is run", async () => {
    dir = jobRunning('echo done >"$HPC_OUTPUT_DIR/result"');
    const base = inDir("results of it's");
    writeFileSync(inDir(".emx2", "output-base"), `${base}\n`);
    const lost = await runToEnd(shell, dir);
    expect(lost).toMatchObject({ exitCode: 94, stderr: expect.stringContaining(`there is no ${base} on`) });
    expect(existsSync(base)).toBe(false);
    mkdirSync(base);
    expect((await runToEnd(shell, dir)).exitCode).toBe(0);
    expect(text("results of it's", "output", "result")).toBe("done\n");
    expect(statSync(join(base, "output")).mode & 0o777).toBe(0o750);
    expect(existsSync(inDir("output"))).toBe(false);
  });

  test("a twin finds the lease taken, says so, and touches nothing else", async () => {
    dir = jobRunning("echo ran >>../ledger");
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "1" });
    expect((await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "2" })).exitCode).toBe(93);
    expect(receipt(dir, "lost.a1.2.0")).toMatchObject({ job: "2", holder: "1" });
    expect((await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "1" })).exitCode).toBe(93);
    expect(text("ledger")).toBe("ran\n");
  });

  test("an attempt that was closed can not run", async () => {
    dir = jobRunning("echo ran >>../ledger");
    symlinkSync("closed", inDir(".emx2", "lease.a1"));
    const names = () => readdirSync(dir, { recursive: true, encoding: "utf8" }).sort();
    const before = names();
    expect((await runToEnd(shell, dir)).exitCode).toBe(93);
    expect(names()).toEqual([...before, ".emx2/lost.a1.1.0"].sort());
    expect(receipt(dir, "lost.a1.1.0")).toMatchObject({ holder: "closed" });
  });

  test("a later run has directories of its own, with the parameters in them", async () => {
    dir = jobRunning('echo "$HPC_PARAMETERS_FILE" >"$HPC_OUTPUT_DIR/result"');
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "1" });
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "1", SLURM_RESTART_COUNT: "1" });
    await runToEnd(shell, dir, "a2", { SLURM_JOB_ID: "9" });
    for (const later of ["a1.1", "a2.0"]) {
      expect(text(`output.${later}`, "result")).toBe(`${inDir(`work.${later}`, "parameters.json")}\n`);
      expect(existsSync(inDir(`work.${later}`, "parameters.json"))).toBe(true);
      expect(receipt(dir, `exit.${later}`)).toMatchObject({ exit: 0 });
    }
    expect(text("output", "result")).toBe(`${inDir("work", "parameters.json")}\n`);
  });

  test("the workload's exit code is the script's, whether it exits or is not found", async () => {
    dir = jobRunning("exit 7");
    expect((await runToEnd(shell, dir)).exitCode).toBe(7);
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ exit: 7, how: "exit", signal: null });
    rmSync(dir, { recursive: true });
    dir = jobRunning("", { workload: { kind: "host", entrypoint: "/no/such/program" } });
    expect((await runToEnd(shell, dir)).exitCode).toBe(127);
  });

  test.each([5, 0])("a prelude that exits %d is no program's end, and no success", async (code) => {
    dir = jobRunning("echo ran", { prelude: ["echo 'module: not found' >&2", `exit ${code}`] });
    const { exitCode, stdout, stderr } = await runToEnd(shell, dir);
    expect([exitCode, stdout]).toEqual([255, ""]);
    expect(stderr).toStartWith(
      `module: not found\njob.sh: the profile's prelude ended the run with exit code ${code} (on `,
    );
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ exit: 255, how: "exit", unstarted: null });
  });

  test("a signal that comes during the prelude is the end, and not the prelude's", async () => {
    dir = jobRunning("echo ran", { prelude: [": >ready", "sleep 600"] });
    const child = start(shell, dir, "a1", { SLURM_JOB_ID: "1" });
    await until("the prelude is at work", () => existsSync(inDir("work", "ready")));
    child.kill("SIGTERM");
    expect(await child.exited).toBe(143);
    expect(await child.stderr.text()).not.toContain("prelude ended");
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ exit: 143, signal: "TERM", unstarted: null });
  });

  test("a warning by USR1 hides no later signal", async () => {
    dir = jobRunning("trap 'exit 7' TERM; : >ready; while :; do sleep 0.05; done");
    const child = start(shell, dir, "a1", { SLURM_JOB_ID: "1" });
    await until("the workload is ready", () => existsSync(inDir("work", "ready")));
    child.kill("SIGUSR1");
    await until("it is noted", () => existsSync(inDir(".emx2", "stop.a1.0")));
    expect(receipt(dir, "stop.a1.0")).toMatchObject({ signal: "USR1" });
    child.kill("SIGTERM");
    expect(await child.exited).toBe(7);
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ exit: 7, signal: "TERM" });
  });

  test("a signal to the script alone reaches the workload, which can finish its work", async () => {
    dir = jobRunning("trap 'echo saved >saved; exit 7' TERM; : >ready; while :; do sleep 0.05; done");
    const child = start(shell, dir, "a1", { EMX2_RUN_ID: "5-77" });
    await until("the workload is ready", () => existsSync(inDir("work", "ready")));
    child.kill("SIGTERM");
    expect(await child.exited).toBe(7);
    expect(text("work", "saved")).toBe("saved\n");
    expect(receipt(dir, "stop.a1.0")).toMatchObject({ job: "5-77", signal: "TERM" });
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ exit: 7, how: "exit", signal: "TERM" });
  });

  test("a warning before the time limit reaches the workload's first process alone, and ends nothing", async () => {
    const child = "sleep 600 & echo $! >child";
    dir = jobRunning(
      `trap 'echo warned >>warned' USR2; ${child}; : >ready; while ! [ -e go ]; do sleep 0.05; done; kill $!`,
    );
    const script = start(shell, dir, "a1", { SLURM_JOB_ID: "1" });
    await until("the workload is ready", () => existsSync(inDir("work", "ready")));
    for (const times of [1, 2]) {
      script.kill("SIGUSR2");
      const warned = () => existsSync(inDir("work", "warned")) && text("work", "warned") === "warned\n".repeat(times);
      await until("the workload is warned", warned);
    }
    expect(() => process.kill(Number(text("work", "child")), 0)).not.toThrow();
    writeFileSync(inDir("work", "go"), "");
    expect(await script.exited).toBe(0);
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ exit: 0, how: "exit", signal: null, signal_at: 0 });
    const left = readdirSync(inDir(".emx2")).filter((name) => name.startsWith(".") || name.startsWith("stop"));
    expect(left).toEqual([]);
  });

  test("a workload that was warned and is ended all the same was ended by the second signal", async () => {
    dir = jobRunning("trap 'echo warned >warned' USR2; : >ready; while :; do sleep 0.05; done");
    const script = start(shell, dir, "a1", { SLURM_JOB_ID: "1" });
    await until("the workload is ready", () => existsSync(inDir("work", "ready")));
    script.kill("SIGUSR2");
    await until("the workload is warned", () => existsSync(inDir("work", "warned")));
    script.kill("SIGTERM");
    expect(await script.exited).toBe(143);
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ exit: 143, signal: "TERM" });
  });

  test.each(["\n", "\\n\n"])("an image without a runscript is no success (%j at its word's end)", async (end) => {
    const word = "There is no runscript defined for this container";
    dir = jobRunning(`printf '%s' ${quote(word + end)} >../.emx2/container-stdout.log`);
    expect((await runToEnd(shell, dir)).exitCode).toBe(255);
    expect(receipt(dir, "exit.a1.0")).toMatchObject({ exit: 255, how: "exit" });
    expect(text(".emx2", "container-stderr.log")).toContain("has no runscript: name its program in the profile");
  });

  test("a workload starts with the default actions of signals", async () => {
    dir = jobRunning("grep SigIgn /proc/self/status | tr -d '\\t'");
    const { stdout } = await runToEnd(shell, dir);
    // SIGINT and SIGQUIT are ignored in what a shell starts in the background; TERM, HUP, USR1, USR2 and XCPU must not be.
    const ignored = Number.parseInt(stdout.replace("SigIgn:", ""), 16);
    for (const signal of [1, 10, 12, 15, 24]) expect(ignored & (1 << (signal - 1))).toBe(0);
  });

  test("without a directory to write in it runs nothing and exits 94", async () => {
    dir = jobRunning("echo ran >>../ledger");
    rmSync(inDir(".emx2", "parameters.json"));
    expect((await runToEnd(shell, dir)).exitCode).toBe(94);
    expect((await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "1 2" })).exitCode).toBe(94);
    expect((await runToEnd(shell, dir, "../a1")).exitCode).toBe(94);
    expect(existsSync(inDir("ledger"))).toBe(false);
  });

  test("stdin is empty, and the umask shuts others out", async () => {
    dir = jobRunning("cat; umask");
    writeFileSync(inDir("stray"), "");
    expect((await runToEnd(shell, dir)).stdout.trim()).toMatch(/^0?027$/);
  });
});
