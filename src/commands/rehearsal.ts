/** The real engine against an embedded EMX2 until its jobs have ended: what `demo` and `try` have in common. */
import { systemClock as clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { compose } from "../daemon/compose.ts";
import type { ServedEmulator } from "../emulator/serve.ts";
import { cancelJob } from "../emulator/submitter.ts";
import type { Job } from "../job/job.ts";
import type { BackendName } from "../job/profile.ts";
import { runName } from "../job/run.ts";
import { isTerminal } from "../job/status.ts";
import { type Log, writeToStderr } from "../log.ts";
import { createLifeView, type LifeScreen } from "../view/life.ts";
import { colorsOf } from "../view/lines.ts";
import { columnsOf } from "../view/width.ts";
import { version } from "./version.ts";

export interface Rehearsal {
  readonly config: Config;
  readonly backend: BackendName;
  /** Ids of the submitted jobs, and the names to show. */
  readonly jobs: ReadonlyMap<string, string>;
  readonly screen: LifeScreen;
  log(write: (text: string) => void): Log;
  /** Ends the jobs. */
  readonly signal: AbortSignal;
  /** So long they may take; then they are ended. */
  readonly patienceMs: number;
  readonly isTrial?: boolean;
}

/** The scheduler ends what it was asked to end within this, or nobody waits for it any longer than for its receipt. */
const endingMs = 45_000;

/** Each job as it was seen last. Those that are not closed were still going on when there was no time left. */
export async function rehearse(emx2: ServedEmulator, rehearsal: Rehearsal): Promise<ReadonlyMap<string, Job>> {
  const { config, backend, jobs, screen, log, signal, patienceMs, isTrial = false } = rehearsal;
  const view = createLifeView(screen, [...jobs]);
  const seen = new Map<string, Job>();
  const over = new AbortController();
  const hasEnded = (id: string) => {
    const job = seen.get(id);
    return job ? job.closed !== undefined : isTerminal(emx2.state.jobs.get(id)?.status ?? "PENDING");
  };
  const endWithTheLast = () => {
    if ([...jobs.keys()].every(hasEnded)) over.abort();
  };
  const told = log((text) => view.aside(() => writeToStderr(text)));
  const composed = await compose({
    config,
    backend,
    log: told,
    version: version.text,
    signal,
    isTrial,
    onChange(job) {
      seen.set(job.id, job);
      for (const id of jobs.keys()) view.show(id, emx2.state.jobs.get(id)?.transitions ?? []);
      endWithTheLast();
    },
  });
  if (composed.is === "held") throw new Error(`a fresh state directory is held by ${composed.by}`);
  const timers: (() => void)[] = [];
  const end = () => {
    if (backend === "slurm")
      told.warn("the jobs are being ended; a second signal would leave them at work", {
        endThem: [...jobs.keys()].map((id) => `scancel --name=${runName(id)}`).join("; "),
        directories: config.apptainer.tmpDir,
      });
    for (const id of jobs.keys()) cancelJob(emx2.state, id);
    endWithTheLast();
    timers.push(clock.timer(endingMs + config.worker.waits.receiptMs, () => over.abort()));
  };
  timers.push(clock.timer(patienceMs, end));
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
  try {
    await composed.daemon.run(over.signal);
  } finally {
    for (const cancel of timers) cancel();
    signal.removeEventListener("abort", end);
  }
  return seen;
}

export function screenOf(stream: NodeJS.WriteStream): LifeScreen {
  return {
    columns: columnsOf(stream, process.env),
    live: stream.isTTY === true && process.env["TERM"] !== "dumb",
    colors: colorsOf(stream),
    write: (text) => void stream.write(text),
  };
}
