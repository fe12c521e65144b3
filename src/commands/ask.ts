/**
 * What an operator asks for about one job. The request is written down first, so that it is done whoever comes to it: the
 * daemon that runs, this command where none does, or the next one.
 */
import { systemClock as clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { submittingUser } from "../daemon/account.ts";
import { compose } from "../daemon/compose.ts";
import { answerTo, dropRequest, type Request, requestsDir } from "../daemon/request-files.ts";
import { SubprocessError } from "../errors.ts";
import type { Job } from "../job/job.ts";
import { escapeText, type Log, writeToStderr } from "../log.ts";
import { stageOf } from "../view/stage.ts";
import { exitCodes } from "./exit.ts";
import { configFor, type GlobalOptions, globals, logFor, signalOf, warnOf } from "./globals.ts";
import { jobMeant, trackedIn } from "./tracked.ts";
import { version } from "./version.ts";

/** A daemon looks every two seconds, and may be in the midst of something. */
export const longestAnswerMs = 15_000;
const lookAgainMs = 200;
/** Of a UUID. */
const wholeIdLength = 36;

export const aboutJob = {
  ...globals,
  job: { type: "positional", required: true, description: "its id, or a beginning of at least 4 characters" },
} as const;

/** What is asked for, and how that is told. */
interface Asked {
  readonly kind: Exclude<Request["kind"], "clean">;
  isTaken(jobId: string, by: string): string;
  isClosed(job: Job): string;
  goesOn(job: Job, stage: string): string;
}

/** Gives the exit code. */
export async function askFor(
  args: GlobalOptions & { readonly job: string },
  data: unknown,
  asked: Asked,
): Promise<number> {
  const signal = signalOf(data);
  const log = logFor(args, !args.verbose);
  const config = configFor(args);
  warnOf(config, log);
  const tracked = trackedIn(config);
  const meant = jobMeant(args.job, tracked);
  // The snapshot may be older than the job.
  if (meant.is === "none" && args.job.length < wholeIdLength) return refuse(meant.why);
  const jobId = meant.is === "one" ? meant.jobId : args.job;
  const job = tracked.snapshot.jobs.find(({ id }) => id === jobId);
  if (job?.closed) return refuse(`job ${jobId} has ended: ${job.closed.why}${leftBehind(job)}`);
  if (tracked.snapshot.forgotten.includes(jobId)) return refuse(`job ${jobId} has ended, and is no longer kept here`);
  return await ask(jobId, asked, { config, log, signal });
}

/** An end that EMX2 has been told is for ever; the data are not lost. */
function leftBehind({ outputs, outputBase, dir }: Job): string {
  return outputs.stage === "failed" ? `; its outputs are not at EMX2, and stay in ${outputBase ?? dir}` : "";
}

interface Asking {
  readonly config: Config;
  readonly log: Log;
  readonly signal: AbortSignal;
}

async function ask(jobId: string, asked: Asked, { config, log, signal }: Asking): Promise<number> {
  const { stateDir } = config.worker;
  const request = { kind: asked.kind, jobId, by: await operatorOf(signal) };
  const name = await dropRequest(stateDir, request, clock);
  const composed = await compose({ config, backend: "slurm", log, version: version.text, signal });
  const job = composed.is === "ready" ? await composed.daemon.attend(jobId, signal) : undefined;
  const answer = await answerIn(stateDir, name, composed.is === "held" ? longestAnswerMs : 0, signal);
  if (typeof answer === "object") return refuse(answer.refused);
  if (job)
    say(job.closed ? asked.isClosed(job) : `${asked.goesOn(job, stageOf(job))}; the next run or once goes on with it`);
  else if (composed.is === "ready") say(`job ${jobId} is not tracked any more`);
  else if (answer === "taken") say(asked.isTaken(jobId, composed.by));
  else
    say(
      `${composed.by} holds the state and has not taken the request yet; it lies in ${requestsDir(stateDir)} until it is`,
    );
  return exitCodes.done;
}

export async function answerIn(stateDir: string, name: string, waitMs: number, signal: AbortSignal) {
  const deadline = clock.mono() + waitMs;
  for (;;) {
    const answer = await answerTo(stateDir, name);
    if (answer !== "waits" || clock.mono() >= deadline) return answer;
    await clock.sleep(lookAgainMs, signal);
  }
}

/** Who asks, for whoever reads of it. */
export async function operatorOf(signal: AbortSignal): Promise<string> {
  return `the operator of this worker (${await nameOf(signal)})`;
}

async function nameOf(signal: AbortSignal): Promise<string> {
  const uid = `uid ${process.getuid?.()}`;
  try {
    return `${await submittingUser(clock, signal)}, ${uid}`;
  } catch (error) {
    if (!(error instanceof SubprocessError)) throw error;
    return uid;
  }
}

function say(text: string): void {
  console.log(escapeText(text));
}

function refuse(why: string): number {
  writeToStderr(`${why.split("\n").map(escapeText).join("\n")}\n`);
  return exitCodes.failed;
}
