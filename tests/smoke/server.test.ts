/** `register` and `check` against a server that takes them, one that refuses, and none. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { userInfo } from "node:os";
import { addToken, revokeWorkerCredential } from "../../src/emulator/submitter.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { openStage, type Stage } from "../integration/harness.ts";
import { executable } from "../integration/program.ts";

const testMs = 60_000;

test(
  "`register` makes worker and capabilities known, and says so on stdout",
  async () => {
    await using stage = await openStage({ worker: { max_concurrent_jobs: 7 } });
    const { exitCode, stdout } = await stage.start("register").ended();
    expect(exitCode).toBe(0);
    expect(stdout).toContain(stage.workerId);
    expect(stdout).toContain("copy/default");
    expect([...(stage.state.workers.get(stage.workerId)?.capabilities ?? [])]).toEqual([
      { processor: "copy", profile: "default", maxConcurrentJobs: 7 },
    ]);
  },
  testMs,
);

const refusals: readonly (readonly [number, string, (stage: Stage) => void, RegExp])[] = [
  [400, "a request that it calls wrong", (stage) => refuse(stage, 400), /400.*because of 400/],
  [401, "a secret that is not the worker's", (stage) => revokeWorkerCredential(stage.state, stage.workerId), /401/],
  [403, "a token that may only read", (stage) => addToken(stage.state, stage.secret, "reader", "viewer"), /403/],
  [409, "a conflict", (stage) => refuse(stage, 409), /409.*because of 409/],
];

function refuse(stage: Stage, status: number): void {
  const problem = { title: "Refused", status, detail: `because of ${status}` };
  stage.around = async () => Response.json(problem, { status });
}

for (const [status, name, prepare, words] of refusals) {
  test(
    `\`register\` refused with ${status} for ${name} exits 1 with the reason`,
    async () => {
      await using stage = await openStage({ emx2: { auth_mode: status === 403 ? "token" : "hmac" } });
      prepare(stage);
      const { exitCode, stdout, stderr } = await stage.start("register").ended();
      expect([exitCode, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(words);
      expect(stderr).not.toContain(stage.secret);
      expect(stderr).not.toMatch(/^\s+at /m);
    },
    testMs,
  );
}

test(
  "`register` against nobody, and against a server that is down, exits 69",
  async () => {
    await using stage = await openStage();
    refuse(stage, 503);
    expect((await stage.start("register").ended()).exitCode).toBe(69);
    await stage.disconnect();
    const { exitCode, stderr } = await stage.start("register").ended();
    expect(exitCode).toBe(69);
    expect(stderr).toContain(new URL(stage.url).host);
    await stage.reconnect();
  },
  testMs,
);

test(
  "`check` finds all well, a line an item, and changes nothing anywhere",
  async () => {
    await using stage = await openStage();
    const before = readdirSync(stage.dir, { recursive: true }).filter((name) => !String(name).startsWith("slurm"));
    const { exitCode, stdout } = await stage.start("check").ended();
    expect(stdout).not.toMatch(/^failed/m);
    for (const line of stdout.trimEnd().split("\n")) expect(line).toMatch(/^(ok|warning|failed) +\S.*: |^ {9}fix: /);
    for (const item of ["configuration", "secret", "state_dir", "tmp_dir", "profile copy/default", "EMX2"])
      expect(stdout).toMatch(new RegExp(`^ok +${item}: `, "m"));
    expect(exitCode).toBe(0);
    expect(stage.requests.filter((request) => !request.startsWith("GET "))).toEqual([]);
    expect(stage.requests.length).toBeGreaterThan(0);
    expect(callsOf(stage.slurmDir).filter((call) => /^(sbatch|scancel) (?!--version|--test-only)/.test(call))).toEqual(
      [],
    );
    const after = readdirSync(stage.dir, { recursive: true }).filter((name) => !String(name).startsWith("slurm"));
    expect(after).toEqual(before);
    expect(existsSync(stage.stateDir)).toBe(false);
  },
  testMs,
);

test(
  "`check --json` says the same to a program",
  async () => {
    await using stage = await openStage();
    const { exitCode, stdout } = await stage.start("check", "--json").ended();
    const { items } = JSON.parse(stdout) as { items: { item: string; result: string; detail: string }[] };
    expect(exitCode).toBe(0);
    expect(items.map(({ item }) => item)).toEqual(expect.arrayContaining(["configuration", "secret", "Slurm", "EMX2"]));
    expect(items.every(({ result, detail }) => /^(ok|warning|failed)$/.test(result) && detail !== "")).toBe(true);
  },
  testMs,
);

const failing: readonly (readonly [string, string, (stage: Stage) => unknown])[] = [
  ["EMX2 away", "EMX2", (stage) => stage.disconnect()],
  ["a wrong secret", "authentication", (stage) => revokeWorkerCredential(stage.state, stage.workerId)],
  ["the HPC API switched off", "EMX2", (stage) => Object.assign(stage.state.settings, { hpcEnabled: false })],
];

for (const [name, item, prepare] of failing) {
  test(
    `\`check\` with ${name} says so and exits 1`,
    async () => {
      await using stage = await openStage();
      await prepare(stage);
      const { exitCode, stdout, stderr } = await stage.start("check").ended();
      expect(exitCode).toBe(1);
      expect(stdout).toMatch(new RegExp(`^failed +${item}: `, "m"));
      expect(stdout).toMatch(/^ok +tmp_dir/m);
      expect(stdout + stderr).not.toContain(stage.secret);
    },
    testMs,
  );
}

test(
  "`check` without Slurm's commands, tmp_dir or enough room names each with its fix",
  async () => {
    await using stage = await openStage({
      slurm: { bin_dir: "/nonexistent" },
      worker: { min_free_disk: "8000T" },
      apptainer: { tmp_dir: "/nonexistent/jobs" },
    });
    const { exitCode, stdout } = await stage.start("check").ended();
    expect(exitCode).toBe(1);
    for (const item of ["state_dir", "tmp_dir", "Slurm"])
      expect(stdout).toMatch(new RegExp(`^failed +${item}: .*\\n +fix: `, "m"));
  },
  testMs,
);

test(
  "--json-logs gives a JSON object a line, on stderr alone",
  async () => {
    await using stage = await openStage();
    const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
    const run = stage.start("run", "--json-logs", "-v");
    await stage.untilStatus(id, "COMPLETED");
    run.kill();
    const { stdout, stderr } = await run.ended();
    expect(stdout).toBe("");
    const lines = stderr
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) {
      expect(line).toMatchObject({
        level: expect.stringMatching(/^(error|warn|info|debug)$/),
        message: expect.any(String),
      });
      expect(Date.parse(String(line["time"]))).toBeGreaterThan(0);
    }
    expect(lines.some(({ jobId }) => jobId === id)).toBe(true);
  },
  testMs,
);

test(
  "`run` goes on when nobody reads its log any more",
  async () => {
    await using stage = await openStage();
    const script = '"$@" -v 2>&1 | head -c 1 >/dev/null';
    const command = ["bash", "-c", `${script} & wait`, "bash", executable(), "-c", stage.configFile, "run"];
    const { PATH = "/usr/bin:/bin" } = process.env;
    const user = userInfo().username;
    const env = { PATH, HOME: stage.dir, USER: user, LOGNAME: user };
    const shell = Bun.spawn(command, { env, stdout: "ignore", stderr: "ignore", detached: true });
    try {
      await stage.until("it polls", () => stage.requests.some((request) => request.includes("status=PENDING")));
      const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
      await stage.untilStatus(id, "COMPLETED");
      expect(shell.exitCode).toBeNull();
    } finally {
      process.kill(-shell.pid, "SIGKILL");
      await shell.exited;
    }
  },
  testMs,
);
