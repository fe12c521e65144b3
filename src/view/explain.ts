/** `explain JOB`: where one job stands, why it waits, who can act, and everything that happened to it. */
import { type Diagnosis, diagnose } from "../job/diagnosis.ts";
import { type Job, lanes } from "../job/job.ts";
import { type Usage, usageWords } from "../job/usage.ts";
import { escapeText } from "../log.ts";
import { daemonFacts, type Fact, type Facts, type Look, labelled } from "./facts.ts";
import type { Told } from "./history.ts";
import { stageOf } from "./stage.ts";
import { type JobRow, nextText, rowOf } from "./status.ts";
import { isoTime, localSecond, localTime, span, zone } from "./when.ts";
import { whoCanAct } from "./who.ts";
import { wrapped } from "./width.ts";

export interface Explained {
  readonly jobId: string;
  /** Absent: the job is no longer kept, and its history is all there is. */
  readonly job: Job | undefined;
  readonly history: readonly Told[];
}

export function explainJson({ jobId, job, history }: Explained, facts: Facts): object {
  const { overview, writtenAt } = facts;
  const row: JobRow | { readonly jobId: string } = job ? rowOf(job, overview?.jobs[jobId]) : { jobId };
  return {
    writtenAt: isoTime(writtenAt),
    ...row,
    ...(job ? { directory: job.dir, whoCanAct: whoCanAct(job, overview), trouble: troubles(job), ...endOf(job) } : {}),
    history: history.map(({ at, text }) => ({ at: isoTime(at), text })),
  };
}

export function explainText({ jobId, job, history }: Explained, facts: Facts, look: Look): string {
  const present: Fact[] = job
    ? factsOf(job, facts)
    : [["stage", "no longer kept: it has ended and its directory is gone; what is left is its history"]];
  const head = [["job", jobId] as const, ...present, ...daemonFacts(facts)];
  return [
    ...head.map(([name, text]) => labelled(name, text, look)),
    "",
    look.colors.bold(history.length === 0 ? "history: none is kept" : `history (times in ${zone(facts.now)})`),
    ...history.map(({ at, text }) => wrapped(`${localSecond(at)}  ${escapeText(text)}`, look.columns, timeWidth + 2)),
  ].join("\n");
}

const timeWidth = "2026-11-23 00:06:49".length;

function factsOf(job: Job, { overview, now }: Facts): Fact[] {
  const { claim, run, stop, server, closed } = job;
  const outlook = overview?.jobs[job.id];
  const ref = run.stage === "none" ? undefined : run.ref;
  const end = endOf(job);
  const optional = (name: string, text: string | undefined): Fact[] => (text ? [[name, text]] : []);
  return [
    ["runs as", `${job.profileKey} (${job.backend})${job.submitUser === null ? "" : `, for ${job.submitUser}`}`],
    ["stage", stageOf(job)],
    ...optional("next", nextText(job, outlook, now)),
    ...optional("ending", stop && !closed ? `${stop.detail}, since ${span(now - stop.at)}` : undefined),
    ...troubles(job).map(({ lane, cause, failures }): Fact => ["trouble", `${lane}: ${cause} (${failures} in a row)`]),
    ...optional("cause", end.cause),
    ["who acts", whoCanAct(job, overview)],
    ...optional("hint", end.hint),
    ...optional("used", end.used && usageWords(end.used)),
    ...optional("claimed", claim.stage === "ours" ? `${localTime(claim.at)}, ${span(now - claim.at)} ago` : undefined),
    ...optional("run", ref?.schedulerId === undefined ? undefined : `${ref.schedulerId}, named ${ref.name}`),
    ...optional("seen", outlook?.lookedAt === undefined ? undefined : `${span(now - outlook.lookedAt)} ago`),
    ["EMX2", `says ${server.status}${server.doubt ? ", which is being looked into" : ""}`],
    ...optional("to report", job.outbox.map(({ status }) => status).join(", ")),
    ["directory", job.cleaned ? `${job.dir} (removed)` : job.dir],
  ];
}

/** Why it ended so, and what it has used; nothing while it goes on. */
function endOf(job: Job): Omit<Diagnosis, "who"> & { readonly used?: Usage } {
  if (job.run.stage !== "ended") return {};
  const { who: _, ...why } = diagnose(job, job.run.outcome);
  const { used } = job.run.outcome;
  return { ...why, ...(used && { used }) };
}

function troubles({ waits, closed }: Job) {
  if (closed) return [];
  return lanes.flatMap((lane) => {
    const wait = waits[lane];
    return wait && wait.failures > 0 ? [{ lane, cause: wait.cause, failures: wait.failures }] : [];
  });
}
