/**
 * A simulated world: one or two real daemons in virtual time, an emulated EMX2, a simulated Slurm and its shared storage,
 * and the weather that the seed brings. It goes on until every job has ended, or a promise is broken.
 */

import type { StoredJob } from "../../src/emulator/state.ts";
import { createState } from "../../src/emulator/state.ts";
import { addArtifact, addJob, addWorkerCredential, cancelJob, job as jobOf } from "../../src/emulator/submitter.ts";
import { isJobStatus, isTerminal } from "../../src/job/status.ts";
import { createChronicle } from "./chronicle.ts";
import { Daemon } from "./daemon.ts";
import { createInvariants } from "./invariants.ts";
import { createLine } from "./server-line.ts";
import { createPrograms } from "./slurm-programs.ts";
import { SlurmSite } from "./slurm-site.ts";
import { createStorage, type Host } from "./storage.ts";
import { createVirtualClock } from "./virtual-clock.ts";
import { drawWeather, isWithin, type Weather } from "./weather.ts";

export interface Ended {
  readonly seed: number;
  readonly weather: Weather;
  /** The promise that was broken. */
  readonly broken?: string;
  readonly lines: readonly string[];
  readonly statuses: readonly string[];
}

const minuteMs = 60_000;
/** So long after the last fault everything has ended. */
const longestAfterMs = 6 * 60 * minuteMs;
/** What a job that has ended may still have in Slurm is gone by then. */
const clearingMs = 30 * minuteMs;
const submittedWithinMs = 5 * minuteMs;
/** A worker of which this world has no daemon. */
const elsewhere = "w9";

export async function simulate(seed: number): Promise<Ended> {
  const clock = createVirtualClock({ seed });
  const weather = drawWeather(() => clock.random());
  const server = createState({ uuid: () => clock.uuid(), wall: () => clock.wall() });
  const chronicle = createChronicle(() => clock.wall(), onLine);
  const storage = createStorage(clock);
  const site = new SlurmSite({ clock, nodes: storage.node, weather, chronicle });
  const jobs: StoredJob[] = [];
  const invariants = createInvariants({
    ...{ server, jobs, isOurs, site, chronicle, requeue: weather.requeue },
    tells: weather.accounting && weather.databaseDown.length === 0,
  });
  const daemons = Array.from({ length: weather.workers }, (_, index) => daemonOf(`w${index + 1}`));
  let linesSaid = 0;
  const kills = [...weather.kills];

  for (let index = 0; index < weather.jobs; index += 1)
    clock.timer(index === 0 ? 0 : clock.random() * submittedWithinMs, () => addOne(index));
  for (const ending of weather.endings) clock.timer(ending.at, () => endOne(ending));
  for (const daemon of daemons) daemon.start();

  const isOver = () =>
    clock.mono() >= submittedWithinMs &&
    jobs.every((job) => !isOurs(job) || isTerminal(job.status)) &&
    daemons.every((daemon) => daemon.isAtRest);
  const isStopped = () => invariants.broken !== undefined || isOver();
  const awayMs = weather.kills.reduce((sum, kill) => sum + kill.awayMs, 0);
  await clock.runUntil(isStopped, weather.quietAt + awayMs + longestAfterMs);
  if (!isStopped())
    invariants.breaks(`everything ends: not within ${longestAfterMs / minuteMs} minutes of the last fault`);
  const leftMs = Math.max(0, weather.quietAt - clock.mono());
  await clock.runUntil(
    () => invariants.broken !== undefined || !site.jobs.some((job) => site.isLive(job)),
    leftMs + clearingMs,
  );
  if (invariants.broken === undefined) invariants.checkEnd();
  if (invariants.broken !== undefined)
    for (const { id } of jobs) for (const daemon of daemons) chronicle.note(`at the end: ${daemon.thinks(id)}`);
  for (const daemon of daemons) daemon.kill(false);
  const { broken } = invariants;
  return {
    ...{ seed, weather, lines: chronicle.lines, statuses: jobs.map(({ status }) => status) },
    ...(broken === undefined ? {} : { broken }),
  };

  function onLine(): void {
    invariants.check();
    linesSaid += 1;
    const next = kills[0];
    if (!next || linesSaid < next.line) return;
    kills.shift();
    const daemon = daemons[linesSaid % daemons.length];
    if (!daemon?.isAlive) return;
    if (next.standsStillMs === undefined) {
      daemon.kill(next.losesState);
      clock.timer(next.awayMs, () => daemon.start());
    } else {
      daemon.handOver(next.standsStillMs);
    }
  }

  function daemonOf(workerId: string): Daemon {
    let secret = secretOf(workerId, 1);
    addWorkerCredential(server, workerId, secret);
    const { secretRotated, clockJumps, lagMs } = weather;
    if (secretRotated) {
      clock.timer(secretRotated.from, () => addWorkerCredential(server, workerId, secretOf(workerId, 2)));
      clock.timer(secretRotated.to, () => {
        secret = secretOf(workerId, 2);
      });
    }
    const host: Host = { lagMs, readAt: new Map(), isDown: () => isWithin(weather.storageDown, clock.mono()) };
    return new Daemon({
      ...{ workerId, clock, chronicle, storage, host, requeue: weather.requeue },
      clockOffsetMs: () =>
        clockJumps.filter((jump) => isWithin([jump], clock.mono())).reduce((sum, { byMs }) => sum + byMs, 0),
      commands: createPrograms({
        ...{ clock, site, weather, chronicle, worker: workerId },
        onQuery: (program) => program === "squeue" && invariants.queried(workerId, clock.mono()),
      }),
      fetch: createLine({
        ...{ clock, server, weather, chronicle, worker: workerId },
        onRequest: (...request) => asked(workerId, ...request),
      }),
      secret: () => secret,
      onFault: (error) =>
        invariants.breaks(`no bug ends the daemon: ${error instanceof Error ? error.stack : String(error)}`),
    });
  }

  function asked(worker: string, method: string, path: string, body: Uint8Array): void {
    const now = clock.mono();
    if (weather.serverDown.some(({ from, to }) => now > from + 2 * minuteMs && now < to))
      invariants.askedInVain(worker, now);
    const jobId = /\/jobs\/([^/]+)\/(complete|transition)$/.exec(path)?.[1];
    if (method !== "POST" || jobId === undefined) return;
    const { status } = JSON.parse(new TextDecoder().decode(body)) as { readonly status?: string };
    if (status !== undefined && isJobStatus(status)) invariants.reported(jobId, status);
  }

  function addOne(index: number): void {
    const inputs = [
      addArtifact(server, { name: `in-${index}`, files: [{ path: "in.txt", content: `input ${index}\n` }] }),
    ];
    const id = addJob(server, { processor: "sim", profile: "default", inputs, parametersText: "{}" });
    jobs.push(jobOf(server, id));
  }

  function endOne({ by, job: index }: Weather["endings"][number]): void {
    const target = jobs[index];
    if (!target || isTerminal(target.status) || !isOurs(target)) return;
    if (by === "operator") {
      daemons.some((daemon) => daemon.cancel(target.id));
      return;
    }
    if (by === "reassignment") {
      if (target.workerId === null) return;
      chronicle.cause(target.id, "given to another worker");
      target.workerId = elsewhere;
      return;
    }
    chronicle.cause(target.id, by === "submitter" ? "cancelled at EMX2" : "deleted at EMX2");
    if (by === "submitter") cancelJob(server, target.id);
    else server.jobs.delete(target.id);
  }

  function isOurs(job: StoredJob): boolean {
    return server.jobs.has(job.id) && job.workerId !== elsewhere;
  }
}

function secretOf(workerId: string, version: number): string {
  return `secret ${version} of ${workerId}, which is long enough`;
}
