/**
 * The simulated world: the real engine, effects, client and journal in virtual time, between the emulated EMX2, a simulated
 * cluster and job directories in memory. Answers get lost and the daemon is killed as the seed's chance has it: a kill is a
 * new engine on what the journal had on disk, while the old one's promises never settle.
 */
import type { Clock } from "../../src/clock.ts";
import { type Assembly, assemble } from "../../src/daemon/assemble.ts";
import { runLoop } from "../../src/daemon/loop.ts";
import { handle } from "../../src/emulator/handle.ts";
import { createState, type EmulatorState } from "../../src/emulator/state.ts";
import { addArtifact, addJob, addWorkerCredential } from "../../src/emulator/submitter.ts";
import { createClient, type Fetch } from "../../src/emx2/client.ts";
import { type Profile, profileDefaults } from "../../src/job/profile.ts";
import { isTerminal } from "../../src/job/status.ts";
import { type Journal, openJournal } from "../../src/journal/journal.ts";
import type { Log } from "../../src/log.ts";
import { createCluster, type Faults, type SimulatedCluster } from "./cluster.ts";
import { createMemoryFiles, type MemoryFiles } from "./memory-files.ts";
import { createVirtualClock, type VirtualClock } from "./virtual-clock.ts";

export interface WorldOptions {
  readonly seed: number;
  readonly jobs: number;
  readonly kills: number;
  readonly scheduler: Faults;
  /** Chances that a request never arrives, and that its answer is lost. */
  readonly network: { readonly lostRequest: number; readonly lostAnswer: number };
}

export interface World {
  readonly server: EmulatorState;
  readonly cluster: SimulatedCluster;
  readonly files: MemoryFiles;
  readonly jobIds: readonly string[];
  /** One line for each event of the engine, request, kill: the same seed gives the same lines. */
  readonly events: readonly string[];
}

const workerId = "sim-worker";
const secret = "a secret of the simulation, long enough";
const longestMs = 6 * 3_600_000;
const latencyMs = { least: 5, most: 200 } as const;

/** Runs until every job has ended at EMX2 and the daemon is at rest, or throws after a simulated six hours. */
export async function simulate(options: WorldOptions): Promise<World> {
  const clock = createVirtualClock({ seed: options.seed });
  const server = createState({ uuid: () => clock.uuid(), wall: () => clock.wall() });
  addWorkerCredential(server, workerId, secret);
  const events: string[] = [];
  const say = (line: string) => events.push(`${clock.wall()} ${line}`);
  const state = clock.uuid();
  const files = createMemoryFiles({ state });
  const cluster = createCluster(clock, files, options.scheduler);
  const jobIds = submitJobs(server, options.jobs);

  const reach = async (done: () => boolean) => {
    if (!(await clock.runUntil(done, longestMs)))
      throw new Error(`seed ${options.seed}: no end in sight\n${events.join("\n")}`);
  };

  let journal: Journal = openJournal(":memory:", { clock });
  let life = start();
  const killAt = Array.from({ length: options.kills }, () => clock.random() * 120_000).sort((a, b) => a - b);
  const begin = clock.wall();
  for (const afterMs of killAt) {
    await reach(() => clock.wall() - begin >= afterMs);
    life.kill();
    say("killed");
    journal = openJournal(journal.serialize(), { clock });
    life = start();
  }
  const ended = () => jobIds.every((id) => isTerminal(server.jobs.get(id)?.status ?? "PENDING")) && life.isAtRest();
  await reach(ended);
  life.kill();
  return { server, cluster, files, jobIds, events };

  function start() {
    const lease = mortal(clock);
    const assembly = assemble(
      {
        clock: lease.clock,
        journal,
        log: silent,
        files: lease.guard(files),
        schedulerOf: () => guarded,
        client: createClient({
          baseUrl: "http://127.0.0.1",
          workerId,
          credential: { mode: "hmac", secret: () => secret },
          clock: lease.clock,
          fetch: lease.wrap(unreliable(clock, server, options.network, say)),
        }),
      },
      settingsOf(state, say),
    );
    const guarded = lease.guard(cluster);
    const stop = new AbortController();
    assembly.engine.recover();
    for (const loop of [assembly.schedulerPoll, assembly.serverPoll, assembly.heartbeat]) {
      void runLoop(loop, lease.clock, stop.signal);
    }
    return { kill: lease.kill, isAtRest: () => isAtRest(assembly) };
  }
}

function isAtRest({ engine }: Assembly): boolean {
  return engine.inFlight === 0 && [...engine.jobs.values()].every((job) => job.closed !== undefined);
}

function submitJobs(server: EmulatorState, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const files = [{ path: "in.txt", content: `input ${index}\n` }];
    const inputs = [addArtifact(server, { name: `input-${index}`, files })];
    return addJob(server, { processor: "sim", profile: "default", inputs, parametersText: `{"args":["${index}"]}` });
  });
}

function settingsOf(state: string, say: (line: string) => void): Parameters<typeof assemble>[1] {
  return {
    backend: "slurm",
    owner: { state, stateDir: "/state", host: "sim", uid: 1000 },
    worker: { workerId, hostname: "sim" },
    profiles: [profile],
    apptainer: { command: "apptainer", binds: [] },
    posixRoots: { directories: [] },
    maxConcurrentJobs: 10,
    maxConcurrentTransfers: 4,
    maxSubmissionsPerMinute: 600,
    pollIntervalMs: 5_000,
    heartbeatIntervalMs: 30_000,
    queueReportIntervalMs: 300_000,
    heldJobsWaitMs: null,
    unknownJobsWaitMs: 3_600_000,
    keepJobDirsMs: 24 * 3_600_000,
    waits: { receiptMs: 60_000, sealMs: 3_600_000, cancelledMs: 60_000, lostAfterMs: 3_600_000 },
    neverRunnablePatienceMs: null,
    killWaitMs: 300_000,
    stderrLinesInReports: 5,
    takeOver: false,
    sightOf: async () => "unreadable",
    jobDir: (jobId) => `/jobs/${jobId}`,
    jobsOnDisk: async () => [],
    blocked: async () => undefined,
    blockedProfiles: async () => new Map(),
    onFault(error) {
      throw error;
    },
    onChange(job, _before, event) {
      const about = "effect" in event ? ` ${event.effect.kind}${"result" in event ? ` ${event.result.is}` : ""}` : "";
      say(`${job.id} ${event.kind}${about}`);
    },
  };
}

const profile: Profile = {
  key: "sim/default",
  processor: "sim",
  profile: "default",
  workload: { kind: "host", entrypoint: "/bin/true" },
  ...profileDefaults,
  time: "10",
};

const silent: Log = { error() {}, warn() {}, info() {}, debug() {}, child: () => silent };

/** EMX2 at the end of a line that loses requests and answers. */
function unreliable(
  clock: Clock,
  server: EmulatorState,
  { lostRequest, lostAnswer }: WorldOptions["network"],
  say: (line: string) => void,
): Fetch {
  return async (url, init) => {
    await clock.sleep(latencyMs.least + clock.random() * (latencyMs.most - latencyMs.least));
    if (clock.random() < lostRequest) throw reset();
    const request = new Request(url, init);
    const answer = await handle(server, request, clock.wall());
    say(`${init.method} ${new URL(url).pathname} ${answer.status}`);
    await clock.sleep(latencyMs.least);
    if (clock.random() < lostAnswer) throw reset();
    return answer;
  };
}

function reset(): Error {
  return Object.assign(new Error("simulated: connection reset"), { code: "ECONNRESET" });
}

/** The daemon's view of its seams, which all fall silent for ever when it is killed: no answer, no timer, no promise. */
function mortal(clock: VirtualClock) {
  let alive = true;
  const never = new Promise<never>(() => {});
  const wrap =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (!alive) return never;
      try {
        const value = await call(...args);
        return alive ? value : never;
      } catch (error) {
        if (!alive) return never;
        throw error;
      }
    };
  return {
    wrap,
    kill: () => {
      alive = false;
    },
    guard<T extends object>(seam: T): T {
      return new Proxy(seam, {
        get(target, name) {
          const member = Reflect.get(target, name) as unknown;
          if (typeof member !== "function") return member;
          const bound = member.bind(target);
          return name === "read" ? bound : wrap(bound);
        },
      });
    },
    clock: {
      wall: () => clock.wall(),
      mono: () => clock.mono(),
      random: () => clock.random(),
      randomBytes: (count) => clock.randomBytes(count),
      uuid: () => clock.uuid(),
      sleep: wrap((ms: number, signal?: AbortSignal) => clock.sleep(ms, signal)),
      timer: (ms, wake) => clock.timer(ms, () => alive && wake()),
    } satisfies Clock,
  };
}
