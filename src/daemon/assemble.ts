/**
 * Puts engine, effects, pools and loops together over the four seams (clock, EMX2, scheduler, files). The daemon hands in
 * the real ones (`compose.ts`), the simulation its own; everything between the seams is the same.
 */
import type { JobFiles, Owner } from "../artifacts/job-files.ts";
import type { PosixRoots } from "../artifacts/posix-roots.ts";
import { type Clock, steady } from "../clock.ts";
import type { Emx2Client } from "../emx2/client.ts";
import type { JobEvent } from "../job/effect.ts";
import type { Job } from "../job/job.ts";
import type { EvidenceWaits } from "../job/outcome.ts";
import { type ApptainerSettings, type BackendName, type Profile, timeLimitMs } from "../job/profile.ts";
import type { JobId } from "../job/run.ts";
import type { Journal } from "../journal/journal.ts";
import type { Log } from "../log.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import { type Adoption, createAdoption } from "./adoption.ts";
import { createBusy } from "./busy.ts";
import type { EffectContext } from "./effect-context.ts";
import { createPerformer, type EffectTable } from "./effects.ts";
import { Engine } from "./engine.ts";
import type { Space } from "./free-space.ts";
import { createHeartbeat } from "./heartbeat.ts";
import { createHolders, type Sight } from "./holder.ts";
import { createHolds, type Holds } from "./holds.ts";
import { createLeftovers } from "./leftovers.ts";
import type { Loop } from "./loop.ts";
import { createLoss } from "./loss.ts";
import { createMovementNews, Movements } from "./movements.ts";
import { Pool } from "./pools.ts";
import { createRoom } from "./room.ts";
import { createSchedulerPoll } from "./scheduler-poll.ts";
import { createServerPoll, type ServerPoll } from "./server-poll.ts";
import { createServerReach, type ServerReach } from "./server-reach.ts";

export interface Seams {
  readonly clock: Clock;
  readonly client: Emx2Client;
  readonly files: JobFiles;
  readonly journal: Journal;
  readonly log: Log;
  schedulerOf(backend: BackendName): Scheduler;
}

export interface Settings {
  readonly backend: BackendName;
  readonly owner: Owner;
  readonly worker: { readonly workerId: string; readonly hostname: string };
  /** Every configured profile; those that this version can not run are neither registered nor claimed for. */
  readonly profiles: readonly Profile[];
  readonly apptainer: ApptainerSettings;
  /** Where posix inputs may lie. */
  readonly posixRoots: PosixRoots;
  readonly maxConcurrentJobs: number;
  readonly maxConcurrentTransfers: number;
  readonly maxSubmissionsPerMinute: number;
  readonly pollIntervalMs: number;
  readonly heartbeatIntervalMs: number;
  readonly queueReportIntervalMs: number;
  readonly heldJobsWaitMs: number | null;
  readonly unknownJobsWaitMs: number | null;
  readonly uploadRetryMs: number | null;
  readonly keepJobDirsMs: number | null;
  readonly waits: EvidenceWaits;
  readonly neverRunnablePatienceMs: number | null;
  readonly killWaitMs: number;
  readonly stderrLinesInReports: number;
  readonly maxLogBytes: number;
  /** Jobs look around before their workload starts. */
  readonly isTrial?: boolean;
  jobDir(jobId: JobId): string;
  /** Of the job directories that are there. */
  jobsOnDisk(): Promise<readonly JobId[]>;
  /** Jobs that EMX2 calls ours and nothing here knows are carried on: the operator knows that nobody else has them. */
  readonly takeOver: boolean;
  /** Whether another state directory is somebody's; it may take minutes to tell. */
  sightOf(stateDir: string): Promise<Sight>;
  /** Of a directory's file system, or why it can not be told. */
  spaceIn(directory: string): Promise<Space | string>;
  readonly minFreeDiskBytes: number;
  blocked(): Promise<string | undefined>;
  blockedProfiles(): Promise<ReadonlyMap<string, string>>;
  onFault(error: unknown): void;
  /** What is said of EMX2, or of claims, has changed. */
  onNews(): void;
  readonly onChange?: (job: Job, before: Job | undefined, event: JobEvent) => void;
}

export interface Assembly {
  readonly engine: Engine;
  readonly holds: Holds;
  readonly adoption: Adoption;
  readonly reach: ServerReach;
  readonly serverPoll: ServerPoll;
  readonly schedulerPoll: Loop;
  readonly heartbeat: Loop;
  readonly movements: Movements;
  readonly movementNews: Loop;
}

/** Requests in flight: these, the polls' and the heartbeat's stay well below fetch's cap of 256 for the whole process. */
const controlInFlight = 8;
/** With a script comes the first look at its image, which may have to be read whole. */
const scriptsInFlight = 4;
const submissionsInFlight = 4;
/** Other commands of the scheduler. */
const commandsInFlight = 4;
/** Those who look for a run at the same time share one query. */
const lookupsInFlight = 1_000;
const maxTransfersInFlight = 48;
/** Jobs whose files wait for slots, with some hundred rows each. */
const groupsInFlight = 64;
/** A large directory may take its time, and has no claim and no report wait. */
const removalsInFlight = 2;
const largeFileBytes = 16 * 1024 * 1024;

const delays = { cancelRepeatMs: 30_000, findRepeatMs: 10_000, backoff: { firstMs: 1_000, capMs: 60_000 } } as const;
/** Where a profile names no time limit the partition's own holds, which is not known here. */
const unknownTimeLimitMs = 7 * 24 * 3_600_000;

export function assemble(seams: Seams, settings: Settings, effects?: EffectTable): Assembly {
  const { client, files, journal, log, schedulerOf } = seams;
  // A host whose clock is set back must not put every wait and every grace off by as much.
  const clock = steady(seams.clock);
  const byKey = new Map(settings.profiles.map((profile) => [profile.key, profile]));
  const holds = createHolds({
    clock,
    journal,
    log,
    profiles: settings.profiles,
    jobs: () => engine.jobs,
    changed: (profileKey) => engine.reconsider(profileKey),
  });
  const busy = createBusy(clock);
  const maxTransfers = Math.min(settings.maxConcurrentTransfers, maxTransfersInFlight);
  const movements = new Movements();
  const transfers = new Pool(clock, { maxInFlight: maxTransfers, largeBytes: largeFileBytes });
  const reach = createServerReach({ clock, log, onRevival: () => engine.reconsider(), onNews: settings.onNews });
  const context: EffectContext = {
    clock,
    client,
    files,
    journal,
    log,
    schedulerOf,
    owner: settings.owner,
    apptainer: settings.apptainer,
    posixRoots: settings.posixRoots,
    stderrLinesInReports: settings.stderrLinesInReports,
    maxLogBytes: settings.maxLogBytes,
    sealMs: settings.waits.sealMs,
    isTrial: settings.isTrial ?? false,
    uploadRetryMs: settings.uploadRetryMs,
    delays,
    profileOf: (key) => byKey.get(key),
    movements,
    slots: { pool: transfers, perJob: maxTransfers },
    takeRoom: createRoom({
      jobs: () => engine.jobs,
      journal,
      spaceIn: settings.spaceIn,
      minFreeBytes: settings.minFreeDiskBytes,
    }),
    holds,
    busy,
    reach,
    capabilityMissing: () => assembly.serverPoll.capabilityMissing(),
    schedulerDown: (backend) => engine.setSchedulerUp(backend, false),
  };
  const engine = new Engine({
    clock,
    journal,
    log,
    perform: createPerformer(context, effects),
    pools: {
      control: new Pool(clock, { maxInFlight: controlInFlight }),
      scripts: new Pool(clock, { maxInFlight: scriptsInFlight }),
      submissions: new Pool(clock, {
        maxInFlight: submissionsInFlight,
        maxPerMinute: settings.maxSubmissionsPerMinute,
      }),
      scheduler: new Pool(clock, { maxInFlight: commandsInFlight }),
      lookups: new Pool(clock, { maxInFlight: lookupsInFlight }),
      removals: new Pool(clock, { maxInFlight: removalsInFlight }),
      groups: new Pool(clock, { maxInFlight: groupsInFlight }),
      transfers,
    },
    onFault: settings.onFault,
    isServerDown: () => reach.isDown,
    heldOf: (job) => holds.heldOf(job) ?? busy.heldOf(job),
    policyOf: ({ backend, profileKey }) => policyOf(settings, schedulerOf(backend), byKey.get(profileKey), backend),
    ...(settings.onChange ? { onChange: settings.onChange } : {}),
  });
  const movementNews = createMovementNews({ clock, log, engine, movements, onNews: settings.onNews });
  const assembly = {
    engine,
    holds,
    reach,
    movements,
    movementNews,
    ...loops({ ...seams, clock }, settings, { engine, holds, reach }),
  };
  return assembly;
}

function policyOf(settings: Settings, scheduler: Scheduler, profile: Profile | undefined, backend: BackendName) {
  const timeLimit = profile?.time === undefined ? undefined : timeLimitMs(profile.time);
  const { lostAfterMs, ...waits } = settings.waits;
  return {
    fenceMs: scheduler.fenceMs,
    cancelRepeatMs: delays.cancelRepeatMs,
    keepJobDirsMs: settings.keepJobDirsMs,
    queueReportIntervalMs: settings.queueReportIntervalMs,
    uploadRetryMs: settings.uploadRetryMs,
    timeouts: {
      submissionMs: profile?.submissionTimeoutMs ?? null,
      executionMs: profile?.executionTimeoutMs ?? null,
      heldMs: settings.heldJobsWaitMs,
      neverRunnableMs: settings.neverRunnablePatienceMs,
    },
    graces: {
      ...waits,
      mayRequeue: profile?.requeue ?? false,
      // What is made up is not sealed.
      seals: backend !== "simulate" && (profile?.sealOutputs ?? false),
      lostMs: (timeLimit ?? unknownTimeLimitMs) + settings.killWaitMs + lostAfterMs,
    },
  };
}

function loops(
  seams: Seams,
  settings: Settings,
  { engine, holds, reach }: { readonly engine: Engine; readonly holds: Holds; readonly reach: ServerReach },
): Omit<Assembly, "engine" | "holds" | "reach" | "movements" | "movementNews"> {
  const { clock, client, files, log, schedulerOf } = seams;
  const intervalMs = settings.pollIntervalMs;
  const { profiles } = settings;
  const perProfile = Object.fromEntries(profiles.map((profile) => [profile.key, profile.maxConcurrentJobs]));
  const found = {
    ...{ engine, client, clock, log, files, schedulerOf, profiles },
    owner: settings.owner,
    holders: createHolders(settings.owner, settings.sightOf),
    worker: settings.worker,
    backend: settings.backend,
    jobDir: settings.jobDir,
  };
  const { jobsOnDisk, unknownJobsWaitMs } = settings;
  const { journal } = seams;
  const leftovers = createLeftovers({ ...found, journal, jobsOnDisk, unknownJobsWaitMs });
  const adoption = createAdoption({ ...found, leftovers, takeOver: settings.takeOver });
  const serverPoll = createServerPoll({
    adoption,
    reach,
    loss: createLoss({ clock, log, journal, unknownJobsWaitMs }, "unknown-jobs"),
    engine,
    client,
    clock,
    log,
    intervalMs,
    worker: settings.worker,
    profiles,
    limits: { maxConcurrentJobs: settings.maxConcurrentJobs, perProfile },
    holds,
    backend: settings.backend,
    jobDir: settings.jobDir,
    blocked: settings.blocked,
    blockedProfiles: settings.blockedProfiles,
    onNews: settings.onNews,
  });
  const heartbeat = createHeartbeat({
    client,
    log,
    intervalMs: settings.heartbeatIntervalMs,
    isDue: () => serverPoll.registered && !reach.refusesUs,
    onAnswer: reach.revived,
    onUnknown: () => serverPoll.forgotten(),
  });
  return {
    adoption,
    serverPoll,
    heartbeat,
    schedulerPoll: createSchedulerPoll({ engine, clock, files, log, intervalMs, schedulerOf, begun: holds.begun }),
  };
}
