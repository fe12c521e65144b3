/** While its transfers last, `once` goes on watching: cancellations, requests, heartbeats. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cancelJob } from "../../src/emulator/submitter.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const input = { files: [{ path: "a.txt", content: "hello" }] };
const profiles = {
  copy: { program: 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"' },
  long: { program: "sleep 60" },
};

/** Holds what `wanted` matches until it is told to let go. */
function hold(stage: Stage, wanted: RegExp): { letGo(): void; readonly held: () => number } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let held = 0;
  stage.around = async (request, answer) => {
    if (wanted.test(`${request.method} ${request.url}`)) {
      held += 1;
      await promise;
    }
    return answer();
  };
  return { letGo: resolve, held: () => held };
}

/** A `once` that is held by the input of a job, while two other jobs run in Slurm. */
async function heldByAnInput(stage: Stage): Promise<{ once: Program; long: string; other: string; letGo: () => void }> {
  const { letGo, held } = hold(stage, /^GET .*\/files\/.+$/);
  const [long, other] = [stage.submit("long"), stage.submit("long")];
  stage.submit("copy", input);
  const once = stage.start("once");
  await stage.until("an input is being fetched", () => held() > 0);
  await stage.untilStatus(long, "STARTED");
  await stage.untilStatus(other, "STARTED");
  expect(once.exitCode()).toBeUndefined();
  return { once, long, other, letGo };
}

async function endsWell(once: Program): Promise<void> {
  const { exitCode, stderr } = await once.ended();
  expect([exitCode, stderr.includes("bug")]).toEqual([0, false]);
}

test(
  "a job that is cancelled at EMX2 meanwhile is ended in Slurm, and heartbeats go out",
  async () => {
    await using stage = await openStage({ profiles, worker: { heartbeat_interval_seconds: 0.3 } });
    const { once, long, other, letGo } = await heldByAnInput(stage);
    const beats = () => stage.requests.filter((request) => request.includes("heartbeat")).length;
    const before = beats();
    cancelJob(stage.state, long);
    await stage.until("Slurm has ended one of them", () =>
      ["1", "2"].some((id) => existsSync(join(stage.slurmDir, "jobs", `${id}.end`))),
    );
    await stage.until("two heartbeats went out", () => beats() >= before + 2);
    expect(once.exitCode()).toBeUndefined();
    letGo();
    await endsWell(once);
    expect(stage.job(long).status).toBe("CANCELLED");
    expect(stage.job(other).status).toBe("STARTED");
  },
  testMs,
);

test(
  "an upload whose job is cancelled at EMX2 meanwhile ends, and `once` with it",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("copy", input);
    const { letGo, held } = hold(stage, /^PUT .*\/copy\.bin$/);
    let once = stage.start("once");
    await stage.until("its output goes up", () => {
      if (once.exitCode() === 0) once = stage.start("once");
      return held() > 0;
    });
    cancelJob(stage.state, id);
    await endsWell(once);
    letGo();
    expect(statusesOf(stage.job(id)).at(-1)).toBe("CANCELLED");
    expect(stage.job(id).outputArtifactId).toBeNull();
  },
  testMs,
);

test(
  "a request is taken meanwhile",
  async () => {
    await using stage = await openStage({ profiles });
    const { once, long, letGo } = await heldByAnInput(stage);
    const stdout = await stage.until("it has published what it knows", async () => {
      const answer = await stage.start("cancel", long).ended();
      return answer.exitCode === 0 ? answer.stdout : undefined;
    });
    expect(stdout).toContain(`is being ended by process ${once.pid} on `);
    await stage.untilStatus(long, "CANCELLED");
    letGo();
    await endsWell(once);
  },
  testMs,
);
