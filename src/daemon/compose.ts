/**
 * Composes a daemon from its configuration: takes the state's lock, opens the journal, and hands the real clock, EMX2,
 * schedulers and file system to `assemble`. Two ways to go on from there: `run`, until told to stop, and `once`, one cycle.
 */
import { statfs } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { createJobDirectory } from "../artifacts/job-directory.ts";
import { type Clock, systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { JobEvent } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { BackendName } from "../job/profile.ts";
import { openJournal } from "../journal/journal.ts";
import { acquireLock } from "../journal/lock.ts";
import { publishSnapshot } from "../journal/snapshot.ts";
import type { Log } from "../log.ts";
import { submittingUser } from "./account.ts";
import { type Assembly, assemble } from "./assemble.ts";
import { clientOf } from "./connect.ts";
import { isSystemError } from "./faults.ts";
import { logChange } from "./job-log.ts";
import { runLoop } from "./loop.ts";
import { createSchedulers } from "./schedulers.ts";

export interface DaemonOptions {
  readonly config: Config;
  readonly backend: BackendName;
  readonly log: Log;
  /** Of this program, for the journal. */
  readonly version: string;
  /** Ends the wait for the lock. */
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  /** How long to wait for another instance to end. */
  readonly lockWaitMs?: number;
  readonly onChange?: (job: Job, before: Job | undefined, event: JobEvent) => void;
}

export interface Daemon extends Assembly {
  /** Until the signal, then an orderly end. */
  run(signal: AbortSignal): Promise<void>;
  /** One cycle. False: EMX2 could not be asked. */
  once(signal: AbortSignal): Promise<boolean>;
}

export type Composed = { readonly is: "ready"; readonly daemon: Daemon } | { readonly is: "held"; readonly by: string };

/** SIGTERM ends the daemon within 10 s wherever it is: what is in flight gets these, then stays in doubt. */
const stopGraceMs = 6_000;
const snapshotIntervalMs = 15_000;
/** Events are for looking back; the jobs themselves are kept as long as they are needed. */
const keepEventsMs = 7 * 24 * 3_600_000;
const pruneIntervalMs = 24 * 3_600_000;
/** What `once` still waits for: a pause between two tries of something that is under way. */
const onceLingerMs = 2_000;

export async function compose(options: DaemonOptions): Promise<Composed> {
  const { config, backend, log, clock = systemClock } = options;
  const { stateDir } = config.worker;
  const lock = await acquireLock(stateDir, { waitMs: options.lockWaitMs ?? 0, clock, signal: options.signal });
  if ("held" in lock) return { is: "held", by: lock.held };

  const journal = openJournal(join(stateDir, "journal.db"), { clock, version: options.version });
  const snapshotPath = join(stateDir, "snapshot.db");
  let changed = true;
  const { tmpDir } = config.apptainer;
  const assembly = assemble(
    {
      clock,
      journal,
      log,
      client: clientOf(config, clock, log),
      files: createJobDirectory({ clock, log, state: journal.stateId }),
      schedulerOf: createSchedulers(config, clock, await submittingUser(clock)),
    },
    {
      backend,
      owner: { state: journal.stateId, stateDir, host: hostname(), uid: process.getuid?.() ?? 0 },
      worker: { workerId: config.emx2.workerId, hostname: hostname() },
      profiles: config.profiles,
      apptainer: config.apptainer,
      maxConcurrentJobs: config.worker.maxConcurrentJobs,
      maxConcurrentTransfers: config.worker.maxConcurrentTransfers,
      maxSubmissionsPerMinute: config.slurm.maxSubmissionsPerMinute,
      pollIntervalMs: config.worker.pollIntervalMs,
      heartbeatIntervalMs: config.worker.heartbeatIntervalMs,
      keepJobDirsMs: config.worker.keepJobDirsMs,
      lostAfterMs: config.worker.lostAfterMs,
      stderrLinesInReports: config.worker.stderrLinesInReports,
      jobDir: (jobId) => join(tmpDir, jobId),
      blocked: () => diskShortage([tmpDir, stateDir], config.worker.minFreeDiskBytes),
      onChange(job, before, event) {
        changed = true;
        logChange(log, job, before, event);
        options.onChange?.(job, before, event);
      },
    },
  );
  const snapshot = {
    intervalMs: snapshotIntervalMs,
    async tick() {
      if (!changed) return;
      changed = false;
      publishSnapshot(journal, snapshotPath);
    },
  };
  const prune = {
    intervalMs: pruneIntervalMs,
    async tick() {
      journal.prune(clock.wall() - keepEventsMs);
    },
  };
  const finish = async () => {
    try {
      await assembly.engine.stop(stopGraceMs);
      journal.flush();
      await snapshot.tick();
    } finally {
      journal.close();
      lock.release();
    }
  };
  return {
    is: "ready",
    daemon: {
      ...assembly,
      async run(signal) {
        try {
          assembly.engine.recover();
          const loops = [assembly.schedulerPoll, assembly.serverPoll, assembly.heartbeat, snapshot, prune];
          await Promise.all(loops.map((loop) => runLoop(loop, clock, signal)));
        } finally {
          await finish();
        }
      },
      async once(signal) {
        try {
          await prune.tick();
          return await cycle(assembly, clock, config.worker.pollIntervalMs, signal);
        } finally {
          await finish();
        }
      },
    },
  };
}

/**
 * One scheduler observation and one look at EMX2, then work until nothing is in flight and nothing is due. While transfers
 * last, runs and cancellations are looked at again each poll interval, and heartbeats go out.
 */
async function cycle(assembly: Assembly, clock: Clock, pollIntervalMs: number, signal: AbortSignal): Promise<boolean> {
  const { engine, schedulerPoll, serverPoll, heartbeat } = assembly;
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  engine.recover();
  await schedulerPoll.tick(signal);
  await serverPoll.tick(signal);
  const beating = clock.sleep(heartbeat.intervalMs, either).then(() => runLoop(heartbeat, clock, either), ignoreAbort);
  let idle = false;
  const work = engine.idle(onceLingerMs).then(() => {
    idle = true;
  });
  while (!idle && !signal.aborted) {
    await Promise.race([work, clock.sleep(pollIntervalMs, either).catch(ignoreAbort)]);
    if (idle || signal.aborted || !engine.isBusy(["inputs", "logs", "outputs"])) continue;
    await serverPoll.watch(signal);
    await schedulerPoll.tick(signal);
  }
  over.abort();
  await beating;
  return serverPoll.reachable;
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof DOMException && error.name === "AbortError")) throw error;
}

async function diskShortage(directories: readonly string[], minFreeBytes: number): Promise<string | undefined> {
  for (const directory of directories) {
    const free = await freeBytes(directory);
    if (typeof free === "string") return free;
    if (free < minFreeBytes) {
      const gigabytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
      return `${directory} has ${gigabytes(free)} free, worker.min_free_disk asks for ${gigabytes(minFreeBytes)}`;
    }
  }
  return undefined;
}

/** Or why it can not be told: a tmp_dir that is missing is a file system that is not mounted, and nothing is written there. */
async function freeBytes(directory: string): Promise<number | string> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return `${directory} can not be used: ${error.message}`;
  }
}
