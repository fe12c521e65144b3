/** `retry`: an upload that fails is sent at once, by the daemon or without one. */
import { expect, test } from "bun:test";
import { committed } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const bytes = 12_000_000;
const profiles = { big: { program: `head -c ${bytes} /dev/zero >"$HPC_OUTPUT_DIR/big.bin"; echo said` } };

/** While it stands, a body of this size dies on its way, and everything else goes well. */
function gateway(stage: Stage) {
  const gate = { sent: 0, isShut: true };
  stage.around = async (request, answer) => {
    if (!/^(PUT|POST)$/.test(request.method) || Number(request.headers.get("content-length")) < bytes) return answer();
    gate.sent += 1;
    return gate.isShut ? new Response("upstream timed out", { status: 504 }) : answer();
  };
  return gate;
}

async function said(stage: Stage, ...args: string[]) {
  const { exitCode, stdout, stderr } = await stage.start(...args).ended(60_000);
  return { exitCode, stdout, stderr };
}

test.each(["2026-02", "2026-05"] as const)(
  "asked for, what %s has not taken is sent at once, and what has ended is not",
  async (generation) => {
    await using stage = await openStage({ generation, profiles: { ...profiles, small: { program: "echo small" } } });
    const gate = gateway(stage);
    const id = stage.submit("big");
    const run = stage.start("run");
    // Then it waits for some seconds, and longer each time.
    await stage.until("it has failed four times", () => gate.sent === 4);
    // One body that does not get through holds up nobody else.
    const other = stage.submit("small");
    await stage.untilStatus(other, "COMPLETED");
    gate.isShut = false;
    // By its whole id: a beginning is looked up in the snapshot, which may be some seconds old.
    const asked = await said(stage, "retry", id);
    expect([asked.exitCode, asked.stderr]).toEqual([0, ""]);
    expect(asked.stdout).toContain(`job ${id} is tried again by process ${run.pid} on `);
    await stage.untilStatus(id, "COMPLETED", 5_000);
    await stage.until("the daemon has closed it", () => run.stderr().includes(`jobId=${id} closed`));
    expect(gate.sent).toBe(5);
    expect(committed(stage, stage.job(id).outputArtifactId).get("big.bin")?.length).toBe(bytes);
    run.kill();
    expect((await run.ended()).exitCode).toBe(0);
    const late = await said(stage, "retry", id);
    expect([late.exitCode, late.stdout, late.stderr]).toEqual([1, "", `job ${id} has ended: reported COMPLETED\n`]);
    const story = await said(stage, "explain", id);
    expect(story.stdout).toContain("to be tried now: asked for by the operator of this worker");
  },
  testMs,
);

test(
  "without a daemon it tries itself, and says how far that came",
  async () => {
    await using stage = await openStage({ profiles });
    const gate = gateway(stage);
    const id = stage.submit("big");
    await stage.until("once has tried", async () => {
      expect((await said(stage, "once")).exitCode).toBe(0);
      return gate.sent > 0;
    });
    gate.isShut = false;
    const asked = await said(stage, "retry", id);
    expect([asked.exitCode, asked.stdout]).toEqual([0, `job ${id} has come to its end: EMX2 says COMPLETED\n`]);
    expect(stage.job(id).status).toBe("COMPLETED");
    const nobody = await said(stage, "retry", "00000000-0000-4000-8000-000000000000");
    expect([nobody.exitCode, nobody.stdout]).toEqual([1, ""]);
    expect((await said(stage, "retry")).exitCode).toBe(2);
  },
  testMs,
);
