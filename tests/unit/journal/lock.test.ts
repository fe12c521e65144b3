import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock as clock } from "../../../src/clock.ts";
import { StateError } from "../../../src/errors.ts";
import { acquireLock, type LockAnswer } from "../../../src/journal/lock.ts";

const holderProgram = join(import.meta.dir, "lock-holder.ts");
const now = { waitMs: 0, clock };

let root = "";
let stateDir = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "emx2-lock-"));
  stateDir = join(root, "state", "daemon");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function release(answer: LockAnswer): void {
  if (!("release" in answer)) throw new Error(`not ours: held by ${answer.held}`);
  answer.release();
}

/** Another process that takes the lock and keeps it until it is killed. `answer`: what it was told. */
async function otherProcess() {
  const child = Bun.spawn([process.execPath, holderProgram, stateDir], { stdout: "pipe", stderr: "inherit" });
  const { value } = await child.stdout.getReader().read();
  return {
    child,
    answer: Buffer.from(value ?? [])
      .toString()
      .trim(),
  };
}

async function kill(child: Bun.Subprocess): Promise<void> {
  child.kill("SIGKILL");
  await child.exited;
}

describe("the lock of a state directory", () => {
  test("makes the directory, for its owner alone", async () => {
    const answer = await acquireLock(stateDir, now);
    expect(statSync(stateDir).mode & 0o777).toBe(0o700);
    release(answer);
  });

  test("closes a file to others that another umask has left open, and holds it still", async () => {
    mkdirSync(stateDir, { recursive: true });
    writeFileSync(join(stateDir, "lock"), "", { mode: 0o644 });
    const answer = await acquireLock(stateDir, now);
    expect(statSync(join(stateDir, "lock")).mode & 0o777).toBe(0o600);
    expect((await otherProcess()).answer).toContain(`process ${process.pid} on`);
    release(answer);
  });

  test("is refused while another process has it, saying which, and is free after its kill -9", async () => {
    const { child, answer } = await otherProcess();
    expect(answer).toBe("locked");
    const refused = await acquireLock(stateDir, now);
    expect(refused).toEqual({ held: expect.stringContaining(`process ${child.pid} on ${hostname()}, since 20`) });
    await kill(child);
    release(await acquireLock(stateDir, now));
  });

  test("is waited for", async () => {
    const { child } = await otherProcess();
    const waiting = acquireLock(stateDir, { waitMs: 30_000, clock });
    await kill(child);
    release(await waiting);
  });

  test("waits no longer than it was told, and not at all once it is aborted", async () => {
    const mine = await acquireLock(stateDir, now);
    const before = clock.mono();
    expect(await acquireLock(stateDir, { waitMs: 300, clock })).toHaveProperty("held");
    expect(clock.mono() - before).toBeGreaterThanOrEqual(299);
    const abort = new AbortController();
    const waiting = acquireLock(stateDir, { waitMs: 60_000, clock, signal: abort.signal });
    abort.abort(new Error("SIGTERM"));
    await expect(waiting).rejects.toThrow("SIGTERM");
    release(mine);
  });

  test("is held against this process itself too, and free after its release", async () => {
    const mine = await acquireLock(stateDir, now);
    expect(await acquireLock(stateDir, now)).toHaveProperty("held");
    release(mine);
    release(mine);
    expect(existsSync(join(stateDir, "lock.holder"))).toBe(false);
    release(await acquireLock(stateDir, now));
  });

  test("survives a refused second try, and a caller that drops its handle", async () => {
    await acquireLock(stateDir, now);
    expect(await acquireLock(stateDir, now)).toHaveProperty("held");
    Bun.gc(true);
    await clock.sleep(0);
    Bun.gc(true);
    const { child, answer } = await otherProcess();
    expect(answer).toContain(`process ${process.pid}`);
    await kill(child);
  });

  test("names the directory that can not be made", async () => {
    writeFileSync(join(root, "state"), "a file where a directory should be");
    const error = await acquireLock(stateDir, now).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StateError);
    expect(String(error)).toContain(stateDir);
  });

  test("says little of a holder whose name is missing or far too long", async () => {
    const mine = await acquireLock(stateDir, now);
    rmSync(join(stateDir, "lock.holder"));
    expect(await acquireLock(stateDir, now)).toEqual({ held: expect.stringContaining("not given its name") });
    writeFileSync(join(stateDir, "lock.holder"), "x".repeat(100_000));
    expect(await acquireLock(stateDir, now)).toEqual({ held: "x".repeat(200) });
    release(mine);
  });
});
