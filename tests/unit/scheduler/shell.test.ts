/** How the shell starts runs and knows them again, whatever a job has put in place of its files. */
import { expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { RunRef } from "../../../src/job/run.ts";
import { bootMark, processOf } from "../../../src/scheduler/shell-process.ts";
import { hostProfile } from "../../contract/scheduler/suite.ts";
import { isAlive, never, shellStage } from "./shell-stage.ts";

const on = shellStage();
const { PATH: usualPath = "/usr/bin:/bin" } = process.env;
/** An id of ours whose process is gone: this process began at another tick. */
const gone = `${process.pid}-1-${bootMark()}`;
const control = (run: RunRef, name: string) => join(run.dir, ".emx2", name);
const exitReceipt = { v: 1, attempt: "a1", job: gone, exit: 0, signal: null, start: 100, end: 165 };

function leftBy(id: string): RunRef {
  const run = on.run("true");
  symlinkSync(id, control(run, "lease.a1"));
  return run;
}

test.each(["abc", "7", "-1", "0-1", "7-1", "7-1-2", `0-1-${bootMark()}`, "closed"])(
  "a lease that says %s is none",
  async (text) => {
    const run = leftBy(text);
    expect(await on.row(run)).toBeNull();
    expect(await on.daemon().find(run, never)).toEqual({ is: "absent" });
    expect(await on.daemon().cancel({ ...run, schedulerId: text }, never)).toEqual({ is: "asked" });
  },
);

test.each([
  ["no JSON", (path: string) => writeFileSync(path, "{")],
  ["null", (path: string) => writeFileSync(path, "null")],
  ["an exit code that is none", (path: string) => writeFileSync(path, JSON.stringify({ ...exitReceipt, exit: "0" }))],
  ["of another run", (path: string) => writeFileSync(path, JSON.stringify({ ...exitReceipt, job: "1-2-12345678" }))],
  ["too long", (path: string) => writeFileSync(path, JSON.stringify(exitReceipt) + " ".repeat(100_000))],
  ["a directory", (path: string) => mkdirSync(path)],
  ["a link", (path: string) => symlinkSync("/proc/self/environ", path)],
  ["a FIFO", (path: string) => void Bun.spawnSync(["mkfifo", path])],
])("a receipt that is %s counts as none", async (_, put) => {
  const run = leftBy(gone);
  put(control(run, "exit.a1.0"));
  expect(await on.row(run)).toMatchObject({ state: "FAILED", reason: "gone without a receipt" });
});

test.each([
  [0, "COMPLETED"],
  [3, "FAILED"],
] as const)("a receipt with exit code %d ends the run as %s, and tells how long it took", async (exit, state) => {
  const run = leftBy(gone);
  writeFileSync(control(run, "exit.a1.0"), JSON.stringify({ ...exitReceipt, exit }));
  expect(await on.row(run)).toMatchObject({ state, exitCode: exit, elapsed: "00:01:05" });
});

test.each([
  [0, null, "COMPLETED"],
  [3, null, "CANCELLED"],
  [0, "TERM", "CANCELLED"],
] as const)("exit code %d and signal %s of a run whose end was asked for make it %s", async (exit, signal, state) => {
  const run = leftBy(gone);
  const ending = { v: 1, by: "CANCELLED", at: 170_000, uid: 1_000, termAt: 170_000 };
  writeFileSync(control(run, `ending.${gone}`), JSON.stringify(ending));
  writeFileSync(control(run, "exit.a1.0"), JSON.stringify({ ...exitReceipt, exit, signal }));
  expect(await on.row(run)).toMatchObject({ state, ...(state === "CANCELLED" ? { cancelledBy: 1_000 } : {}) });
});

test("a process that was given a run's number is neither taken for the run nor sent a signal", async () => {
  // It bears every other mark of the run.
  const run = on.run("true");
  const env = { HPC_JOB_ID: run.jobId };
  const other = Bun.spawn(["sleep", "60"], { env, detached: true, stdin: "ignore" });
  const id = `${other.pid}-1-${bootMark()}`;
  symlinkSync(id, control(run, "lease.a1"));
  expect(await on.row(run)).toMatchObject({ schedulerId: id, state: "FAILED" });
  expect(await on.daemon().cancel({ ...run, schedulerId: id }, never)).toEqual({ is: "asked" });
  on.pass(10 * 60_000);
  await on.daemon().cancel(run, never);
  expect(await on.row(run)).toMatchObject({ state: "FAILED" });
  expect(isAlive(other.pid)).toBe(true);
  other.kill("SIGKILL");
  expect(await other.exited).toBe(137);
});

test("a run of before the machine was restarted is gone for the node's failure, and nothing is sent a signal", async () => {
  const submitted = await on.submitted("exec sleep 60");
  await on.until("it has the lease", async () => (await on.daemon().find(submitted, never)).is === "found");
  const [pid, ticks] = submitted.schedulerId.split("-");
  const id = `${pid}-${ticks}-00000000`;
  unlinkSync(control(submitted, "lease.a1"));
  symlinkSync(id, control(submitted, "lease.a1"));
  const run = { ...submitted, schedulerId: id };
  expect(await on.row(run)).toMatchObject({ state: "NODE_FAIL", reason: "the machine was restarted under it" });
  await on.daemon().cancel(run, never);
  expect(isAlive(Number(pid))).toBe(true);
  writeFileSync(control(run, "exit.a1.0"), JSON.stringify({ ...exitReceipt, job: id }));
  expect(await on.row(run)).toMatchObject({ state: "COMPLETED", exitCode: 0 });
});

test("a script that is gone is refused, and says so", async () => {
  const run = on.run("true");
  rmSync(control(run, "job.sh"));
  const answer = await on.daemon().submit(run, hostProfile, never);
  expect(answer).toEqual({ is: "refused", cause: `${control(run, "job.sh")} is gone` });
});

test("what the system will not start is unavailable, and says why", async () => {
  const run = { ...on.run("true"), attempt: "a".repeat(200_000) };
  const answer = await on.daemon().submit(run, hostProfile, never);
  expect(answer).toMatchObject({ is: "unavailable", cause: expect.stringContaining("E2BIG") });
});

/** Arguments of a process that submits the run, prints the answer, and ends. */
function submitting(run: RunRef, path: string): string[] {
  const modules = ["clock.ts", "scheduler/shell.ts"];
  const [clock, shell] = modules.map((file) => JSON.stringify(join(import.meta.dir, "../../../src", file)));
  const program = `
    const { systemClock } = await import(${clock}), { createShell } = await import(${shell});
    const shell = createShell({ clock: systemClock, env: { PATH: ${JSON.stringify(path)} } });
    const never = new AbortController().signal;
    const answer = await shell.submit(${JSON.stringify(run)}, ${JSON.stringify(hostProfile)}, never);
    console.log(JSON.stringify(answer));`;
  return [process.execPath, "-e", program];
}

test("a launcher that can write nothing is unavailable, and has run nothing", async () => {
  const run = on.run(': >"$HPC_OUTPUT_DIR/ran"');
  const noFiles = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", ...submitting(run, usualPath)];
  const { stdout, stderr } = Bun.spawnSync(noFiles, { env: process.env });
  expect(`${stderr}`).toBe("");
  expect(JSON.parse(`${stdout}`)).toMatchObject({
    is: "unavailable",
    cause: expect.stringContaining("could not be started"),
  });
  expect(await on.row(run)).toBeNull();
  expect(readdirSync(join(run.dir, "output"))).toEqual([]);
});

test("a daemon that is killed while it submits leaves a run that goes on, and is found", async () => {
  const run = on.run('echo ran >>"$HPC_OUTPUT_DIR/ledger"');
  // The launcher's only command.
  const path = join(run.dir, "scratch");
  writeFileSync(
    join(path, "mv"),
    `#!/bin/sh\nPATH=${usualPath}\n: >${path}/begun\nuntil [ -e ${path}/go ]; do sleep 0.02; done\nexec mv "$@"\n`,
  );
  chmodSync(join(path, "mv"), 0o755);
  const daemon = Bun.spawn(submitting(run, `${path}:${usualPath}`), { env: process.env, stdout: "ignore" });
  await on.until("it submits", () => existsSync(join(path, "begun")));
  daemon.kill("SIGKILL");
  await daemon.exited;
  expect(await on.daemon().find(run, never)).toEqual({ is: "absent" });
  writeFileSync(join(path, "go"), "");
  const row = await on.rowIn("COMPLETED", run);
  expect(await on.daemon().find(run, never)).toEqual({ is: "found", schedulerId: row.schedulerId });
  // It had waited long enough to be submitted anew.
  const twin = await on.daemon().submit(run, hostProfile, never);
  if (twin.is !== "submitted") throw new Error(twin.cause);
  await on.until("the twin has lost", () => existsSync(control(run, `lost.a1.${twin.schedulerId}.0`)));
  expect(await on.row(run)).toEqual(row);
  expect(readFileSync(join(run.dir, "output", "ledger"), "utf8")).toBe("ran\n");
});

test("a submission that is given up half-way is in doubt, and its run is found", async () => {
  const run = on.run("exec sleep 60");
  expect(await on.daemon().submit(run, hostProfile, AbortSignal.abort())).toMatchObject({ is: "doubt" });
  const found = await on.until("it is found", async () => {
    const answer = await on.daemon().find(run, never);
    return answer.is === "found" ? answer : undefined;
  });
  expect(await on.row(run)).toMatchObject({ schedulerId: found.schedulerId, state: "RUNNING" });
  on.endAfterwards({ ...run, schedulerId: found.schedulerId });
});

test("storage that fails for one run says nothing about it, and all about the others", async () => {
  const [lost, fine] = [{ ...on.run("true"), dir: `/${"x".repeat(300)}` }, leftBy(gone)];
  const answer = await on.daemon().states([lost, fine], never);
  expect(answer.is === "answered" && [...answer.rows.keys()]).toEqual([fine.jobId]);
});

test("a program inherits no open file of the daemon's, and runs in a session of its own", async () => {
  const run = await on.submitted('ls -l /proc/$$/fd >"$HPC_OUTPUT_DIR/fds"; exec cut -d" " -f6 /proc/self/stat');
  await on.rowIn("COMPLETED", run);
  const targets = readFileSync(join(run.dir, "output", "fds"), "utf8").match(/(?<=-> ).*/g) ?? [];
  const [stdin, ...others] = targets;
  expect(stdin).toBe("/dev/null");
  const mine = (path: string) => path.startsWith(run.dir) || path === "/usr/bin/sh";
  expect(others.filter((path) => !mine(path))).toEqual([]);
  const session = readFileSync(join(run.dir, ".emx2", `slurm-${run.schedulerId}.out`), "utf8").trim();
  expect(Number(session)).toBe(processOf(run.schedulerId)?.pid ?? -1);
});

test("a program has the environment of a clean login, and nothing of Slurm's", async () => {
  const run = await on.submitted('env >"$HPC_OUTPUT_DIR/env"');
  await on.rowIn("COMPLETED", run);
  const names = readFileSync(join(run.dir, "output", "env"), "utf8").match(/^\w+(?==)/gm) ?? [];
  const ofTheShell = ["PWD", "OLDPWD", "SHLVL", "_"];
  const others = names.filter((name) => !/^(HPC|EMX2_JOB)_/.test(name) && !ofTheShell.includes(name));
  expect(others.sort()).toEqual(["HOME", "LOGNAME", "PATH", "USER"]);
  expect(names).not.toContain("EMX2_RUN_ID");
});
