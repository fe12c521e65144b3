/** The state directory on storage that several login nodes mount: who holds it, and what whoever lost it still does. */
import { afterAll, expect, test } from "bun:test";
import {
  type Dirent,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const lease = (stage: Stage) => join(stage.stateDir, "lease");
const worker = { state_lease_seconds: 1.8 };
const untilToldTo = 'while [ ! -e "$HPC_WORK_DIR/go-on" ]; do sleep 0.1; done; echo done >"$HPC_OUTPUT_DIR/out"';
const profiles = { waits: { program: untilToldTo } };

/** As a daemon on another login node would have it. */
const foreign = "1 login2 - 00000000-1111-4222-8333-444444444444 4711 99 1795380000 a-token";

function setForeign(stage: Stage): void {
  mkdirSync(stage.stateDir, { recursive: true, mode: 0o700 });
  setLink(foreign, lease(stage));
  setTurn(stage, 0);
}

function setTurn(stage: Stage, turn: number): void {
  setLink(String(turn), `${lease(stage)}.a-token`);
}

function setLink(target: string, path: string): void {
  symlinkSync(target, `${path}.test`);
  renameSync(`${path}.test`, path);
}

/** Not in the midst of a write, which would end when it wakes: a journal of SQLite's own is empty but then. */
async function suspend(stage: Stage, program: Program): Promise<void> {
  await stage.until("it is suspended between two writes", async () => {
    program.kill("SIGSTOP");
    await stage.until("it is suspended", () => / T /.test(readFileSync(`/proc/${program.pid}/stat`, "utf8")));
    const isBetween = statSync(join(stage.stateDir, "journal.db-journal")).size === 0;
    if (!isBetween) program.kill("SIGCONT");
    return isBetween;
  });
}

/** What is in the state directory, by name: digests of files, targets of links. */
function stateOf({ stateDir }: Stage): Record<string, string> {
  const entries = readdirSync(stateDir, { withFileTypes: true }).filter((entry) => !entry.isDirectory());
  const contentOf = (entry: Dirent) => {
    const path = join(stateDir, entry.name);
    return entry.isSymbolicLink() ? readlinkSync(path) : Bun.hash(readFileSync(path)).toString();
  };
  return Object.fromEntries(entries.map((entry) => [entry.name, contentOf(entry)]));
}

test(
  "a holder on another host that renews its lease is left alone: `run` and `once` end with 75 and name it",
  async () => {
    await using stage = await openStage({ worker });
    setForeign(stage);
    let turn = 0;
    const renewing = setInterval(() => setTurn(stage, ++turn), 200);
    try {
      for (const command of ["run", "once"]) {
        const { exitCode, stderr } = await stage.start(command).ended();
        expect(exitCode).toBe(75);
        expect(stderr).toContain("process 4711 on login2");
      }
    } finally {
      clearInterval(renewing);
    }
    expect(readlinkSync(lease(stage))).toBe(foreign);
    expect(stage.requests).toEqual([]);
    expect(existsSync(join(stage.stateDir, "journal.db"))).toBe(false);
  },
  testMs,
);

test(
  "a wait for another host's lease ends with SIGTERM, and leaves that lease as it is",
  async () => {
    await using stage = await openStage({ worker: { state_lease_seconds: 600 } });
    setForeign(stage);
    for (const command of ["run", "once"]) {
      const program = stage.start(command);
      await stage.until("it watches", () => program.stderr().includes("is it alive"));
      program.kill("SIGTERM");
      const { exitCode, stderr } = await program.ended(3_000);
      expect({ exitCode, stderr }).toEqual({ exitCode: 143, stderr: expect.not.stringContaining("bug") });
    }
    expect(readlinkSync(lease(stage))).toBe(foreign);
    expect(stage.requests).toEqual([]);
  },
  testMs,
);

test(
  "a holder on another host that gives no sign of life is followed, with a warning, and its jobs go on",
  async () => {
    await using stage = await openStage({ worker, profiles });
    const id = stage.submit("waits");
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    first.kill("SIGKILL");
    await first.ended();
    setForeign(stage);
    writeFileSync(join(stage.jobsDir, id, "work/go-on"), "");
    const second = stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    expect(second.stderr()).toMatch(/warn .*no sign of life.*login2/);
    expect(stage.ledger()).toEqual([id]);
    second.kill("SIGTERM");
    expect((await second.ended()).exitCode).toBe(0);
    expect(() => readlinkSync(lease(stage))).toThrow("ENOENT");
  },
  testMs,
);

test(
  "after kill -9 the next on the same host follows at once",
  async () => {
    await using stage = await openStage({ worker: { state_lease_seconds: 600 } });
    const first = stage.start("run");
    await stage.until("it holds the state", () => existsSync(join(stage.stateDir, "journal.db")));
    first.kill("SIGKILL");
    await first.ended();
    expect(readlinkSync(lease(stage))).toContain(" ");
    const { exitCode, stderr } = await stage.start("once").ended();
    expect(exitCode).toBe(0);
    expect(stderr).not.toContain("is it alive");
  },
  testMs,
);

test.each(["", "SIGTERM"] as const)(
  "whoever lost its state while it was suspended does nothing more: no write, no request, exit code 75 (%p)",
  async (signal) => {
    await using stage = await openStage({ worker, profiles });
    const id = stage.submit("waits");
    const program = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    await suspend(stage, program);
    setForeign(stage);
    writeFileSync(join(stage.jobsDir, id, "work/go-on"), "");
    await Bun.sleep(2_000); // its own time, not ours: longer than a lease may go unrenewed
    const before = { state: stateOf(stage), requests: stage.requests.length };
    if (signal) program.kill(signal);
    program.kill("SIGCONT");
    const { exitCode, stderr } = await program.ended();
    expect(stderr).toMatch(/no longer holds its state: process 4711 on login2/);
    expect(exitCode).toBe(75);
    expect({ state: stateOf(stage), requests: stage.requests.length }).toEqual(before);
    expect(stage.job(id).status).toBe("STARTED");
  },
  testMs,
);

test(
  "whoever finds its lease taken or removed while it runs ends with 75, and leaves the state as it is",
  async () => {
    for (const spoil of [setForeign, (stage: Stage) => rmSync(lease(stage))]) {
      await using stage = await openStage({ worker });
      const program = stage.start("run");
      await stage.until("it holds the state", () => existsSync(join(stage.stateDir, "journal.db")));
      spoil(stage);
      const { exitCode, stderr } = await program.ended();
      expect(exitCode).toBe(75);
      expect(stderr).toContain("no longer holds its state");
    }
  },
  testMs,
);

/** A file system without locks: fcntl(2) says so of every lock, as NFS without lockd does. */
const shim = buildShim();
afterAll(() => shim && rmSync(shim.dir, { recursive: true }));

function buildShim() {
  const compiler = Bun.which("cc");
  if (compiler === null) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "emx2-nolocks-"));
  const source = join(dir, "nolocks.c");
  writeFileSync(
    source,
    `#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
static int call(const char *name, int fd, int command, void *argument) {
  if (command == F_SETLK || command == F_SETLKW || command == F_GETLK) { errno = ENOLCK; return -1; }
  int (*real)(int, int, ...) = dlsym(RTLD_NEXT, name);
  return real(fd, command, argument);
}
int fcntl(int fd, int command, ...) {
  va_list list; va_start(list, command); void *argument = va_arg(list, void *); va_end(list);
  return call("fcntl", fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
  va_list list; va_start(list, command); void *argument = va_arg(list, void *); va_end(list);
  return call("fcntl64", fd, command, argument);
}
`,
  );
  const library = join(dir, "nolocks.so");
  const { exitCode, stderr } = Bun.spawnSync([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return { dir, library };
}

test.skipIf(shim === undefined)(
  "where file locks are refused the journal works, and the lease keeps a second instance out",
  async () => {
    const env = { LD_PRELOAD: shim?.library ?? "" };
    await using stage = await openStage({ worker, profiles, env });
    const id = stage.submit("waits");
    const first = stage.start("run");
    await stage.untilStatus(id, "STARTED");
    expect(first.stderr()).toContain("refuses locks");
    const second = await stage.start("once").ended();
    expect(second.exitCode).toBe(75);
    first.kill("SIGKILL");
    await first.ended();
    writeFileSync(join(stage.jobsDir, id, "work/go-on"), "");
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);
