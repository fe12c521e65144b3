/**
 * Composes a daemon from its configuration: takes the state's lock, opens the journal, and hands the real clock, EMX2,
 * schedulers and file system to `assemble`. Two ways to go on from there: `run`, until told to stop, and `once`, one cycle.
 */
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { createJobDirectory } from "../artifacts/job-directory.ts";
import { posixRoots } from "../artifacts/posix-roots.ts";
import { answeredWithin, onDisk } from "../artifacts/storage-fault.ts";
import { type Clock, systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { JobEvent } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { BackendName } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import { type Hold, holdState } from "../journal/hold.ts";
import { type Journal, openJournal } from "../journal/journal.ts";
import { watchLease } from "../journal/lease.ts";
import { thisProcess } from "../journal/lease-holder.ts";
import type { Log } from "../log.ts";
import { submittingUser } from "./account.ts";
import { type Assembly, assemble } from "./assemble.ts";
import { clientOf } from "./connect.ts";
import { profilesWithoutRoom, spaceIn, spaceShortage } from "./free-space.ts";
import { logChange } from "./job-log.ts";
import { runLoop } from "./loop.ts";
import { attend, cycle, tidy } from "./once.ts";
import { overviewOf } from "./overview.ts";
import { createRequests } from "./requests.ts";
import { createSchedulers } from "./schedulers.ts";
import { createSight } from "./sight.ts";
import { createTenure, fetchWhileHeld } from "./tenure.ts";
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
  /** Jobs that EMX2 calls ours and nothing here knows are carried on. */
  readonly takeOver?: boolean;
  /** Jobs look around before their workload starts. */
  readonly isTrial?: boolean;
  /** How long to wait for another instance to end. */
  readonly lockWaitMs?: number;
  readonly onChange?: (job: Job, before: Job | undefined, event: JobEvent) => void;
}

export interface Daemon extends Assembly {
  /** Until the signal, then an orderly end. */
  run(signal: AbortSignal): Promise<void>;
  /** One cycle. False: EMX2 could not be asked. */
  once(signal: AbortSignal): Promise<boolean>;
  /** Takes the requests that wait, and goes on with this job alone until it rests. Gives it as it is then. */
  attend(jobId: JobId, signal: AbortSignal): Promise<Job | undefined>;
  /** Takes the requests that wait, and removes what is due of the directories of jobs that have ended. Gives what stays. */
  tidy(signal: AbortSignal): Promise<readonly Job[]>;
}

export type Composed = { readonly is: "ready"; readonly daemon: Daemon } | { readonly is: "held"; readonly by: string };

/** As EMX2 names its jobs. */
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const listTimeoutMs = 60_000;

/** SIGTERM ends the daemon within 10 s wherever it is: loops get these, what is in flight six more. */
const loopGraceMs = 2_000;

export async function compose(options: DaemonOptions): Promise<Composed> {
  const { clock = systemClock } = options;
  const { stateDir, stateLeaseMs: staleMs } = options.config.worker;
  const { lockWaitMs: waitMs = 0, signal, log, version } = options;
  const hold = await holdState(stateDir, { clock, waitMs, staleMs, signal, onForeign: foreignTeller(log, staleMs) });
  if ("held" in hold) return { is: "held", by: hold.held };
  if (!hold.hasLock)
    log.warn("the file system of the state directory refuses locks: its lease alone keeps others out", { stateDir });

  let journal: Journal | undefined;
  try {
    journal = openJournal(join(stateDir, "journal.db"), { clock, version, hold });
    return { is: "ready", daemon: await daemonOn(journal, hold, clock, options) };
  } catch (error) {
    // Whoever tries again in this process must not find us holding it.
    try {
      journal?.close();
    } finally {
      hold.release();
    }
    throw error;
  }
}

function foreignTeller(log: Log, staleMs: number) {
  return (what: "watched" | "taken over", who: string) => {
    const fields = { holder: who, seconds: staleMs / 1_000 };
    if (what === "watched") log.info("the state has a holder on another host: is it alive?", fields);
    else log.warn("the holder of the state has given no sign of life: its state is taken over", fields);
  };
}

async function daemonOn(journal: Journal, hold: Hold, clock: Clock, options: DaemonOptions): Promise<Daemon> {
  const { config, backend, log } = options;
  const { stateDir } = config.worker;
  // A job stays with its backend, whichever is chosen for new ones.
  const usesSlurm = backend === "slurm" || journal.load().jobs.some((job) => job.backend === "slurm");
  const user = usesSlurm ? await submittingUser(clock, options.signal) : undefined;
  const snapshot = createSnapshotLoop({
    clock,
    journal,
    log,
    path: join(stateDir, "snapshot.db"),
    overview: () => overviewOf(assembly, { config, clock }),
  });
  const fault = Promise.withResolvers<never>();
  const { tmpDir } = config.apptainer;
  const assembly = assemble(
    {
      clock,
      journal,
      log,
      client: clientOf(config, clock, log, { fetch: fetchWhileHeld(journal) }),
      files: createJobDirectory({ clock, log, state: journal.stateId, knownHashes: journal.fileHashes }),
      schedulerOf: createSchedulers({ config, clock, log, user, beforeCommand: () => journal.check() }),
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
      unknownJobsWaitMs: config.emx2.unknownJobsWaitMs,
      uploadRetryMs: config.worker.uploadRetryMs,
      keepJobDirsMs: config.worker.keepJobDirsMs,
      waits: config.worker.waits,
      neverRunnablePatienceMs: config.worker.neverRunnablePatienceMs,
      killWaitMs: config.slurm.killWaitMs,
      stderrLinesInReports: config.worker.stderrLinesInReports,
      maxLogBytes: config.worker.maxLogBytes,
      jobDir: (jobId) => join(tmpDir, jobId),
      jobsOnDisk: async () => (await namesIn(clock, tmpDir)).filter((name) => uuid.test(name)),
      takeOver: options.takeOver ?? false,
      isTrial: options.isTrial ?? false,
      sightOf: createSight(clock, (other) =>
        watchLease(other, { clock, here: thisProcess(), staleMs: config.worker.stateLeaseMs, signal: options.signal }),
      ),
      onFault: fault.reject,
      onNews: () => snapshot.changed(),
      spaceIn: (directory) => spaceIn(clock, directory),
      minFreeDiskBytes: config.worker.minFreeDiskBytes,
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
  const requests = createRequests({ engine: assembly.engine, clock, log, stateDir });
  hold.keep(fault.reject);
  const { engine } = assembly;
  const { whileHeld, guarded } = createTenure({ hold, journal, engine, snapshot, fault: fault.promise });
  return {
    ...assembly,
    run(signal) {
      const over = new AbortController();
      const either = AbortSignal.any([signal, over.signal]);
      const loops = [
        assembly.schedulerPoll,
        assembly.serverPoll,
        assembly.heartbeat,
        assembly.movementNews,
        requests,
        snapshot,
        prune,
      ];
      return whileHeld(async () => {
        try {
          assembly.engine.recover();
          const running = Promise.all(loops.map((loop) => runLoop(guarded(loop), clock, either)));
          await Promise.race([running, fault.promise, stopping(clock, signal)]);
        } finally {
          over.abort();
        }
      });
    },
    once: (signal) =>
      whileHeld(async () => {
        await prune.tick(signal);
        const besides = {
          heartbeat: guarded(assembly.heartbeat),
          requests: guarded(requests),
          snapshot: guarded(snapshot),
        };
        const done = cycle({ ...assembly, ...besides }, clock, config.worker.pollIntervalMs, signal);
        return await Promise.race([done, stopping(clock, signal).then(() => false)]);
      }),
    attend: (jobId, signal) =>
      whileHeld(async () => {
        const done = attend({ ...assembly, requests: guarded(requests) }, jobId, clock, signal);
        await Promise.race([done, stopping(clock, signal)]);
        return assembly.engine.jobs.get(jobId);
      }),
    tidy: (signal) =>
      whileHeld(async () => {
        const done = tidy({ engine, requests: guarded(requests) }, clock, signal);
        await Promise.race([done, stopping(clock, signal)]);
        return [...engine.jobs.values()].filter(({ cleaned }) => !cleaned);
      }),
  };
}

function namesIn(clock: Clock, path: string): Promise<string[]> {
  return answeredWithin(clock, listTimeoutMs, path, () => onDisk("list", path, () => readdir(path)));
}

/** Resolves some time after the signal: a loop that hangs on storage is not waited for any longer. */
function stopping(clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const begin = () => clock.timer(loopGraceMs, resolve);
    if (signal.aborted) begin();
    else signal.addEventListener("abort", begin, { once: true });
  });
}
