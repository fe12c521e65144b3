/**
 * What may befall a job in Slurm, one test each, all at once under one daemon: by the user, by root, by time, memory and
 * kills. Played on every kind of cluster: by process tracker, with and without accounting. Each test looks at what EMX2
 * was told, what Slurm shows and how often the workload was started.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { cancelJob } from "../../../src/emulator/submitter.ts";
import { statusesOf } from "../harness.ts";
import * as own from "./own-cluster.ts";
import { slurmBoundMs, textOf } from "./real-slurm.ts";
import { isGone, isStopped, shellOf, stepOf, untilItMayRunAgain } from "./steps.ts";

const { asRoot, cluster, letGo, receipt, runsOf, slurmJobIdOf, untilLetGo, untilTold } = own;

const result = `echo "run \${SLURM_RESTART_COUNT:-0}" >"$HPC_OUTPUT_DIR/result"`;
const firstRunWaits = `[ "\${SLURM_RESTART_COUNT:-0}" != 0 ] || ${untilLetGo}`;
const hungry = "head -c 300000000 /dev/zero | tail -n 1 >/dev/null";

const profiles = {
  waits: { program: `echo begun; ${untilLetGo}; ${result}` },
  held: { program: result, sbatch_args: ["--hold"] },
  again: { program: `${firstRunWaits}; ${result}`, requeue: true },
  fails: { program: "echo no such sample >&2; exit 3" },
  hungry: { program: `${hungry}; ${result}`, memory: "50M" },
  careless: { program: `${hungry} || true; ${result}`, memory: "50M" },
};

/** CANCELLED and the like are told of jobs that nobody let go: the stage's end would wait for none. */
export function statesOfSlurm(where: string): void {
  own.onOwnSlurm(`${where}, a job`, () => {
    let stage: own.CountedStage;
    beforeAll(async () => {
      // Of a run that left no receipt accounting tells exit code and signal, a few seconds late.
      stage = await own.openCountedStage({ profiles, worker: { receipt_wait_seconds: 10 } });
      stage.start("run");
    });
    afterAll(() => stage[Symbol.asyncDispose]());

    const started = async (processor: keyof typeof profiles) => {
      const id = stage.submit(processor);
      await stage.untilStatus(id, "STARTED", slurmBoundMs);
      await stage.until("its workload has begun", () => runsOf(stage, id) === 1, slurmBoundMs);
      return { id, slurmJobId: slurmJobIdOf(stage, id), step: stepOf(jobDir(id)) };
    };
    const jobDir = (id: string) => join(stage.jobsDir, id);
    const queued = async (processor: keyof typeof profiles) => {
      const id = stage.submit(processor);
      await stage.untilStatus(id, "SUBMITTED", slurmBoundMs);
      return { id, slurmJobId: slurmJobIdOf(stage, id) };
    };
    const stateOf = async (slurmJobId: string) =>
      (await asRoot("squeue", "-h", "-t", "all", "-j", slurmJobId, "-o", "%T")).trim();
    const completed = async (id: string, run: number) => {
      await stage.untilStatus(id, "COMPLETED", slurmBoundMs);
      expect(textOf(stage.output(id), "result")).toBe(`run ${run}\n`);
      expect(statusesOf(stage.job(id))).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"]);
      expect(runsOf(stage, id)).toBe(run + 1);
    };
    const ended = async (id: string, status: "FAILED" | "CANCELLED", boundMs = slurmBoundMs) => {
      await stage.untilStatus(id, status, boundMs);
      const job = stage.job(id);
      expect(job.transitions.filter(({ to }) => to === status)).toHaveLength(1);
      expect(job.outputArtifactId).toBeNull();
      return job.transitions.at(-1)?.detail ?? "";
    };

    test.concurrent("that fails is told with its exit code and its last words", async () => {
      const detail = await ended(stage.submit("fails"), "FAILED");
      expect(detail).toStartWith("slurm_state=FAILED; exit_code=3:0; ");
      expect(detail).toEndWith("\nno such sample");
    });

    test.concurrent("over its time limit is FAILED as TIMEOUT", async () => {
      const { id, slurmJobId } = await started("waits");
      // Its limit of minutes is over in a second, which must not be the one in which it started: Slurm looks every 30 s,
      // and 24.11 ends it after one more look.
      await asRoot("scontrol", "update", `jobid=${slurmJobId}`, "EndTime=now+2");
      expect(await ended(id, "FAILED", 2 * slurmBoundMs)).toMatch(/^slurm_state=TIMEOUT; .*its time limit ended it/s);
      expect(textOf(stage.log(id), `slurm-${slurmJobId}.out`)).toBe("begun\n");
    });

    test.concurrent("that root cancels is CANCELLED, by uid 0 where accounting tells", async () => {
      const { id, slurmJobId } = await started("waits");
      await untilAccounted(slurmJobId);
      await asRoot("scancel", slurmJobId);
      const detail = await ended(id, "CANCELLED");
      expect(detail).toContain(cluster.hasAccounting ? "cancelled with scancel by uid 0" : "cancelled with scancel");
    });

    test.concurrent("that its user cancels is CANCELLED, by his uid where accounting tells", async () => {
      const { id, slurmJobId } = await started("waits");
      await untilAccounted(slurmJobId);
      stage.slurm("scancel", slurmJobId);
      const by = `cancelled with scancel by uid ${stage.slurm("id", "-u").trim()}`;
      expect(await ended(id, "CANCELLED")).toContain(cluster.hasAccounting ? by : "cancelled with scancel");
    });

    test.concurrent("that root cancels in the queue is CANCELLED without ever having run", async () => {
      const { id, slurmJobId } = await queued("held");
      await untilAccounted(slurmJobId);
      await asRoot("scancel", slurmJobId);
      await ended(id, "CANCELLED");
      expect(statusesOf(stage.job(id))).toEqual(["PENDING", "CLAIMED", "SUBMITTED", "CANCELLED"]);
      expect(runsOf(stage, id)).toBe(0);
    });

    test.concurrent("that its submitter cancels at EMX2 is gone from Slurm", async () => {
      const { id, slurmJobId } = await started("waits");
      cancelJob(stage.state, id);
      await stage.until(
        "the workload has ended",
        () => receipt(stage, id, "exit.a1.0") ?? receipt(stage, id, "stop.a1.0"),
        slurmBoundMs,
      );
      await stage.until(
        "Slurm runs it no more",
        async () => !/RUNNING|COMPLETING/.test(await stateOrGone(slurmJobId)),
        slurmBoundMs,
      );
      expect(stage.job(id).status).toBe("CANCELLED");
    });

    test.concurrent("that waits on hold tells why, and runs once it is released", async () => {
      const { id, slurmJobId } = await queued("held");
      await untilTold(stage, id, /^slurm_state=PENDING; reason=JobHeldUser; waited=/);
      await asRoot("scontrol", "release", slurmJobId);
      await completed(id, 0);
    });

    test.concurrent("that root suspends is told so, waited for beyond every grace, and completes when it is resumed", async () => {
      const { id, slurmJobId } = await started("waits");
      await asRoot("scontrol", "suspend", slurmJobId);
      await untilTold(stage, id, /^slurm_state=SUSPENDED; /);
      await stage.until("its processes are stopped", () => isStopped(shellOf(jobDir(id))), slurmBoundMs);
      letGo(stage, id);
      await stage.untilAskedAgain(12);
      expect(stage.job(id).status).toBe("STARTED");
      await asRoot("scontrol", "resume", slurmJobId);
      await completed(id, 0);
    });

    test.concurrent("that may not be requeued is refused to scontrol, and goes on", async () => {
      const { id, slurmJobId } = await started("waits");
      expect(asRoot("scontrol", "requeue", slurmJobId)).rejects.toThrow("operation is presently disabled");
      letGo(stage, id);
      await completed(id, 0);
    });

    test.concurrent("that is requeued runs again, and the second run's outputs count", async () => {
      const { id, slurmJobId, step } = await started("again");
      await asRoot("scontrol", "requeue", slurmJobId);
      await hurryOn(id, slurmJobId, step);
      await completed(id, 1);
    });

    test.concurrent("that is requeued on hold waits, and runs again once it is released", async () => {
      const { id, slurmJobId, step } = await started("again");
      await asRoot("scontrol", "requeuehold", slurmJobId);
      await untilTold(stage, id, /^slurm_state=(PENDING|REQUEUE_HOLD); .*requeued: Slurm runs it again/);
      await stage.until("its first run is over", () => receipt(stage, id, "exit.a1.0"), slurmBoundMs);
      await untilItMayRunAgain(stage);
      await asRoot("scontrol", "release", slurmJobId);
      await hurryOn(id, slurmJobId, step);
      await completed(id, 1);
    });

    test.concurrent("whose batch shell is killed is FAILED with the signal", async () => {
      const { id } = await started("waits");
      process.kill(shellOf(jobDir(id)), "SIGKILL");
      const detail = await ended(id, "FAILED");
      expect(detail).toMatch(cluster.hasAccounting ? /^slurm_state=FAILED; exit_code=0:9; / : /^slurm_state=FAILED; /);
    });

    test.concurrent("whose slurmstepd is killed is FAILED as NODE_FAIL, or runs again where it may be requeued", async () => {
      const [one, other] = await Promise.all([started("waits"), started("again")]);
      await killSteps([one, other]);
      expect(await ended(one.id, "FAILED")).toMatch(/^slurm_state=NODE_FAIL; .*the node failed under it/s);
      await hurryOn(other.id, other.slurmJobId, other.step);
      await completed(other.id, 1);
    });

    if (cluster.hasControlGroups) {
      test.concurrent("that needs more memory than it has is FAILED as OUT_OF_MEMORY", async () => {
        const detail = await ended(stage.submit("hungry"), "FAILED");
        expect(detail).toMatch(/^slurm_state=OUT_OF_MEMORY; .*killed 1 process\(es\) of the job for memory/s);
      });

      test.concurrent("that exits 0 although one of its programs was killed for memory is FAILED all the same", async () => {
        const detail = await ended(stage.submit("careless"), "FAILED");
        expect(detail).toMatch(/^slurm_state=OUT_OF_MEMORY; exit_code=0:0; .*killed 1 process\(es\)/s);
      });
    }

    /** In its first second a job has no name in accounting, which alone tells who cancelled it. */
    async function untilAccounted(slurmJobId: string): Promise<void> {
      if (!cluster.hasAccounting) return;
      const named = async () =>
        (await asRoot("sacct", "-n", "-X", "-P", "-j", slurmJobId, "-o", "JobName")).startsWith("emx2-");
      await stage.until("accounting knows the job by name", named, slurmBoundMs);
    }

    async function stateOrGone(slurmJobId: string): Promise<string> {
      return stateOf(slurmJobId).catch(() => "gone");
    }

    /** Slurm holds a requeued job back for two minutes, and 22.05 fails one that is hurried on while its first run dies. */
    async function hurryOn(id: string, slurmJobId: string, step: number): Promise<void> {
      await untilTold(stage, id, /^slurm_state=(PENDING|REQUEUED); .*requeued: Slurm runs it again/);
      await stage.until("its first run has left the node", () => isGone(step), slurmBoundMs);
      await stage.until(
        "Slurm has it in the queue",
        async () => (await stateOf(slurmJobId)) === "PENDING",
        slurmBoundMs,
      );
      await untilItMayRunAgain(stage);
      await asRoot("scontrol", "update", `jobid=${slurmJobId}`, "StartTime=now");
    }

    /**
     * SIGHUP has slurmd tell which steps it knows, so that a lost one is noticed at once, but for those of jobs so young that
     * they may not have begun yet (BatchStartTimeout and MessageTimeout, 10 s each). `scontrol reconfigure` does so on 22.05
     * alone: on 24.11 it starts slurmctld anew, for which no job is old.
     */
    async function killSteps(jobs: readonly { readonly id: string; readonly slurmJobId: string }[]): Promise<void> {
      const ids = jobs.map(({ slurmJobId }) => slurmJobId).join(",");
      const ask = async (field: string) =>
        (await asRoot("squeue", "-h", "-t", "all", "-j", ids, "-o", field)).split("\n");
      const old = async () => (await ask("%M")).filter(Boolean).every((time) => Number(time.split(":").at(-1)) > 21);
      await stage.until("Slurm takes the jobs for ones that have begun", old, slurmBoundMs);
      for (const { id } of jobs) process.kill(stepOf(jobDir(id)), "SIGKILL");
      process.kill(own.pidOf("slurmd"), "SIGHUP");
      await stage.until("Slurm has noticed", async () => !(await ask("%T")).includes("RUNNING"), slurmBoundMs);
    }
  });
}
