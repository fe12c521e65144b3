/**
 * One daemon of a simulated world through all its lives: the real engine, effects, client, Slurm adapter and journal. A kill
 * leaves what the journal had on disk; whatever the old life still waits for never comes.
 */
import type { Clock } from "../../src/clock.ts";
import { type Assembly, assemble } from "../../src/daemon/assemble.ts";
import { runLoop } from "../../src/daemon/loop.ts";
import { createClient, type Fetch } from "../../src/emx2/client.ts";
import { type Profile, profileDefaults } from "../../src/job/profile.ts";
import { type Journal, openJournal } from "../../src/journal/journal.ts";
import type { Log } from "../../src/log.ts";
import { slurmOver } from "../../src/scheduler/slurm.ts";
import type { SlurmCommands } from "../../src/scheduler/slurm-commands.ts";
import { type Chronicle, short } from "./chronicle.ts";
import type { Host, Storage } from "./storage.ts";
import type { VirtualClock } from "./virtual-clock.ts";

export interface DaemonParts {
  readonly workerId: string;
  readonly clock: VirtualClock;
  /** By how much its host's clock is ahead. */
  clockOffsetMs(): number;
  readonly chronicle: Chronicle;
  readonly storage: Storage;
  readonly host: Host;
  readonly commands: SlurmCommands;
  readonly fetch: Fetch;
  secret(): string;
  readonly requeue: boolean;
  /** A bug: the daemon would have ended with it. */
  onFault(error: unknown): void;
}

const minuteMs = 60_000;
const waits = {
  receiptMs: 2 * minuteMs,
  sealMs: 20 * minuteMs,
  cancelledMs: minuteMs,
  lostAfterMs: 20 * minuteMs,
};
const pollIntervalMs = 30_000;

export class Daemon {
  readonly #parts: DaemonParts;
  #state: string;
  #journal: Journal;
  #life: { readonly assembly: Assembly; readonly mortal: Mortal } | undefined;
  #takesOver = false;

  constructor(parts: DaemonParts) {
    this.#parts = parts;
    this.#state = parts.clock.uuid();
    this.#journal = openJournal(":memory:", { clock: parts.clock });
  }

  start(): void {
    const { clock, chronicle, workerId, storage, host, commands, fetch, secret } = this.#parts;
    chronicle.note(`${workerId} starts${this.#takesOver ? " with --take-over" : ""}`);
    const mortal = createMortal(clock, this.#parts.clockOffsetMs);
    const { files, leases } = storage.viewOf(host, this.#state);
    const scheduler = slurmOver({
      clock: mortal.clock,
      commands: mortal.guard(commands),
      leases: mortal.guard(leases),
      user: "sim",
    });
    const assembly = assemble(
      {
        clock: mortal.clock,
        journal: this.#journal,
        log: logTo(chronicle, workerId),
        files: mortal.guard(files),
        schedulerOf: () => scheduler,
        client: createClient({
          ...{ baseUrl: "http://127.0.0.1", workerId, credential: { mode: "hmac", secret } },
          ...{ clock: mortal.clock, fetch: mortal.wrap(fetch) },
        }),
      },
      this.#settings(mortal),
    );
    this.#life = { assembly, mortal };
    assembly.engine.recover();
    const forEver = new AbortController().signal;
    for (const loop of [assembly.schedulerPoll, assembly.serverPoll, assembly.heartbeat])
      runLoop(loop, mortal.clock, forEver).catch((error: unknown) => mortal.isAlive() && this.#parts.onFault(error));
  }

  get isAlive(): boolean {
    return this.#life !== undefined;
  }

  /** kill -9. With its state directory the daemon loses its journal, and has to be told to take its jobs over. */
  kill(losesState: boolean): void {
    if (!this.#life) return;
    const { clock, chronicle, workerId } = this.#parts;
    this.#life.mortal.kill();
    this.#life = undefined;
    const left = losesState ? ":memory:" : this.#journal.serialize();
    this.#journal = openJournal(left, { clock });
    if (losesState) this.#state = clock.uuid();
    this.#takesOver ||= losesState;
    chronicle.note(`${workerId} is killed${losesState ? ", and its state is lost" : ""}`);
  }

  /** Nothing is under way and nothing is to come but the removal of directories. */
  get isAtRest(): boolean {
    if (!this.#life) return false;
    const { engine } = this.#life.assembly;
    return engine.inFlight === 0 && [...engine.jobs.values()].every(({ closed }) => closed !== undefined);
  }

  /** `emx2-hpc-daemon cancel`. False: it is not this daemon's to cancel. */
  cancel(jobId: string): boolean {
    const engine = this.#life?.assembly.engine;
    const job = engine?.jobs.get(jobId);
    if (!engine || !job || job.closed || job.claim.stage !== "ours") return false;
    this.#parts.chronicle.cause(jobId, "cancelled by the operator");
    // The line that was just said may have been a kill's.
    if (this.#life?.assembly.engine === engine)
      engine.observe(jobId, { kind: "CancelAsked", at: this.#parts.clock.wall(), by: "operator" });
    return true;
  }

  /** What the daemon thinks of a job, for a person to read. */
  thinks(jobId: string): string {
    return JSON.stringify(this.#life?.assembly.engine.jobs.get(jobId));
  }

  #settings(mortal: Mortal): Parameters<typeof assemble>[1] {
    const { workerId, chronicle, requeue, onFault } = this.#parts;
    return {
      backend: "slurm",
      owner: { state: this.#state, stateDir: `/state/${workerId}`, host: "login", uid: 1000 },
      worker: { workerId, hostname: "login" },
      profiles: [{ ...profile, requeue }],
      apptainer: { command: "apptainer", binds: [] },
      posixRoots: { directories: [] },
      ...{ maxConcurrentJobs: 10, maxConcurrentTransfers: 4, maxSubmissionsPerMinute: 600 },
      ...{ pollIntervalMs, heartbeatIntervalMs: 2 * pollIntervalMs, queueReportIntervalMs: 5 * minuteMs },
      ...{ heldJobsWaitMs: null, unknownJobsWaitMs: 20 * minuteMs, keepJobDirsMs: 24 * 60 * minuteMs },
      waits,
      ...{ neverRunnablePatienceMs: null, killWaitMs: minuteMs, stderrLinesInReports: 5 },
      takeOver: this.#takesOver,
      sightOf: async () => "fresh",
      jobDir: (jobId) => `/jobs/${jobId}`,
      jobsOnDisk: async () => [],
      blocked: async () => undefined,
      blockedProfiles: async () => new Map(),
      onFault: (error) => mortal.isAlive() && onFault(error),
      onChange(job, _before, event) {
        const about = "effect" in event ? ` ${event.effect.kind}${"result" in event ? ` ${event.result.is}` : ""}` : "";
        const seen =
          event.kind === "RunObserved"
            ? ` ${event.row === undefined ? "no answer" : (event.row?.state ?? "absent")}`
            : "";
        if (mortal.isAlive()) chronicle.say(`${workerId} ${short(job.id)} ${event.kind}${about}${seen}`);
      },
    };
  }
}

const profile: Profile = {
  ...{ key: "sim/default", processor: "sim", profile: "default", workload: { kind: "host", entrypoint: "/bin/true" } },
  ...profileDefaults,
  time: "10",
};

function logTo(chronicle: Chronicle, workerId: string): Log {
  const note = (level: string) => (message: string, fields?: object) =>
    chronicle.note(`${workerId} ${level}: ${message} ${fields ? JSON.stringify(fields) : ""}`);
  const log: Log = { error: note("error"), warn: note("warn"), info: note("info"), debug() {}, child: () => log };
  return log;
}

type Mortal = ReturnType<typeof createMortal>;

/** The daemon's view of its seams, which all fall silent for ever when it is killed: no answer, no timer, no promise. */
function createMortal(clock: VirtualClock, offsetMs: () => number) {
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
    isAlive: () => alive,
    kill: () => {
      alive = false;
    },
    guard<T extends object>(seam: T): T {
      return new Proxy(seam, {
        get(target, name) {
          const member: unknown = Reflect.get(target, name);
          if (typeof member !== "function") return member;
          const bound = member.bind(target);
          return name === "read" ? bound : wrap(bound);
        },
      });
    },
    clock: {
      wall: () => clock.wall() + offsetMs(),
      mono: () => clock.mono(),
      random: () => clock.random(),
      randomBytes: (count) => clock.randomBytes(count),
      uuid: () => clock.uuid(),
      sleep: wrap((ms: number, signal?: AbortSignal) => clock.sleep(ms, signal)),
      timer: (ms, wake) => clock.timer(ms, () => alive && wake()),
    } satisfies Clock,
  };
}
