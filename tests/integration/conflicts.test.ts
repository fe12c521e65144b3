/** EMX2 and the daemon disagree on a job: the job itself is read, and what it says is done. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StoredJob } from "../../src/emulator/state.ts";
import { cancelJob } from "../../src/emulator/submitter.ts";
import { isTerminal } from "../../src/job/status.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { artifactsOf, committed } from "./committed.ts";
import { openStage, type Stage, statusesOf } from "./harness.ts";

const testMs = 60_000;
const profiles = {
  gate: {
    program:
      'echo begun; for i in $(seq 400); do [ ! -e "$HPC_WORK_DIR/go" ] || break; sleep 0.1; done; printf x >"$HPC_OUTPUT_DIR/x"',
  },
};
const atEnd = (stage: Stage) => existsSync(join(stage.slurmDir, "jobs/1.end"));
const endOf = (stage: Stage) => readFileSync(join(stage.slurmDir, "jobs/1.end"), "utf8").split("\t")[1];
const goOn = (stage: Stage, id: string) => writeFileSync(join(stage.jobsDir, id, "work/go"), "");

/** What the daemon has sent about the job since `from`. */
function sent({ requests }: Stage, id: string, from: number): string[] {
  return requests.slice(from).filter((line) => line.startsWith("POST") && line.includes(`/jobs/${id}/`));
}

describe("EMX2 moves on from a job that runs: our run is ended, nothing more is said, and it is a warning", () => {
  const moves: readonly (readonly [string, string, (stage: Stage, job: StoredJob) => void])[] = [
    ["it was deleted", "server-deleted", (stage, job) => void stage.state.jobs.delete(job.id)],
    ["it was given to another worker", "other-worker", (_, job) => void Object.assign(job, { workerId: "another" })],
    ["it has ended there", "server-ended", (_, job) => void Object.assign(job, { status: "FAILED", completedAt: 1 })],
  ];
  test.each(moves)(
    "%s",
    async (_, by, move) => {
      await using stage = await openStage({ profiles });
      const id = stage.submit("gate");
      const run = stage.start("run");
      await stage.untilStatus(id, "STARTED");
      const before = stage.requests.length;
      move(stage, stage.job(id));
      await stage.until("Slurm has ended it", () => atEnd(stage));
      expect(endOf(stage)).toBe("CANCELLED");
      await stage.until("it is closed", () => / closed /.test(run.stderr()));
      expect(run.stderr()).toMatch(new RegExp(` warn .*to be ended by=${by}`));
      expect(sent(stage, id, before)).toEqual([]);
      expect(callsOf(stage.slurmDir, "scancel")[0]).toContain(`--name=emx2-${id}`);
      expect(artifactsOf(stage, "output", id)).toEqual([]);
    },
    testMs,
  );
});

describe("cancelled at EMX2", () => {
  test(
    "scancel is repeated until Slurm shows the run gone",
    async () => {
      await using stage = await openStage({ profiles });
      const id = stage.submit("gate");
      stage.start("run");
      await stage.untilStatus(id, "STARTED");
      writeFileSync(join(stage.slurmDir, "fail-scancel"), "1\nscancel: error: Unable to contact slurm controller\n");
      cancelJob(stage.state, id);
      await stage.until("it was tried thrice", () => callsOf(stage.slurmDir, "scancel").length >= 3);
      expect(atEnd(stage)).toBe(false);
      rmSync(join(stage.slurmDir, "fail-scancel"));
      await stage.until("Slurm has ended it", () => atEnd(stage), 40_000);
      expect(stage.job(id).status).toBe("CANCELLED");
    },
    testMs,
  );

  test(
    "while the answer of sbatch is not known: the run is found, and ended",
    async () => {
      await using stage = await openStage({ profiles });
      writeFileSync(join(stage.slurmDir, "hold"), "");
      writeFileSync(join(stage.slurmDir, "fail-after-sbatch"), "1\nsbatch: error: Socket timed out on send/recv\n");
      writeFileSync(
        join(stage.slurmDir, "fail-squeue"),
        "1\nslurm_load_jobs error: Unable to contact slurm controller\n",
      );
      const id = stage.submit("gate");
      const run = stage.start("run");
      await stage.until("the answer is lost", () => callsOf(stage.slurmDir, "sbatch").length === 1);
      cancelJob(stage.state, id);
      await stage.until("the cancel is seen", () => run.stderr().includes("by=server-cancelled"));
      rmSync(join(stage.slurmDir, "fail-squeue"));
      await stage.until("Slurm has ended it", () => atEnd(stage), 40_000);
      expect(endOf(stage)).toBe("CANCELLED");
      expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(1);
      expect(stage.ledger()).toEqual([]);
    },
    testMs,
  );

  test(
    "while its log goes up: no output follows, and nothing but CANCELLED is said",
    async () => {
      await using stage = await openStage({ profiles });
      const id = stage.submit("gate");
      const run = stage.start("run");
      await stage.untilStatus(id, "STARTED");
      let held: (() => void) | undefined;
      stage.around = (request, answer) => {
        if (request.method !== "PUT" || held) return answer();
        return new Promise<void>((resolve) => {
          held = resolve;
        }).then(answer);
      };
      goOn(stage, id);
      await stage.until("its log goes up", () => held);
      cancelJob(stage.state, id);
      await stage.until("the cancel is seen", () => run.stderr().includes("by=server-cancelled"));
      held?.();
      await stage.until("it is closed", () => / closed /.test(run.stderr()));
      expect(artifactsOf(stage, "output", id)).toEqual([]);
      expect(stage.job(id).transitions.map(({ to }) => to)).not.toContain("COMPLETED");
      expect(callsOf(stage.slurmDir, "scancel")).toEqual([]);
    },
    testMs,
  );
});

describe("EMX2 was restored from a backup, and is behind what it was told", () => {
  const backups: readonly (readonly [string, Partial<StoredJob>, string[]])[] = [
    ["of when it was claimed", { status: "CLAIMED", submittedAt: null, startedAt: null }, ["SUBMITTED", "STARTED"]],
    ["of when it was submitted", { status: "SUBMITTED", startedAt: null }, ["STARTED"]],
    [
      "of when it was pending",
      { status: "PENDING", workerId: null, claimedAt: null, submittedAt: null, startedAt: null },
      ["CLAIMED", "SUBMITTED", "STARTED"],
    ],
  ];
  test.each(backups)(
    "%s: what is missing is said again in order, the run goes on, and its end is said once",
    async (_, backup, missing) => {
      await using stage = await openStage({ profiles });
      const id = stage.submit("gate");
      stage.start("run");
      await stage.untilStatus(id, "STARTED");
      const told = stage.job(id).transitions.length;
      Object.assign(stage.job(id), backup, { slurmJobId: null });
      await stage.untilStatus(id, "STARTED");
      expect(
        stage
          .job(id)
          .transitions.slice(told)
          .map(({ to }) => to),
      ).toEqual(missing as StoredJob["status"][]);
      goOn(stage, id);
      await stage.untilStatus(id, "COMPLETED");
      expect(stage.job(id).transitions.filter(({ to }) => isTerminal(to))).toHaveLength(1);
      expect(stage.job(id).slurmJobId).toBe(missing.includes("SUBMITTED") ? "1" : null);
      expect(stage.ledger()).toEqual([id]);
      expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(1);
      expect(callsOf(stage.slurmDir, "scancel")).toEqual([]);
    },
    testMs,
  );

  test(
    "while the outputs of a job went up: they go into another artifact, and the job completes",
    async () => {
      await using stage = await openStage({ profiles });
      const id = stage.submit("gate");
      stage.start("run");
      await stage.untilStatus(id, "STARTED");
      const isOutput = (name: string | null) => name === `output-${id.slice(0, 8)}`;
      let forgotten = 0;
      stage.around = (request, answer) => {
        const made = [...stage.state.artifacts.values()].find(({ name }) => isOutput(name));
        if (request.method === "PUT" && made && forgotten === 0) {
          forgotten += 1;
          stage.state.artifacts.delete(made.id);
          Object.assign(stage.job(id), { status: "CLAIMED", submittedAt: null, startedAt: null });
        }
        return answer();
      };
      goOn(stage, id);
      await stage.untilStatus(id, "COMPLETED");
      expect(forgotten).toBe(1);
      expect(artifactsOf(stage, "output", id).map(({ status }) => status)).toEqual(["COMMITTED"]);
      expect(statusesOf(stage.job(id)).slice(-3)).toEqual(["SUBMITTED", "STARTED", "COMPLETED"]);
    },
    testMs,
  );
});

test.each(["before", "after"] as const)(
  "a form upload (2026-02) whose answer is lost %s EMX2 has acted: the file is there once, and its artifact committed",
  async (when) => {
    const bytes = 10_500_000;
    const program = `head -c ${bytes} /dev/zero >"$HPC_OUTPUT_DIR/large.bin"`;
    await using stage = await openStage({ generation: "2026-02", profiles: { large: { program } } });
    const id = stage.submit("large");
    let lost = 0;
    stage.around = async (request, answer) => {
      if (request.method !== "POST" || !request.url.endsWith("/files") || lost > 0) return answer();
      lost += 1;
      if (when === "after") await answer();
      throw new Error("cut");
    };
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", 40_000);
    expect(lost).toBe(1);
    expect(committed(stage, stage.job(id).outputArtifactId).get("large.bin")?.length).toBe(bytes);
    expect(stage.ledger()).toEqual([id]);
  },
  testMs,
);
