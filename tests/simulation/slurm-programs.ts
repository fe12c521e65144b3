/**
 * sbatch, squeue, sacct and scancel of one daemon, against a simulated Slurm. The programs live on when the daemon that
 * started them is killed, and what they say is read by the same tables as the real ones' words.
 */
import type { Clock } from "../../src/clock.ts";
import type { RunRef } from "../../src/job/run.ts";
import { readSbatch } from "../../src/scheduler/sbatch-answer.ts";
import type { RowsAnswer, SlurmCommands } from "../../src/scheduler/slurm-commands.ts";
import type { QueueRow } from "../../src/scheduler/slurm-format.ts";
import type { Chronicle } from "./chronicle.ts";
import { ourUser, type SlurmJob, type Told } from "./slurm-job.ts";
import type { SlurmSite } from "./slurm-site.ts";
import { isWithin, type Weather } from "./weather.ts";

interface Parts {
  readonly clock: Clock;
  readonly site: SlurmSite;
  readonly weather: Weather;
  readonly chronicle: Chronicle;
  readonly worker: string;
  /** Told of each squeue and sacct. */
  onQuery(program: "squeue" | "sacct"): void;
}

const ourUid = 1000;
const usualMs = { least: 20, most: 300 } as const;
/** sbatch has at most so long. */
const lateMs = 60_000;
/** What it sent may take effect so long after it gave up. */
const messageMs = 30_000;
const silentMs = 10_000;
const wrongFreshMs = 90_000;
const unreachable = "Unable to contact slurm controller (connect failure)";

export function createPrograms({ clock, site, weather, chronicle, worker, onQuery }: Parts): SlurmCommands {
  const chance = (share: number) => !site.isQuiet && clock.random() < share;
  const usual = () => clock.sleep(usualMs.least + clock.random() * (usualMs.most - usualMs.least));

  async function rows(program: "squeue" | "sacct", isUp: () => boolean, read: () => QueueRow[]): Promise<RowsAnswer> {
    onQuery(program);
    await usual();
    if (!isUp() || chance(weather.failedQuery)) {
      await clock.sleep(clock.random() * silentMs);
      chronicle.say(`${worker} ${program} fails`);
      return { is: "unavailable", cause: `simulated: ${program} fails` };
    }
    const answer = read();
    await usual();
    return { is: "answered", rows: answer };
  }

  return {
    async submit(run, profile) {
      const { stdout = "", stderr = "" } = await sbatch(run, profile.requeue);
      if (stderr) chronicle.say(`${worker} sbatch: ${stderr}`);
      return readSbatch({
        ...{ argv: ["sbatch"], signal: null, timedOut: false, aborted: false, spawnError: null, truncated: false },
        ...{ exitCode: stderr === "" ? 0 : 1, stdout, stderr, durationMs: 0 },
      });
    },

    queue: () =>
      rows(
        "squeue",
        () => site.isUp,
        () => site.known.filter(({ user }) => user === ourUser).map((job) => rowOf("squeue", job)),
      ),

    async accounting(runs) {
      if (!weather.accounting) return { is: "answered", rows: [] };
      const isUp = () => !isWithin(weather.databaseDown, clock.mono());
      return rows("sacct", isUp, () => runs.flatMap((run) => accounted(run)));
    },

    usage: async () => ({ is: "unavailable", cause: "simulated: no usage is recorded" }),

    async cancel(name, ids) {
      await usual();
      if (!site.isUp || chance(weather.failedQuery)) return { is: "unavailable", cause: unreachable };
      chronicle.say(`${worker} scancel ${name.slice(0, 13)} ${ids?.join(" ") ?? "(all)"}`);
      site.cancel((job) => job.name === name && job.user === ourUser && (ids?.includes(job.id) ?? true), ourUid);
      return { is: "asked" };
    },
  };

  /** What sbatch prints. */
  async function sbatch(
    run: RunRef,
    requeue: boolean,
  ): Promise<{ readonly stdout?: string; readonly stderr?: string }> {
    await (chance(weather.lateSubmit) ? clock.sleep(clock.random() * lateMs) : usual());
    const failed = (words: string) => ({ stderr: `sbatch: error: Batch job submission failed: ${words}` });
    if (!site.isServing) return failed(unreachable);
    if (isWithin(weather.refusing, clock.mono()))
      return failed("Invalid account or account/partition combination specified");
    if (chance(weather.busy)) return failed("Job violates accounting/QOS policy (MaxSubmitJobsPerUserLimit)");
    if (!chance(weather.lostSubmit)) {
      const { id } = site.submit(run, requeue);
      await usual();
      return { stdout: `${id}\n` };
    }
    if (chance(0.6)) {
      const arriveMs = clock.random() < 0.5 ? 0 : clock.random() * messageMs;
      clock.timer(arriveMs, () => site.isServing && site.submit(run, requeue));
    }
    await clock.sleep(clock.random() * silentMs);
    return failed("Socket timed out on send/recv operation");
  }

  function accounted({ schedulerId, name }: RunRef): QueueRow[] {
    if (schedulerId === undefined)
      return site.jobs.filter((job) => job.name === name).flatMap((job) => shown(job, false));
    const job = site.jobs.findLast(({ id, told }) => id === schedulerId && told.length > 0);
    return job ? shown(job, true) : [];
  }

  /** By id a fresh job is shown before its name is known. */
  function shown(job: SlurmJob, byId: boolean): QueueRow[] {
    const now = clock.mono();
    const seen = job.told.findLast(({ at }) => at + job.lagMs <= now);
    if (seen) return [rowOf("sacct", seen.job)];
    const fresh = job.told[0];
    if (!byId || !weather.freshRowsAreWrong || !fresh || now - fresh.at > wrongFreshMs) return [];
    return [{ source: "sacct", schedulerId: job.id, name: "allocation", user: "root", state: "PENDING" }];
  }
}

function rowOf(source: "squeue" | "sacct", job: Told): QueueRow {
  const { id, name, user, state, submittedAt, node, exit, signal = 0, cancelledBy } = job;
  return {
    ...{ source, schedulerId: id, name, user, state, submittedAt: Math.floor(submittedAt / 1_000) },
    ...(node === undefined ? {} : { node }),
    ...(source === "sacct" && exit !== undefined ? { exitCode: exit, signal } : {}),
    ...(source === "sacct" && cancelledBy !== undefined ? { cancelledBy } : {}),
  };
}
