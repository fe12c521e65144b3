import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../src/clock.ts";
import { failureLine, type RunOptions, run, succeeded } from "../../src/subprocess.ts";

/** Longer than any wait in here, on a busy machine. */
setDefaultTimeout(30_000);

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "emx2-subprocess-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const sh = (script: string, options: Partial<RunOptions> = {}) =>
  run(["sh", "-c", script], { clock: systemClock, env: { PATH: "/usr/bin:/bin" }, timeoutMs: 10_000, ...options });

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = systemClock.mono() + 10_000;
  while (!holds()) {
    if (systemClock.mono() > deadline) throw new Error(`not within 10 s: ${what}`);
    await systemClock.sleep(10);
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("run", () => {
  test("success and failure fill the same record", async () => {
    const bad = await sh("echo out; echo err >&2; exit 3");
    expect(bad).toMatchObject({ exitCode: 3, signal: null, stdout: "out\n", stderr: "err\n", spawnError: null });
    expect(bad).toMatchObject({ timedOut: false, aborted: false, truncated: false });
    const good = await sh("true");
    expect(Object.keys(good).sort()).toEqual(Object.keys(bad).sort());
    expect([succeeded(good), succeeded(bad)]).toEqual([true, false]);
    expect(failureLine(bad)).toBe("sh: exit 3: err");
  });

  test("a program that is not there, or may not be run, is a value", async () => {
    const options = { clock: systemClock, env: { PATH: "/usr/bin:/bin" }, timeoutMs: 1_000 };
    const missing = await run(["/no/such/squeue"], options);
    expect(missing).toMatchObject({ exitCode: null, spawnError: "ENOENT" });
    expect(failureLine(missing)).toBe("squeue: not found");
    expect(await run(["no-such-squeue"], options)).toMatchObject({ exitCode: null, spawnError: "ENOENT" });
    const locked = join(dir, "locked");
    writeFileSync(locked, "");
    chmodSync(locked, 0o600);
    expect((await run([locked], options)).spawnError).toBe("EACCES");
  });

  test("the environment is what was given, and nothing of ours", async () => {
    const name = "EMX2_TEST_LEAK";
    process.env[name] = "leaked";
    expect((await sh(`echo $${name}; echo $ONE`, { env: { PATH: "/bin", ONE: "1" } })).stdout).toBe("\n1\n");
    delete process.env[name];
  });

  test("stdin and working directory are passed", async () => {
    const completed = await sh("pwd; cat", { cwd: dir, stdin: new TextEncoder().encode("hello") });
    expect(completed.stdout).toBe(`${dir}\nhello`);
  });

  test("output beyond the limit is dropped, and is no success", async () => {
    const completed = await sh("yes | head -c 100000", { maxOutputBytes: 1_000 });
    expect(completed.stdout).toHaveLength(1_000);
    expect(completed.truncated).toBe(true);
    expect(succeeded(completed)).toBe(false);
  });

  test("at the time-out the whole process group is killed", async () => {
    const pidFile = join(dir, "pid");
    const completed = await sh(`sleep 60 & echo $! >${pidFile}; wait`, { timeoutMs: 300 });
    expect(completed).toMatchObject({ timedOut: true, exitCode: null, signal: "SIGKILL" });
    expect(failureLine(completed)).toContain("no answer within");
    const pid = Number(readFileSync(pidFile, "utf8"));
    await until("the grandchild is gone", () => !isAlive(pid));
  });

  test("an abort kills the group, and one before the start starts nothing", async () => {
    const controller = new AbortController();
    const running = sh("sleep 60", { signal: controller.signal });
    controller.abort();
    expect(await running).toMatchObject({ aborted: true, signal: "SIGKILL" });
    const never = join(dir, "never");
    expect((await sh(`: >${never}`, { signal: controller.signal })).aborted).toBe(true);
    expect(existsSync(never)).toBe(false);
  });

  test("a killed child is not waited for without bound", async () => {
    // Every wait is over before the child can be gone.
    const impatient: Clock = {
      ...systemClock,
      timer(_ms, wake) {
        queueMicrotask(wake);
        return () => {};
      },
    };
    const completed = await sh("sleep 60", { clock: impatient });
    expect(completed).toMatchObject({ timedOut: true, exitCode: null, signal: null });
  });

  test("whoever asked is told of each end, however it was", async () => {
    const told: unknown[] = [];
    const onCompleted = (completed: object) => told.push(completed);
    const all = [
      await sh("exit 3", { onCompleted }),
      await sh("sleep 60", { timeoutMs: 100, onCompleted }),
      await run(["/no/such/squeue"], { clock: systemClock, env: {}, timeoutMs: 1_000, onCompleted }),
    ];
    expect(told).toEqual(all);
  });

  test("a child that is to be left lives on after an abort", async () => {
    const controller = new AbortController();
    const [began, done] = [join(dir, "began"), join(dir, "done")];
    const running = sh(`: >${began}; sleep 0.2; : >${done}`, { signal: controller.signal, onAbort: "leave" });
    await until("it has begun", () => existsSync(began));
    controller.abort();
    expect(await running).toMatchObject({ aborted: true, exitCode: null, signal: null });
    await until("it has done its work", () => existsSync(done));
  });

  test("a grandchild that keeps the pipes open does not hold up the answer", async () => {
    const completed = await sh("sleep 30 & echo $!; exit 0");
    expect(completed).toMatchObject({ exitCode: 0, timedOut: false });
    expect(completed.durationMs).toBeLessThan(5_000);
    process.kill(Number(completed.stdout));
  });
});
