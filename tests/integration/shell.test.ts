/** `--backend shell`: programs that run on this machine, and daemons that come and go meanwhile. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { cancelJob } from "../../src/emulator/submitter.ts";
import { artifactsOf, committed } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";
import { straysOf } from "./strays.ts";

const testMs = 60_000;
const shell = ["--backend", "shell"] as const;
const inOrder = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED"];
const input = { files: [{ path: "a.txt", content: "hello" }] };
/** Is STARTED until its test lets it go on. */
const waits =
  'until [ -e "$HPC_WORK_DIR/go" ]; do sleep 0.05; done; cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"';
/** Ends when it is told to; its child does not hear. */
const childStays = "(trap '' TERM; while :; do sleep 0.1; done) & while :; do sleep 0.1; done";

function letGo(stage: Stage, id: string): Promise<number> {
  return Bun.write(join(stage.jobsDir, id, "work", "go"), "now");
}

function endOf(stage: Stage, id: string): string {
  return stage.job(id).transitions.at(-1)?.detail ?? "";
}

function logOf(stage: Stage, id: string, ending: "out" | "err"): string {
  const { logArtifactId, slurmJobId } = stage.job(id);
  return new TextDecoder().decode(committed(stage, logArtifactId).get(`slurm-${slurmJobId}.${ending}`));
}

function expectCopied(stage: Stage, id: string): void {
  const job = stage.job(id);
  expect(statusesOf(job)).toEqual([...inOrder, "COMPLETED"]);
  expect(new TextDecoder().decode(committed(stage, job.outputArtifactId).get("copy.bin"))).toBe("hello");
  expect(artifactsOf(stage, "output", id)).toHaveLength(1);
}

/** Nothing of this job runs any more. */
function isGone(stage: Stage, id: string): boolean {
  return straysOf(join(stage.jobsDir, id)).length === 0;
}

/** Programs that run, and what they have forked: those bear their names. */
function childrenOf(stage: Stage): string[] {
  return straysOf(join(stage.dir, "programs")).map(({ command }) => command);
}

test(
  "several jobs at once: each ends in its own way, and none knows of another",
  async () => {
    const profiles = {
      copy: { program: waits },
      fail: { program: "echo words; echo wrong >&2; exit 3" },
      prelude: { program: 'echo "$FROM_PRELUDE" >"$HPC_OUTPUT_DIR/said"', prelude: ["export FROM_PRELUDE=heard"] },
    };
    // What is Slurm's alone changes nothing here.
    const slurmOnly = { partition: "nowhere", account: "nobody", memory: "999T", sbatch_args: ["--constraint=none"] };
    await using stage = await openStage({ profiles: { ...profiles, copy: { ...profiles.copy, ...slurmOnly } } });
    const copies = Array.from({ length: 4 }, () => stage.submit("copy", input));
    stage.start("run", ...shell);
    await Promise.all(copies.map((id) => stage.untilStatus(id, "STARTED")));
    const [failing, prelude] = [stage.submit("fail"), stage.submit("prelude")];
    await stage.untilStatus(failing, "FAILED");
    await stage.untilStatus(prelude, "COMPLETED");
    expect(endOf(stage, failing)).toMatch(/^slurm_state=FAILED; exit_code=3:0; node=\S+; elapsed=00:00:0\d/);
    expect(endOf(stage, failing)).toContain("wrong");
    expect([logOf(stage, failing, "out"), logOf(stage, failing, "err")]).toEqual(["words\n", "wrong\n"]);
    const { outputArtifactId } = stage.job(prelude);
    expect(new TextDecoder().decode(committed(stage, outputArtifactId).get("said"))).toBe("heard\n");
    expect(copies.map((id) => stage.job(id).status)).toEqual(copies.map(() => "STARTED"));
    await Promise.all(copies.map((id) => letGo(stage, id)));
    await Promise.all(copies.map((id) => stage.untilStatus(id, "COMPLETED")));
    for (const id of copies) expectCopied(stage, id);
    expect(stage.ledger().sort()).toEqual([...copies, failing, prelude].sort());
  },
  testMs,
);

test(
  "of a cancelled program a child that ignores TERM is killed, by the daemon that comes after",
  async () => {
    await using stage = await openStage({ profiles: { parent: { program: childStays } } });
    const id = stage.submit("parent");
    const first = stage.start("run", ...shell);
    await stage.untilStatus(id, "STARTED");
    cancelJob(stage.state, id);
    const stop = join(stage.jobsDir, id, ".emx2", "stop.a1.0");
    await stage.until("it has been told to end", () => existsSync(stop));
    first.kill("SIGKILL");
    await first.ended();
    await stage.until("the program has ended", () => isGone(stage, id));
    expect(childrenOf(stage)).toHaveLength(1);
    stage.start("run", ...shell);
    const log = await stage.until("its log is committed", () => artifactsOf(stage, "log", id)[0]);
    await stage.until("EMX2 is told where the log is", () => endOf(stage, id).includes(log.id));
    expect(childrenOf(stage)).toEqual([]);
    expect(stage.job(id).status).toBe("CANCELLED");
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);

test(
  "the profile's time ends a program, and the report says so",
  async () => {
    const program = "trap 'echo saved; exit 0' TERM; while :; do sleep 0.1; done";
    await using stage = await openStage({ profiles: { long: { program, time: "00:00:02" } } });
    const id = stage.submit("long");
    stage.start("run", ...shell);
    await stage.untilStatus(id, "FAILED");
    expect(endOf(stage, id)).toMatch(
      /^slurm_state=TIMEOUT; exit_code=0:0; reason=TimeLimit; node=\S+; elapsed=00:00:0[2-9]/,
    );
    expect(logOf(stage, id, "out")).toBe("saved\n");
  },
  testMs,
);

test(
  "a time that is over while no daemon runs ends the program when one is back",
  async () => {
    const program = "trap 'exit 7' TERM; while :; do sleep 0.1; done";
    await using stage = await openStage({ profiles: { long: { program, time: "00:00:02" } } });
    const id = stage.submit("long");
    const first = stage.start("run", ...shell);
    await stage.untilStatus(id, "STARTED");
    first.kill("SIGKILL");
    await first.ended();
    const began = readdirSync(join(stage.jobsDir, id, ".emx2")).find((name) => name.startsWith("began."));
    const { startedAt } = JSON.parse(readFileSync(join(stage.jobsDir, id, ".emx2", began ?? ""), "utf8"));
    await stage.until("its time is over", () => systemClock.wall() > startedAt + 2_500);
    expect(isGone(stage, id)).toBe(false);
    stage.start("run", ...shell);
    await stage.untilStatus(id, "FAILED");
    expect(endOf(stage, id)).toStartWith("slurm_state=TIMEOUT; exit_code=7:0; reason=TimeLimit");
  },
  testMs,
);

test(
  "a daemon that is killed while programs run ends none: the next one finds each, and brings all of it back",
  async () => {
    await using stage = await openStage({ profiles: { copy: { program: waits } } });
    const ids = [stage.submit("copy", input), stage.submit("copy", input)] as const;
    const first = stage.start("run", ...shell);
    await Promise.all(ids.map((id) => stage.untilStatus(id, "STARTED")));
    first.kill("SIGKILL");
    expect((await first.ended()).exitCode).toBe(137);
    // One ends while nobody looks, the other goes on.
    await letGo(stage, ids[0]);
    const receipt = join(stage.jobsDir, ids[0], ".emx2", "exit.a1.0");
    await stage.until("the first has ended", () => existsSync(receipt));
    expect(isGone(stage, ids[1])).toBe(false);
    stage.start("run", ...shell);
    await stage.untilStatus(ids[0], "COMPLETED");
    expect(stage.job(ids[1]).status).toBe("STARTED");
    await letGo(stage, ids[1]);
    await stage.untilStatus(ids[1], "COMPLETED");
    for (const id of ids) expectCopied(stage, id);
    expect(stage.ledger().sort()).toEqual([...ids].sort());
  },
  testMs,
);

test(
  "a daemon that is killed as it submits, again and again: each program runs once",
  async () => {
    const program = 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"';
    await using stage = await openStage({ profiles: { copy: { program } } });
    const ids: string[] = [];
    const submitting = (id: string) => existsSync(join(stage.jobsDir, id, ".emx2", "job.sh"));
    for (let life = 0; life < 5; life++) {
      const id = stage.submit("copy", input);
      ids.push(id);
      const daemon = stage.start("run", ...shell);
      await stage.until("its script is written", () => submitting(id));
      daemon.kill("SIGKILL");
      await daemon.ended();
    }
    stage.start("run", ...shell);
    for (const id of ids) await stage.untilStatus(id, "COMPLETED", 90_000);
    for (const id of ids) expectCopied(stage, id);
    expect(stage.ledger().sort()).toEqual([...ids].sort());
  },
  testMs * 2,
);

test(
  "`once` by `once`: a program outlives the call that started it, and a later one brings its outputs back",
  async () => {
    await using stage = await openStage({ profiles: { copy: { program: waits } } });
    const id = stage.submit("copy", input);
    const once = async () => expect((await stage.start("once", ...shell).ended()).exitCode).toBe(0);
    await stage.until("it runs", async () => {
      await once();
      return stage.job(id).status === "STARTED";
    });
    expect(isGone(stage, id)).toBe(false);
    await letGo(stage, id);
    await stage.until("it is COMPLETED", async () => {
      await once();
      return stage.job(id).status === "COMPLETED";
    });
    expectCopied(stage, id);
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);
