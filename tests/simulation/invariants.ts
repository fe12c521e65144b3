/**
 * What must hold of every world, whatever goes wrong in it, measured against what really happened. `check` is asked after
 * each event of an engine and each act of the cluster; it names the first promise that is broken.
 */
import type { EmulatorState, StoredJob } from "../../src/emulator/state.ts";
import { isTerminal, type JobStatus } from "../../src/job/status.ts";
import { outputs, straggled } from "./batch-script.ts";
import { type Cause, type Chronicle, cancels, short } from "./chronicle.ts";
import type { SlurmSite } from "./slurm-site.ts";

/** In any minute, of one daemon. */
const mostQueries = 24;
const mostRequestsInVain = 25;

export interface Invariants {
  check(): void;
  /** Of a world that has come to its end. */
  checkEnd(): void;
  queried(worker: string, at: number): void;
  /** A request to a server that is away. */
  askedInVain(worker: string, at: number): void;
  reported(jobId: string, status: JobStatus): void;
  readonly broken: string | undefined;
  breaks(what: string): void;
}

interface Parts {
  readonly server: EmulatorState;
  readonly jobs: readonly StoredJob[];
  isOurs(job: StoredJob): boolean;
  readonly site: SlurmSite;
  readonly chronicle: Chronicle;
  readonly requeue: boolean;
  /** Accounting is there all the time. */
  readonly tells: boolean;
}

export function createInvariants({ server, jobs, isOurs, site, chronicle, requeue, tells }: Parts): Invariants {
  let broken: string | undefined;
  let startsSeen = 0;
  let submissionsSeen = 0;
  const ended = new Map<string, JobStatus>();
  const reports = new Map<string, JobStatus>();
  const lately = new Map<string, number[]>();
  const breaks = (what: string) => {
    if (broken !== undefined) return;
    broken = what;
    chronicle.note(`BROKEN: ${what}`);
  };

  function checkStarts(): void {
    for (; startsSeen < chronicle.starts.length; startsSeen += 1) {
      const start = chronicle.starts[startsSeen];
      const twins = chronicle.starts.filter((other) => other.jobId === start?.jobId);
      const same = twins.filter(({ attempt, restart }) => attempt === start?.attempt && restart === start.restart);
      if (same.length > 1 || (!requeue && twins.length > 1))
        breaks(`a workload starts at most once: ${short(start?.jobId ?? "")} started ${twins.length} times`);
      const end = ended.get(start?.jobId ?? "");
      if (end === "COMPLETED" || end === "FAILED")
        breaks(`nothing starts after its end: ${short(start?.jobId ?? "")} was ${end}`);
    }
  }

  /** A lease keeps twins from running; none is submitted in the first place while Slurm knows of another. */
  function checkSubmissions(): void {
    for (; submissionsSeen < site.jobs.length; submissionsSeen += 1) {
      const fresh = site.jobs[submissionsSeen];
      const other = site.jobs.find(({ run, isForgotten }) => !isForgotten && run?.jobId === fresh?.run?.jobId);
      if (fresh?.run && other && other !== fresh)
        breaks(`one submission a job: ${short(fresh.run.jobId)} is Slurm jobs ${other.id} and ${fresh.id}`);
    }
  }

  function checkStatus(job: StoredJob): void {
    const before = ended.get(job.id);
    if (before !== undefined && before !== job.status)
      breaks(`an end is for ever: ${short(job.id)} was ${before}, is ${job.status}`);
    if (before !== undefined || !isTerminal(job.status)) return;
    ended.set(job.id, job.status);
    if (job.transitions.filter(({ to, from }) => isTerminal(to) && from !== to).length > 1)
      breaks(`one end a job: ${short(job.id)} has more`);
    judge(job);
  }

  function judge(job: StoredJob): void {
    const causes: ReadonlySet<Cause> = chronicle.causes.get(job.id) ?? new Set();
    const why = `${short(job.id)} is ${job.status}`;
    const last = chronicle.starts.filter(({ jobId }) => jobId === job.id).at(-1);
    if (job.status === "CANCELLED" && ![...causes].some((cause) => cancels.has(cause)))
      breaks(`no false CANCELLED: ${why}, and nobody wanted it`);
    // Who ended a run accounting alone can tell, once squeue has purged it.
    const mayKnow = tells && !site.jobs.some(({ run, isForgotten }) => run?.jobId === job.id && isForgotten);
    if (job.status === "FAILED") {
      const isChanged = causes.has("changed after its end");
      if (last?.ended === "well" && !isChanged) breaks(`no false FAILED: ${why}, and its run has ended well`);
      else if (last && last.ended === undefined) breaks(`no false FAILED: ${why}, and its run goes on`);
      else if (
        ![...causes].some((cause) => !cancels.has(cause) || cause === "preempted" || (cause === "scancel" && !mayKnow))
      )
        breaks(`no false FAILED: ${why}, and nothing went wrong with it`);
    }
    if (job.status !== "COMPLETED") return;
    const output = server.artifacts.get(job.outputArtifactId ?? "");
    const contents = [...(output?.files ?? [])].map(([path, { content }]) => `${path}: ${textOf(content)}`).sort();
    const whole = outputs.map((path) => `${path}: ${last?.result}`);
    if (output?.status !== "COMMITTED")
      breaks(`COMPLETED with outputs committed: those of ${short(job.id)} are ${output?.status}`);
    // A requeue that came to nothing takes no result away.
    else if ((last?.ended !== "well" && last?.ended !== "requeued") || contents.join() !== whole.join())
      breaks(`COMPLETED with the outputs of the run, and no others: ${short(job.id)} has ${JSON.stringify(contents)}`);
  }

  function checkArtifacts(): void {
    const seen = new Set<string>();
    for (const { name, status, files } of server.artifacts.values()) {
      if (status !== "COMMITTED" || files.size === 0 || name === null) continue;
      if (seen.has(name)) breaks(`one committed artifact a job and role: there are two of ${name}`);
      seen.add(name);
      if ([...files.values()].some(({ content }) => textOf(content) === straggled))
        breaks(`what is written after a run's end is in no artifact: it is in ${name}`);
    }
  }

  function inAMinute(what: string, at: number, most: number): void {
    const times = (lately.get(what) ?? []).filter((time) => time > at - 60_000);
    lately.set(what, [...times, at]);
    if (times.length >= most) breaks(`nobody is asked too often: ${what} more than ${most} times in a minute`);
  }

  return {
    get broken() {
      return broken;
    },
    breaks,
    check() {
      checkStarts();
      checkSubmissions();
      for (const job of jobs) checkStatus(job);
      checkArtifacts();
    },
    checkEnd() {
      for (const job of jobs)
        if (isOurs(job) && !isTerminal(job.status)) breaks(`everything ends: ${short(job.id)} is ${job.status}`);
      for (const job of site.jobs)
        if (site.isLive(job)) breaks(`nothing is left in Slurm: job ${job.id} is ${job.state}`);
    },
    queried: (worker, at) => inAMinute(`squeue by ${worker}`, at, mostQueries),
    askedInVain: (worker, at) => inAMinute(`EMX2, which is away, by ${worker}`, at, mostRequestsInVain),
    reported(jobId, status) {
      if (status !== "COMPLETED" && status !== "FAILED") return;
      const before = reports.get(jobId) ?? status;
      reports.set(jobId, before);
      if (before !== status) breaks(`one end a job: ${short(jobId)} was reported ${before}, and now ${status}`);
    },
  };
}

function textOf(content: Uint8Array | null): string {
  return new TextDecoder().decode(content ?? undefined);
}
