/**
 * Composes a daemon from its configuration: takes the state's lock, opens the journal, and hands the real clock, EMX2,
 * schedulers and file system to `assemble`. Two ways to go on from there: `run`, until told to stop, and `once`, one cycle.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import { createJobDirectory } from "../artifacts/job-directory.ts";
import { posixRoots } from "../artifacts/posix-roots.ts";
import { type Clock, systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { JobEvent } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { BackendName } from "../job/profile.ts";
import { type Journal, openJournal } from "../journal/journal.ts";
import { acquireLock, type Lock } from "../journal/lock.ts";
import type { Log } from "../log.ts";
import { submittingUser } from "./account.ts";
import { type Assembly, assemble } from "./assemble.ts";
import { clientOf } from "./connect.ts";
import { profilesWithoutRoom, spaceShortage } from "./free-space.ts";
import { logChange } from "./job-log.ts";
import { runLoop } from "./loop.ts";
import { cycle } from "./once.ts";
import { createSchedulers } from "./schedulers.ts";
import { createPruneLoop, createSnapshotLoop } from "./upkeep.ts";

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

/** SIGTERM ends the daemon within 10 s wherever it is: loops get these, what is in flight those, then it stays in doubt. */
const loopGraceMs = 2_000;
const stopGraceMs = 6_000;

export async function compose(options: DaemonOptions): Promise<Composed> {
  const { clock = systemClock } = options;
  const { stateDir } = options.config.worker;
  const lock = await acquireLock(stateDir, { waitMs: options.lockWaitMs ?? 0, clock, signal: options.signal });
  if ("held" in lock) return { is: "held", by: lock.held };

  let journal: Journal | undefined;
  try {
    journal = openJournal(join(stateDir, "journal.db"), { clock, version: options.version });
    return { is: "ready", daemon: await daemonOn(journal, lock, clock, options) };
  } catch (error) {
    // Whoever tries again in this process must not find us holding it.
    journal?.close();
    lock.release();
    throw error;
  }
}

async function daemonOn(journal: Journal, lock: Lock, clock: Clock, options: DaemonOptions): Promise<Daemon> {
  const { config, backend, log } = options;
  const { stateDir } = config.worker;
  // A job stays with its backend, whichever is chosen for new ones.
  const usesSlurm = backend === "slurm" || journal.load().jobs.some((job) => job.backend === "slurm");
  const user = usesSlurm ? await submittingUser(clock, options.signal) : undefined;
  const snapshot = createSnapshotLoop({ clock, journal, log, path: join(stateDir, "snapshot.db") });
  const fault = Promise.withResolvers<never>();
  const { tmpDir } = config.apptainer;
  const assembly = assemble(
    {
      clock,
      journal,
      log,
      client: clientOf(config, clock, log),
      files: createJobDirectory({ clock, log, state: journal.stateId }),
      schedulerOf: createSchedulers({ config, clock, log, user }),
    },
    {
      backend,
      owner: { state: journal.stateId, stateDir, host: hostname(), uid: process.getuid?.() ?? 0 },
      worker: { workerId: config.emx2.workerId, hostname: hostname() },
      profiles: config.profiles,
      apptainer: config.apptainer,
      posixRoots: posixRoots(config),
      maxConcurrentJobs: config.worker.maxConcurrentJobs,
      maxConcurrentTransfers: config.worker.maxConcurrentTransfers,
      maxSubmissionsPerMinute: config.slurm.maxSubmissionsPerMinute,
      pollIntervalMs: config.worker.pollIntervalMs,
      heartbeatIntervalMs: config.worker.heartbeatIntervalMs,
      queueReportIntervalMs: config.worker.queueReportIntervalMs,
      heldJobsWaitMs: config.worker.heldJobsWaitMs,
      keepJobDirsMs: config.worker.keepJobDirsMs,
      waits: config.worker.waits,
      neverRunnablePatienceMs: config.worker.neverRunnablePatienceMs,
      killWaitMs: config.slurm.killWaitMs,
      stderrLinesInReports: config.worker.stderrLinesInReports,
      jobDir: (jobId) => join(tmpDir, jobId),
      onFault: fault.reject,
      blockedProfiles: () => profilesWithoutRoom(clock, config.profiles, config.worker.minFreeDiskBytes),
      blocked: () => spaceShortage(clock, [tmpDir, stateDir], config.worker.minFreeDiskBytes),
      onChange(job, before, event) {
        snapshot.changed();
        logChange(log, job, before, event);
        options.onChange?.(job, before, event);
      },
    },
  );
  const prune = createPruneLoop(clock, journal);
  const finish = async () => {
    try {
      await assembly.engine.stop(stopGraceMs);
      journal.flush();
      await snapshot.publish();
    } finally {
      try {
        journal.close();
      } finally {
        lock.release();
      }
    }
  };
  return {
    ...assembly,
    async run(signal) {
      const over = new AbortController();
      const either = AbortSignal.any([signal, over.signal]);
      try {
        assembly.engine.recover();
        const loops = [assembly.schedulerPoll, assembly.serverPoll, assembly.heartbeat, snapshot, prune];
        const running = Promise.all(loops.map((loop) => runLoop(loop, clock, either)));
        await Promise.race([running, fault.promise, stopping(clock, signal)]);
      } finally {
        over.abort();
        await finish();
      }
    },
    async once(signal) {
      try {
        await prune.tick(signal);
        const done = cycle(assembly, clock, config.worker.pollIntervalMs, signal);
        return await Promise.race([done, fault.promise, stopping(clock, signal).then(() => false)]);
      } finally {
        await finish();
      }
    },
  };
}

/** Resolves some time after the signal: a loop that hangs on storage is not waited for any longer. */
function stopping(clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const begin = () => clock.timer(loopGraceMs, resolve);
    if (signal.aborted) begin();
    else signal.addEventListener("abort", begin, { once: true });
  });
}
