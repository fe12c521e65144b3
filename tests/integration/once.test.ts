import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { callsOf } from "../fake-slurm/install.ts";
import { committed } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const quietMs = 500;

/** Holds whatever PUT comes, until it is told to let go. */
function holdUploads(stage: Stage): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.around = async (request, answer) => {
    if (request.method === "PUT") await promise;
    return answer();
  };
  return resolve;
}

/** `once` gets there by several calls, the last of which is in the upload. */
async function untilUploading(stage: Stage, command: "once" | "run"): Promise<Program> {
  let running = stage.start(command);
  await stage.until("an upload is under way", () => {
    if (command === "once" && running.exitCode() === 0) running = stage.start(command);
    return stage.requests.some((request) => request.startsWith("PUT "));
  });
  return running;
}

/** Everything that another instance could have changed. */
function whatIsThere(stage: Stage) {
  const journal = readFileSync(join(stage.stateDir, "journal.db"));
  return { journal: journal.toString("base64"), requests: [...stage.requests], calls: callsOf(stage.slurmDir) };
}

/** What a stopped instance had sent before it stopped may still be on its way. */
async function whatStays(stage: Stage) {
  let before = whatIsThere(stage);
  for (;;) {
    await Bun.sleep(quietMs);
    const now = whatIsThere(stage);
    if (Bun.deepEquals(now, before)) return now;
    before = now;
  }
}

test(
  "successive `once` calls take a job through its whole life, each call ending by itself",
  async () => {
    await using stage = await openStage();
    const id = stage.submit("copy", { files: [{ path: "a.bin", content: new Uint8Array(20_000_000).fill(7) }] });
    const seen: string[] = [];
    for (let call = 0; call < 10 && stage.job(id).status !== "COMPLETED"; call++) {
      const { exitCode } = await stage.start("once").ended();
      expect(exitCode).toBe(0);
      seen.push(stage.job(id).status);
      if (seen.length === 1) await stage.until("the workload has run", () => stage.ledger().length === 1);
    }
    expect(seen[0]).toBe("SUBMITTED");
    expect(seen.at(-1)).toBe("COMPLETED");
    expect(statusesOf(stage.job(id))).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
    expect([...committed(stage, stage.job(id).outputArtifactId).values()][0]?.length).toBe(20_000_000);
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);

test(
  "`once` does not wait for a job to end",
  async () => {
    await using stage = await openStage({ profiles: { long: { program: "sleep 30" } } });
    const id = stage.submit("long");
    for (let call = 0; call < 3; call++) {
      const { exitCode, afterMs } = await stage.start("once").ended();
      expect([exitCode, afterMs < 10_000]).toEqual([0, true]);
    }
    expect(stage.job(id).status).toBe("STARTED");
  },
  testMs,
);

for (const [first, second] of [
  ["once", "once"],
  ["run", "once"],
  ["run", "run"],
] as const) {
  test(
    `\`${second}\` beside a running \`${first}\` exits 75 at once and changes nothing`,
    async () => {
      await using stage = await openStage();
      const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
      const letGo = holdUploads(stage);
      const running = await untilUploading(stage, first);
      running.kill("SIGSTOP");
      const before = await whatStays(stage);
      const { exitCode, stderr, afterMs } = await stage.start(second).ended();
      expect(whatIsThere(stage)).toEqual(before);
      expect(exitCode).toBe(75);
      expect(stderr).toContain("another instance holds this state");
      expect(afterMs).toBeLessThan(5_000);
      running.kill("SIGCONT");
      letGo();
      await stage.untilStatus(id, "COMPLETED");
    },
    testMs,
  );
}

test(
  "`once --wait` takes over as soon as the other one ends, and gives up when it does not",
  async () => {
    await using stage = await openStage();
    const letGo = holdUploads(stage);
    const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
    const first = await untilUploading(stage, "run");
    const impatient = await stage.start("once", "--wait", "1").ended();
    expect(impatient.exitCode).toBe(75);
    expect(impatient.afterMs).toBeGreaterThan(1_000);

    const patient = stage.start("once", "--wait", "60");
    first.kill("SIGTERM");
    expect((await first.ended()).exitCode).toBe(0);
    letGo();
    expect((await patient.ended()).exitCode).toBe(0);
    await stage.untilStatus(id, "COMPLETED", 0);
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);

test(
  "`once` without EMX2 exits 69 after it has looked after what runs",
  async () => {
    await using stage = await openStage({ profiles: { long: { program: "sleep 1" } } });
    const id = stage.submit("long");
    expect((await stage.start("once").ended()).exitCode).toBe(0);
    await stage.disconnect();
    const squeues = callsOf(stage.slurmDir, "squeue").length;
    expect((await stage.start("once").ended(40_000)).exitCode).toBe(69);
    expect(callsOf(stage.slurmDir, "squeue").length).toBeGreaterThan(squeues);
    await stage.reconnect();
    await stage.until("the job is COMPLETED", async () => {
      expect((await stage.start("once").ended()).exitCode).toBe(0);
      return stage.job(id).status === "COMPLETED";
    });
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);

test(
  "`run` without EMX2 at the start waits for it and goes on",
  async () => {
    await using stage = await openStage();
    const id = stage.submit("copy", { files: [{ path: "a.txt", content: "a" }] });
    await stage.disconnect();
    const run = stage.start("run");
    await stage.until("it has said that EMX2 does not answer", () => run.stderr().includes("EMX2 can not be asked"));
    expect(run.exitCode()).toBeUndefined();
    await stage.reconnect();
    await stage.untilStatus(id, "COMPLETED");
  },
  testMs,
);
