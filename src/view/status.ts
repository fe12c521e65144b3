/**
 * `status`: what is tracked, where each job stands and why it waits, from a snapshot alone. It says first how old that is and
 * whether a daemon runs.
 */
import type { Job } from "../job/job.ts";
import type { Movement, Outlook } from "../journal/overview.ts";
import { daemonFacts, type Fact, type Facts, type Look, labelled } from "./facts.ts";
import { table } from "./lines.ts";
import { type Part, partOf, stageOf } from "./stage.ts";
import { isoTime, span } from "./when.ts";
import { fitted } from "./width.ts";

/** One job, as `--json` has it. Times are ISO 8601 in UTC; null: there is none, or none is known. */
export interface JobRow {
  readonly jobId: string;
  readonly processor: string;
  readonly profile: string;
  readonly backend: string;
  /** EMX2's. */
  readonly status: string;
  readonly stage: string;
  /** Files on their way: how many and how much has arrived. */
  readonly moving: Movement | null;
  readonly claimedAt: string | null;
  readonly slurmJobId: string | null;
  readonly slurmState: string | null;
  /** When the scheduler was last asked about it. */
  readonly seenAt: string | null;
  readonly why: string;
  /** When it is looked at again though nothing happens. */
  readonly nextAt: string | null;
  readonly closedAt: string | null;
}

export function rowOf(job: Job, outlook: Outlook | undefined): JobRow {
  const { run, claim, closed } = job;
  const ref = run.stage === "none" ? undefined : run.ref;
  const state = run.stage === "tracked" ? run.row?.state : run.stage === "ended" ? run.outcome.state : undefined;
  return {
    jobId: job.id,
    processor: job.processor,
    profile: job.profileKey,
    backend: job.backend,
    status: job.server.status,
    stage: stageOf(job, outlook?.moving),
    moving: outlook?.moving ?? null,
    claimedAt: isoTime(claim.stage === "ours" ? claim.at : undefined),
    slurmJobId: ref?.schedulerId ?? null,
    slurmState: state ?? null,
    seenAt: isoTime(outlook?.lookedAt),
    why: closed ? closed.why : (outlook?.why ?? ""),
    nextAt: isoTime(outlook?.wakeAt),
    closedAt: isoTime(closed?.at),
  };
}

/** `all`: closed jobs too. */
export function statusJson(facts: Facts, all: boolean): object {
  const { jobs, overview, holding } = facts;
  return {
    stateDir: facts.stateDir,
    writtenAt: isoTime(facts.writtenAt),
    daemon: { is: holding.is, holder: holding.is === "nobody" ? null : holding.holder },
    workerId: overview?.workerId ?? null,
    emx2: overview?.emx2 ?? null,
    schedulers: overview?.schedulers ?? [],
    held: (overview?.held ?? []).map(({ profile, cause, since, nextProbeAt }) => {
      return { profile, cause, since: isoTime(since), nextProbeAt: isoTime(nextProbeAt) };
    }),
    notClaiming: (overview?.notClaiming ?? []).map(({ profile = null, cause }) => ({ profile, cause })),
    counts: countsOf(jobs),
    jobs: jobs.filter(({ closed }) => all || !closed).map((job) => rowOf(job, overview?.jobs[job.id])),
  };
}

export function statusText(facts: Facts, all: boolean, look: Look): string {
  const shown = facts.jobs.filter(({ closed }) => all || !closed);
  const head = headOf(facts).map(([name, text]) => labelled(name, text, look));
  return shown.length === 0 ? head.join("\n") : [...head, "", ...jobTable(shown, facts, look)].join("\n");
}

function headOf(facts: Facts): Fact[] {
  const { overview, jobs } = facts;
  const held = (overview?.held ?? []).map(({ profile, cause, since, nextProbeAt }): Fact => {
    const next = nextProbeAt > facts.now ? `in ${span(nextProbeAt - facts.now)}` : "now";
    return ["held", `${profile}, since ${span(facts.now - since)}: ${cause}; one job tries again ${next}`];
  });
  const notClaiming = (overview?.notClaiming ?? []).map(({ profile, cause }): Fact => {
    return ["claims", `${profile === undefined ? "nothing new is claimed" : `none for ${profile}`}: ${cause}`];
  });
  // What a daemon that is gone has seen last is no news of now.
  const [answers, silent] =
    facts.holding.is === "nobody" ? ["answered", "did not answer"] : ["answers", "does not answer"];
  const schedulers = (overview?.schedulers ?? []).map((scheduler): Fact => {
    const name = scheduler.backend === "slurm" ? "Slurm" : scheduler.backend;
    return [name, scheduler.answers ? answers : `${silent}; what runs there goes on`];
  });
  const { emx2 } = overview ?? {};
  const silence = emx2?.cause === undefined ? silent : `can not be asked: ${emx2.cause}`;
  return [
    ...daemonFacts(facts),
    ...(emx2 ? [["EMX2", `${emx2.url} ${emx2.reachable ? answers : `${silence}; results wait`}`] satisfies Fact] : []),
    ...schedulers,
    ...held,
    ...notClaiming,
    ["jobs", countsText(jobs)],
  ];
}

type Counts = Readonly<Record<Part, number>>;

function countsOf(jobs: readonly Job[]): Counts {
  const counts = { preparing: 0, queued: 0, running: 0, returning: 0, done: 0 };
  for (const job of jobs) counts[partOf(job)] += 1;
  return counts;
}

function countsText(jobs: readonly Job[]): string {
  const { preparing, queued, running, returning, done } = countsOf(jobs);
  const parts = [
    [preparing, "being prepared"],
    [queued, "in the queue"],
    [running, "running"],
    [returning, "bringing results back"],
  ] as const;
  const open = parts.filter(([count]) => count > 0).map(([count, words]) => `${count} ${words}`);
  const ended = done === 0 ? [] : [`${done} done, whose directories are kept`];
  return [...open, ...ended].join(", ") || "none";
}

/** In the table an id is cut to this; it grows where that would not tell two jobs apart. */
const shortIdLength = 8;

function jobTable(jobs: readonly Job[], { overview, now }: Facts, { columns, colors }: Look): string[] {
  const idLength = idLengthOf(jobs);
  const rows = jobs.map((job) => {
    const outlook = overview?.jobs[job.id];
    const row = rowOf(job, outlook);
    const since = job.closed?.at ?? (job.claim.stage === "ours" ? job.claim.at : job.offeredAt);
    return [
      job.id.slice(0, idLength),
      job.profileKey,
      row.stage,
      span(now - since),
      row.slurmJobId ?? "-",
      outlook?.lookedAt === undefined ? "-" : span(now - outlook.lookedAt),
      nextText(job, outlook, now),
    ];
  });
  const header = ["JOB", "PROFILE", "STAGE", "AGE", "RUN", "SEEN", "NEXT"];
  return table(header, rows, colors)
    .split("\n")
    .map((line) => fitted(line, columns));
}

/** What comes next and why it waits; what its stage has said already is not said again. */
export function nextText(job: Job, outlook: Outlook | undefined, now: number): string {
  if (job.closed) return job.closed.why;
  const why = whyText(job, outlook?.why ?? "");
  if (outlook?.wakeAt === undefined) return why;
  const next = `next step ${outlook.wakeAt > now ? `in ${span(outlook.wakeAt - now)}` : "now"}`;
  return why === "" ? next : `${why}; ${next}`;
}

function whyText(job: Job, why: string): string {
  if (job.run.stage !== "tracked" || !job.run.row || !why.startsWith(job.run.row.state)) return why;
  const part = partOf(job);
  return part === "queued" ? "waits for the scheduler to start it" : "waits for its end";
}

function idLengthOf(jobs: readonly Job[]): number {
  const longest = Math.max(...jobs.map(({ id }) => id.length));
  for (let length = shortIdLength; length < longest; length += 1)
    if (new Set(jobs.map(({ id }) => id.slice(0, length))).size === jobs.length) return length;
  return longest;
}
