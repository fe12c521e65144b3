/**
 * One daemon of a simulated world through all its lives: the real engine, effects, client, Slurm adapter and journal. A kill
 * leaves what the journal had on disk; whatever the old life still waits for never comes.
 */
import type { Clock } from "../../src/clock.ts";
import { type Assembly, assemble } from "../../src/daemon/assemble.ts";
import { type Loop, runLoop } from "../../src/daemon/loop.ts";
import { createClient, type Fetch } from "../../src/emx2/client.ts";
import { StateError } from "../../src/errors.ts";
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
/** A lease that was still for three minutes is dead, and whoever takes it waits for some time more. */
const takenOverAfterMs = 220_000;

/** One life, and whether the state is still its own. */
interface Life {
  readonly assembly: Assembly;
  readonly mortal: Mortal;
  readonly tenure: { isLost: boolean };
}

export class Daemon {
  readonly #parts: DaemonParts;
  #state: string;
  #journal: Journal;
  #life: Life | undefined;
  #tenure = { isLost: false };
  #takesOver = false;

  constructor(parts: DaemonParts) {
    this.#parts = parts;
    this.#state = parts.clock.uuid();
    this.#journal = this.#opened(":memory:");
  }

  /** The state, held as `journal/hold.ts` does it: whoever has lost it is told so before each write. */
  #opened(source: string | Uint8Array): Journal {
    const tenure = { isLost: false };
    this.#tenure = tenure;
    const check = () => {
      if (tenure.isLost) throw new StateError("another login node has it", { path: "state", reason: "lost" });
    };
    return openJournal(source, { clock: this.#parts.clock, hold: { check, hasLock: true, wasForeign: false } });
  }

  start(): void {
    const { clock, chronicle, workerId, storage, host, commands, fetch, secret } = this.#parts;
    chronicle.note(`${workerId} starts${this.#takesOver ? " with --take-over" : ""}`);
    const mortal = createMortal(clock, this.#parts.clockOffsetMs);
    const { files, leases } = storage.viewOf(host, this.#state);
    const journal = this.#journal;
    const tenure = this.#tenure;
    const scheduler = slurmOver({
      clock: mortal.clock,
      commands: mortal.guard(onlyWhileHeld(journal, commands)),
      leases: mortal.guard(leases),
      user: "sim",
    });
    const assembly = assemble(
      {
        clock: mortal.clock,
        journal,
        log: logTo(chronicle, workerId),
        files: mortal.guard(files),
        schedulerOf: () => scheduler,
        client: createClient({
          ...{ baseUrl: "http://127.0.0.1", workerId, credential: { mode: "hmac", secret } },
          ...{ clock: mortal.clock, fetch: mortal.wrap(whileHeld(journal, fetch)) },
        }),
      },
      this.#settings(mortal),
    );
    this.#life = { assembly, mortal, tenure };
    assembly.engine.recover();
    const forEver = new AbortController().signal;
    for (const loop of [assembly.schedulerPoll, assembly.serverPoll, assembly.heartbeat])
      runLoop(guarded(journal, loop), mortal.clock, forEver).catch((error: unknown) => this.#ends(mortal, error));
  }

  #ends(mortal: Mortal, error: unknown): void {
    if (!mortal.isAlive()) return;
    // Exit code 75.
    if (error instanceof StateError && error.state.reason === "lost") mortal.kill();
    else this.#parts.onFault(error);
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
    this.#journal = this.#opened(left);
    if (losesState) this.#state = clock.uuid();
    this.#takesOver ||= losesState;
    chronicle.note(`${workerId} is killed${losesState ? ", and its state is lost" : ""}`);
  }

  /**
   * The login node stands still. Another takes its state over, once its lease has been still for long; then the first one
   * comes to itself in the midst of whatever it was at.
   */
  handOver(stillMs: number): void {
    const life = this.#life;
    if (!life) return;
    const { clock, chronicle, workerId } = this.#parts;
    const bytes = this.#journal.serialize();
    const wake = life.mortal.suspend();
    this.#life = undefined;
    chronicle.note(`${workerId} stands still on its login node`);
    clock.timer(takenOverAfterMs, () => {
      life.tenure.isLost = true;
      this.#journal = this.#opened(bytes);
      this.start();
    });
    clock.timer(takenOverAfterMs + stillMs, () => {
      chronicle.note(`${workerId} goes on where it stood still, and its state is another's`);
      wake();
    });
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
    const { workerId, chronicle, requeue } = this.#parts;
    return {
      backend: "slurm",
      owner: { state: this.#state, stateDir: `/state/${workerId}`, host: "login", uid: 1000 },
      worker: { workerId, hostname: "login" },
      profiles: [{ ...profile, requeue }],
      apptainer: { command: "apptainer", binds: [] },
      posixRoots: { directories: [] },
      ...{ maxConcurrentJobs: 10, maxConcurrentTransfers: 4, maxSubmissionsPerMinute: 600 },
      ...{ pollIntervalMs, heartbeatIntervalMs: 2 * pollIntervalMs, queueReportIntervalMs: 5 * minuteMs },
      ...{
        heldJobsWaitMs: null,
        unknownJobsWaitMs: 20 * minuteMs,
        uploadRetryMs: null,
        keepJobDirsMs: 24 * 60 * minuteMs,
      },
      waits,
      ...{ neverRunnablePatienceMs: null, killWaitMs: minuteMs, stderrLinesInReports: 5, maxLogBytes: 64 * 2 ** 20 },
      takeOver: this.#takesOver,
      sightOf: async () => "fresh",
      jobDir: (jobId) => `/jobs/${jobId}`,
      jobsOnDisk: async () => [],
      spaceIn: async () => ({ freeBytes: 2 ** 50, totalBytes: 2 ** 50 }),
      minFreeDiskBytes: 0,
      blocked: async () => undefined,
      blockedProfiles: async () => new Map(),
      onFault: (error) => this.#ends(mortal, error),
      onNews: () => undefined,
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

/** As `daemon/tenure.ts` has it. */
function guarded(journal: Journal, loop: Loop): Loop {
  const tick = (signal: AbortSignal) => {
    journal.check();
    return loop.tick(signal);
  };
  return Object.create(loop, { tick: { value: tick } });
}

function whileHeld(journal: Journal, fetch: Fetch): Fetch {
  return (url, init) => {
    journal.check();
    return fetch(url, init);
  };
}

function onlyWhileHeld(journal: Journal, commands: SlurmCommands): SlurmCommands {
  const held =
    <A extends unknown[], R>(command: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      journal.check();
      return await command(...args);
    };
  return {
    submit: held((...args) => commands.submit(...args)),
    queue: held((...args) => commands.queue(...args)),
    accounting: held((...args) => commands.accounting(...args)),
    usage: held((...args) => commands.usage(...args)),
    cancel: held((...args) => commands.cancel(...args)),
  };
}

type Mortal = ReturnType<typeof createMortal>;

/** The daemon's view of its seams, which all fall silent for ever when it is killed: no answer, no timer, no promise. */
function createMortal(clock: VirtualClock, offsetMs: () => number) {
  let alive = true;
  /** Set while its host stands still. */
  let still: Promise<void> | undefined;
  const never = new Promise<never>(() => {});
  const wrap =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (!alive) return never;
      try {
        await still;
        const value = await call(...args);
        await still;
        return alive ? value : never;
      } catch (error) {
        await still;
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
    suspend: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      still = promise;
      return () => {
        still = undefined;
        resolve();
      };
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
      timer(ms, wake) {
        let calledOff = false;
        const ring = () => {
          if (still) void still.then(ring);
          else if (alive && !calledOff) wake();
        };
        const callOff = clock.timer(ms, ring);
        return () => {
          calledOff = true;
          callOff();
        };
      },
    } satisfies Clock,
  };
}
