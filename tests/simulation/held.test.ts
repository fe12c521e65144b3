/** A held profile in virtual time: the real engine, polls and journal between the emulated EMX2 and a simulated cluster. */
import { expect, test } from "bun:test";
import { assemble } from "../../src/daemon/assemble.ts";
import { runLoop } from "../../src/daemon/loop.ts";
import { handle } from "../../src/emulator/handle.ts";
import { createState, type EmulatorState } from "../../src/emulator/state.ts";
import { addJob, addWorkerCredential } from "../../src/emulator/submitter.ts";
import { createClient } from "../../src/emx2/client.ts";
import { type Profile, profileDefaults } from "../../src/job/profile.ts";
import { type Journal, openJournal } from "../../src/journal/journal.ts";
import type { Log } from "../../src/log.ts";
import type { Scheduler } from "../../src/scheduler/scheduler.ts";
import { type CalmCluster, createCluster } from "./cluster.ts";
import { createMemoryFiles, type SimulatedFiles } from "./memory-files.ts";
import { createVirtualClock, type VirtualClock } from "./virtual-clock.ts";

const workerId = "w1";
const secret = "a secret of the simulation, long enough";
const state = "00000000-0000-4000-8000-000000000000";
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

const profileOf = (profile: string, over: Partial<Profile> = {}): Profile => ({
  ...{ key: `p/${profile}`, processor: "p", profile, workload: { kind: "host", entrypoint: "/bin/true" } },
  ...{ ...profileDefaults, time: "10", ...over },
});

class Site {
  readonly clock: VirtualClock = createVirtualClock({ seed: 1 });
  readonly server: EmulatorState = createState({ uuid: () => this.clock.uuid(), wall: () => this.clock.wall() });
  readonly files: SimulatedFiles = createMemoryFiles({ state });
  readonly cluster: CalmCluster = createCluster(this.clock, this.files);
  readonly said: string[] = [];
  /** Minutes at which the cluster refused a submission of the profile `gpu`. */
  readonly refusals: number[] = [];
  isRefusing = true;
  profiles: readonly Profile[] = [profileOf("gpu", { maxConcurrentJobs: 4 }), profileOf("cpu")];
  #journal: Journal = openJournal(":memory:", { clock: this.clock });
  #stop = new AbortController();

  constructor() {
    addWorkerCredential(this.server, workerId, secret);
  }

  submit(profile: string, count: number): string[] {
    return Array.from({ length: count }, () => addJob(this.server, { processor: "p", profile }));
  }

  statuses(ids: readonly string[]): string[] {
    return ids.map((id) => this.server.jobs.get(id)?.status ?? "unknown");
  }

  get capabilities(): (string | null)[] {
    return (this.server.workers.get(workerId)?.capabilities ?? []).map(({ profile }) => profile);
  }

  /** The daemon, until `restart`. */
  start(heldJobsWaitMs: number | null = null): void {
    const said = (level: string) => (message: string) => void this.said.push(`${level} ${message}`);
    const log: Log = { error: said("error"), warn: said("warn"), info: said("info"), debug() {}, child: () => log };
    const { clock, cluster } = this;
    const scheduler: Scheduler = {
      ...cluster,
      submit: async (run, profile, signal) => {
        if (!this.isRefusing || profile.profile !== "gpu") return cluster.submit(run, profile, signal);
        this.refusals.push(Math.round(clock.mono() / minuteMs));
        return { is: "refused", cause: "Invalid account" };
      },
    };
    const { engine, serverPoll, schedulerPoll, heartbeat } = assemble(
      {
        clock,
        log,
        journal: this.#journal,
        files: this.files,
        schedulerOf: () => scheduler,
        client: createClient({
          baseUrl: "http://127.0.0.1",
          workerId,
          credential: { mode: "hmac", secret: () => secret },
          clock,
          fetch: async (url, init) => handle(this.server, new Request(url, init), clock.wall()),
        }),
      },
      {
        backend: "slurm",
        owner: { state, stateDir: "/state", host: "sim", uid: 1000 },
        worker: { workerId, hostname: "sim" },
        profiles: this.profiles,
        apptainer: { command: "apptainer", binds: [] },
        posixRoots: { directories: [] },
        ...{ maxConcurrentJobs: 10, maxConcurrentTransfers: 4, maxSubmissionsPerMinute: 600 },
        ...{ pollIntervalMs: 5_000, heartbeatIntervalMs: 30_000, queueReportIntervalMs: 300_000 },
        ...{
          heldJobsWaitMs,
          unknownJobsWaitMs: null,
          uploadRetryMs: null,
          keepJobDirsMs: 24 * hourMs,
          stderrLinesInReports: 5,
          maxLogBytes: 64 * 2 ** 20,
        },
        ...{ neverRunnablePatienceMs: null, killWaitMs: 5 * minuteMs },
        waits: { receiptMs: 60_000, sealMs: 3_600_000, cancelledMs: 60_000, lostAfterMs: hourMs },
        takeOver: false,
        sightOf: async () => "unreadable",
        jobDir: (jobId) => `/jobs/${jobId}`,
        jobsOnDisk: async () => [],
        spaceIn: async () => ({ freeBytes: 2 ** 50, totalBytes: 2 ** 50 }),
        minFreeDiskBytes: 0,
        blocked: async () => undefined,
        blockedProfiles: async () => new Map(),
        onNews: () => undefined,
        onFault(error) {
          throw error;
        },
      },
    );
    engine.recover();
    for (const loop of [serverPoll, schedulerPoll, heartbeat]) void runLoop(loop, clock, this.#stop.signal);
    this.#end = () => engine.stop(0);
  }

  #end: () => Promise<void> = async () => {};

  async restart(): Promise<void> {
    this.#stop.abort();
    await this.#end();
    this.#stop = new AbortController();
    this.#journal = openJournal(this.#journal.serialize(), { clock: this.clock });
    this.start();
  }

  until(done: () => boolean, limitMs: number): Promise<boolean> {
    return this.clock.runUntil(done, limitMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#end();
  }
}

const saidAs = ({ said }: Site, level: string) =>
  said.filter((line) => line.startsWith(`${level} the profile is held`));

test("a profile whose submissions are refused is held, tried at growing intervals, and goes on once one is taken", async () => {
  await using site = new Site();
  const gpu = site.submit("gpu", 6);
  const cpu = site.submit("cpu", 6);
  site.start();
  await site.clock.advance(80 * minuteMs);
  // Four were claimed and under way at once; then one at 5, 10 more, 20 more, 40 more minutes.
  expect(site.refusals.filter((minute) => minute === 0).length).toBeLessThanOrEqual(4);
  expect(site.refusals.filter((minute) => minute > 0)).toEqual([5, 15, 35, 75]);
  expect(site.statuses(cpu)).toEqual(cpu.map(() => "COMPLETED"));
  expect(site.statuses(gpu).toSorted()).toEqual([...Array(4).fill("CLAIMED"), ...Array(2).fill("PENDING")]);
  expect(site.capabilities).toEqual(["cpu"]);
  expect(saidAs(site, "error")).toHaveLength(1);

  site.isRefusing = false;
  expect(await site.until(() => site.statuses(gpu).every((status) => status === "COMPLETED"), 90 * minuteMs)).toBe(
    true,
  );
  expect(site.capabilities).toEqual(["gpu", "cpu"]);
  expect([...site.cluster.ledger].sort()).toEqual([...gpu, ...cpu].sort());
}, 60_000);

test("where no job of a held profile is left here, one is claimed to try it, and no more", async () => {
  await using site = new Site();
  const first = site.submit("gpu", 3);
  site.start(minuteMs);
  expect(await site.until(() => site.statuses(first).every((status) => status === "FAILED"), 4 * minuteMs)).toBe(true);
  const later = site.submit("gpu", 5);
  await site.clock.advance(2 * minuteMs);
  expect(site.refusals.length).toBe(3);
  await site.clock.advance(3 * minuteMs);
  expect(site.refusals.length).toBe(4);
  const detail = site.server.jobs.get(first[0] ?? "")?.transitions.at(-1)?.detail ?? "";
  expect(detail).toContain("Invalid account");
  expect(site.statuses(later).filter((status) => status === "PENDING")).toHaveLength(4);

  site.isRefusing = false;
  const rest = () => site.statuses(later).filter((status) => status === "COMPLETED").length;
  expect(await site.until(() => rest() >= 4, 2 * hourMs)).toBe(true);
}, 60_000);

test("a restart neither forgets the hold nor tries before its time", async () => {
  await using site = new Site();
  const gpu = site.submit("gpu", 6);
  site.start();
  await site.clock.advance(2 * minuteMs);
  const before = site.refusals.length;
  for (let count = 0; count < 3; count++) {
    await site.restart();
    await site.clock.advance(20_000);
  }
  expect(site.refusals.length).toBe(before);
  expect(site.statuses(gpu).filter((status) => status === "PENDING")).toHaveLength(2);
  expect(site.capabilities).toEqual(["cpu"]);
  await site.clock.advance(3 * minuteMs);
  expect(site.refusals.length).toBe(before + 1);
}, 60_000);
