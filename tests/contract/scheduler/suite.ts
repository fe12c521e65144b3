/**
 * What every scheduler must hold to. `schedulerContract` runs the suite for one of them; what only one that really runs
 * programs can show is in `workloadContract`. A job here is a host profile that runs `sh -c PROGRAM`.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { type Profile, profileDefaults } from "../../../src/job/profile.ts";
import { type RunRef, runName, type SchedulerRow } from "../../../src/job/run.ts";
import { controlFiles } from "../../../src/job/script.ts";
import type { Scheduler } from "../../../src/scheduler/scheduler.ts";

export interface Subject {
  readonly name: string;
  /** Called once, with an empty directory: returns what makes schedulers, each as after a restart of the daemon. */
  setUp(dir: string): () => Scheduler;
  /** Hands a job directory over to the user whose jobs these are. */
  handOver?(jobDir: string): void;
  readonly patienceMs: number;
}

export const hostProfile: Profile = {
  ...{ key: "shell:p", processor: "shell", profile: "p", workload: { kind: "host", entrypoint: "sh" } },
  ...{ ...profileDefaults, allowedEnvironment: ["*"] },
};

const never = new AbortController().signal;
const pollMs = 50;

/** A job directory as the daemon makes it, ready to be submitted. */
export function writeRun(subject: Subject, base: string, program: string): RunRef {
  const jobId = `job-${systemClock.uuid()}`;
  const dir = join(base, jobId);
  for (const part of [".emx2", "input", "output", "work", "scratch"]) mkdirSync(join(dir, part), { recursive: true });
  const script = controlFiles({
    ...{ jobId, dir, profile: hostProfile, apptainer: { command: "apptainer", binds: [] }, sealMs: 60_000 },
    parametersText: JSON.stringify({ args: ["-c", program] }),
  });
  if (script.is === "refused") throw new Error(script.cause);
  for (const { name, content, executable } of script.files) {
    writeFileSync(join(dir, ".emx2", name), content);
    chmodSync(join(dir, ".emx2", name), executable ? 0o700 : 0o600);
  }
  subject.handOver?.(dir);
  return { jobId, attempt: "a1", name: runName(jobId), dir, notBefore: systemClock.wall() };
}

interface Stage {
  scheduler(): Scheduler;
  run(program: string): RunRef;
  submitted(run: RunRef): Promise<RunRef & { readonly schedulerId: string }>;
  row(run: RunRef, scheduler?: Scheduler): Promise<SchedulerRow | null | undefined>;
  until(what: string, holds: () => Promise<boolean> | boolean): Promise<void>;
  ended(run: RunRef): Promise<SchedulerRow>;
}

/** Directories and schedulers for one describe block. */
function stage(subject: Subject): Stage {
  let base = "";
  let make: () => Scheduler;
  let scheduler: Scheduler;
  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), "emx2-scheduler-"));
    chmodSync(base, 0o755);
    make = subject.setUp(base);
    scheduler = make();
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  const row = async (run: RunRef, asked = scheduler) => {
    const answer = await asked.states([run], never);
    return answer.is === "answered" ? answer.rows.get(run.jobId) : undefined;
  };
  const until = async (what: string, holds: () => Promise<boolean> | boolean) => {
    const deadline = systemClock.mono() + subject.patienceMs;
    while (!(await holds())) {
      if (systemClock.mono() > deadline) throw new Error(`not within ${subject.patienceMs} ms: ${what}`);
      await systemClock.sleep(pollMs);
    }
  };
  return {
    scheduler: () => make(),
    run: (program) => writeRun(subject, base, program),
    async submitted(run) {
      const answer = await scheduler.submit(run, hostProfile, never);
      if (answer.is !== "submitted") throw new Error(`${answer.is}: ${answer.cause}`);
      return { ...run, schedulerId: answer.schedulerId };
    },
    row,
    until,
    async ended(run) {
      let last: SchedulerRow | null | undefined;
      await until(`${run.name} has ended`, async () => {
        last = await row(run);
        return ["COMPLETED", "FAILED", "CANCELLED"].includes(last?.state ?? "");
      });
      return last as SchedulerRow;
    },
  };
}

export function schedulerContract(subject: Subject): void {
  describe(subject.name, () => {
    const on = stage(subject);
    const limit = subject.patienceMs * 2;

    test(
      "a submitted run is shown under the id that was given, and ends COMPLETED",
      async () => {
        const run = await on.submitted(on.run("true"));
        const row = await on.ended(run);
        expect(row).toMatchObject({ schedulerId: run.schedulerId, name: run.name, state: "COMPLETED" });
        const receipt = JSON.parse(readFileSync(join(run.dir, ".emx2", "exit.a1.0"), "utf8"));
        expect(receipt).toMatchObject({ v: 1, attempt: "a1", job: run.schedulerId, restart: 0, how: "exit", exit: 0 });
      },
      limit,
    );

    test(
      "a run that was never submitted is absent",
      async () => {
        const run = on.run("true");
        await on.until("an answer", async () => (await on.scheduler().find(run, never)).is === "absent");
        await on.until("an answer", async () => (await on.row(run)) === null);
      },
      limit,
    );

    test(
      "a run is found again by a scheduler that was not told its id, before and after its end",
      async () => {
        const run = on.run("true");
        const submitted = await on.submitted(run);
        const found = { is: "found", schedulerId: submitted.schedulerId } as const;
        await on.until("it is found", async () => (await on.scheduler().find(run, never)).is === "found");
        expect(await on.scheduler().find(run, never)).toEqual(found);
        await on.ended(submitted);
        expect(await on.scheduler().find(run, never)).toEqual(found);
        expect(await on.row(submitted, on.scheduler())).toMatchObject({ state: "COMPLETED" });
      },
      limit,
    );

    test(
      "a cancelled run ends CANCELLED, and cancelling it again is no fault",
      async () => {
        const run = await on.submitted(on.run("exec sleep 60"));
        await on.until("it runs", async () => (await on.row(run))?.state === "RUNNING");
        expect(await on.scheduler().cancel(run, never)).toEqual({ is: "asked" });
        expect((await on.ended(run)).state).toBe("CANCELLED");
        expect(await on.scheduler().cancel(run, never)).toEqual({ is: "asked" });
        expect((await on.ended(run)).state).toBe("CANCELLED");
      },
      limit,
    );

    test(
      "the end of one run is nothing to another",
      async () => {
        const waits = "while [ ! -e go ]; do sleep 0.1; done";
        const [ended, other] = [await on.submitted(on.run(waits)), await on.submitted(on.run(waits))];
        await on.until("it runs", async () => (await on.row(ended))?.state === "RUNNING");
        await on.scheduler().cancel(ended, never);
        expect((await on.ended(ended)).state).toBe("CANCELLED");
        writeFileSync(join(other.dir, "work", "go"), "");
        expect((await on.ended(other)).state).toBe("COMPLETED");
        expect((await on.ended(ended)).state).toBe("CANCELLED");
      },
      limit,
    );

    test(
      "cancelling a run that was never submitted is no fault",
      async () => {
        expect(await on.scheduler().cancel(on.run("true"), never)).toEqual({ is: "asked" });
      },
      limit,
    );

    test(
      "an answer names every run that was asked for, each with its own row",
      async () => {
        const [first, second] = [await on.submitted(on.run("true")), await on.submitted(on.run("true"))];
        const unknown = on.run("true");
        await Promise.all([on.ended(first), on.ended(second)]);
        await on.until("a whole answer", async () => {
          const answer = await on.scheduler().states([first, unknown, second], never);
          if (answer.is !== "answered" || answer.rows.size < 3) return false;
          expect(answer.rows.get(first.jobId)?.schedulerId).toBe(first.schedulerId);
          expect(answer.rows.get(second.jobId)?.name).toBe(second.name);
          expect(answer.rows.get(unknown.jobId)).toBeNull();
          return true;
        });
        expect(await on.scheduler().states([], never)).toEqual({ is: "answered", rows: new Map() });
      },
      limit,
    );
  });
}

export function workloadContract(subject: Subject): void {
  describe(`${subject.name}, running programs`, () => {
    const on = stage(subject);
    const limit = subject.patienceMs * 2;

    test(
      "a program's exit code is in the receipt, its output in the log files named by the id",
      async () => {
        const run = await on.submitted(on.run("echo words; echo wrong >&2; exit 3"));
        expect((await on.ended(run)).state).toBe("FAILED");
        const control = (name: string) => readFileSync(join(run.dir, ".emx2", name), "utf8");
        expect(JSON.parse(control("exit.a1.0"))).toMatchObject({ exit: 3, how: "exit", signal: null });
        expect(control(`slurm-${run.schedulerId}.out`)).toBe("words\n");
        expect(control(`slurm-${run.schedulerId}.err`)).toBe("wrong\n");
      },
      limit,
    );

    test(
      "a submission that is repeated runs the program once",
      async () => {
        const run = on.run('echo "$EMX2_JOB_ID" >>"$HPC_OUTPUT_DIR/../ledger"');
        const ids = [await on.submitted(run), await on.submitted(run)].map((ref) => ref.schedulerId);
        await on.until("one has lost the lease", () =>
          ids.some((id) => existsSync(join(run.dir, ".emx2", `lost.a1.${id}.0`))),
        );
        await on.until("the other has ended", () => existsSync(join(run.dir, ".emx2", "exit.a1.0")));
        expect(readFileSync(join(run.dir, "ledger"), "utf8")).toBe(`${run.jobId}\n`);
        const found = await on.scheduler().find(run, never);
        const lease = JSON.parse(readFileSync(join(run.dir, ".emx2", "exit.a1.0"), "utf8")).job;
        expect(found).toEqual({ is: "found", schedulerId: lease });
      },
      limit,
    );

    test(
      "a run that starts after its attempt was closed touches nothing",
      async () => {
        const run = on.run('echo ran >"$HPC_OUTPUT_DIR/ran"');
        symlinkSync("closed", join(run.dir, ".emx2", "lease.a1"));
        const { schedulerId } = await on.submitted(run);
        const lost = join(run.dir, ".emx2", `lost.a1.${schedulerId}.0`);
        await on.until("it has lost the lease", () => existsSync(lost));
        expect(JSON.parse(readFileSync(lost, "utf8"))).toMatchObject({ holder: "closed" });
        expect((await on.ended({ ...run, schedulerId })).state).toBe("FAILED");
        const left = readdirSync(join(run.dir, ".emx2"));
        expect(left.filter((name) => /^(start|exit|lease\.a1\.)/.test(name))).toEqual([]);
        for (const part of ["output", "work"]) expect(readdirSync(join(run.dir, part))).toEqual([]);
      },
      limit,
    );

    test(
      "a program sees nothing of the daemon's environment",
      async () => {
        const run = await on.submitted(on.run('env >"$HPC_OUTPUT_DIR/env"; pwd >"$HPC_OUTPUT_DIR/pwd"'));
        await on.ended(run);
        const names =
          readFileSync(join(run.dir, "output", "env"), "utf8").match(/^[A-Za-z_][A-Za-z0-9_]*(?==)/gm) ?? [];
        expect(names).not.toContain("EMX2_TEST_SECRET");
        expect(names).not.toContain("LC_ALL");
        const ours = ["INPUT_DIR", "JOB_ID", "OUTPUT_DIR", "PARAMETERS", "PARAMETERS_FILE", "WORK_DIR"];
        expect(names.filter((name) => name.startsWith("HPC_")).sort()).toEqual(ours.map((name) => `HPC_${name}`));
        expect(readFileSync(join(run.dir, "output", "pwd"), "utf8")).toBe(`${join(run.dir, "work")}\n`);
      },
      limit,
    );

    test(
      "the end of a program is asked for gently: it can finish its work, and the receipt names the signal",
      async () => {
        const program = `trap 'echo saved >"$HPC_OUTPUT_DIR/saved"; exit 7' TERM; : >ready; while :; do sleep 0.1; done`;
        const run = await on.submitted(on.run(program));
        await on.until("the program is ready", () => existsSync(join(run.dir, "work", "ready")));
        await on.scheduler().cancel(run, never);
        await on.ended(run);
        await on.until("the receipt is there", () => existsSync(join(run.dir, ".emx2", "exit.a1.0")));
        const receipt = JSON.parse(readFileSync(join(run.dir, ".emx2", "exit.a1.0"), "utf8"));
        expect(receipt).toMatchObject({ exit: 7, signal: "TERM" });
        expect(existsSync(join(run.dir, "output", "saved"))).toBe(true);
      },
      limit,
    );
  });
}
