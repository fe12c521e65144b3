/**
 * The state's disk is full: the limit on the size of files (RLIMIT_FSIZE, set from outside by prlimit of util-linux) makes
 * each write of the journal fail as a full disk does.
 */
import { expect, test } from "bun:test";
import { openStage } from "./harness.ts";

const testMs = 60_000;

function limitFiles(pid: number, bytes: number | "unlimited"): void {
  const { exitCode, stderr } = Bun.spawnSync(["prlimit", "--pid", String(pid), `--fsize=${bytes}:`], {
    stderr: "pipe",
  });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

test(
  "a `run` whose state can not be written stays, says so, lets EMX2 know that it lives, and ends in order",
  async () => {
    await using stage = await openStage();
    const run = stage.start("run");
    await stage.until("it is registered", () => run.stderr().includes("registered at EMX2"));
    limitFiles(run.pid, 100);
    const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
    await stage.until("it has said so", () => / error .*the state can not be written.*disk full/.test(run.stderr()));
    await stage.until("EMX2 has heard of it", () => stage.requests.some((request) => request.endsWith("/heartbeat")));
    expect(stage.ledger()).toEqual([]);
    expect(run.exitCode()).toBeUndefined();
    run.kill("SIGTERM");
    const { exitCode, stderr } = await run.ended();
    expect([exitCode, stderr]).toEqual([0, expect.not.stringContaining("bug of ours")]);

    const again = stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    again.kill("SIGTERM");
    await again.ended();
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);
