/**
 * Starts the batch script in a session of its own, which the daemon's end does not touch. A small launcher goes first: it
 * learns its own id, which no parent could tell it, leaves a record, says the id, and becomes the script. So a failure
 * before that point is told for certain, and nothing has run; after it the script's lease decides.
 */
import { access } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { errnoOf, isSystemError } from "../errors.ts";
import type { RunRef } from "../job/run.ts";
import { answered } from "./answered.ts";
import type { SubmitAnswer } from "./scheduler.ts";
import { bootMark, processOf } from "./shell-process.ts";
import { beganFile } from "./shell-record.ts";

export interface Launch {
  readonly clock: Clock;
  /** The whole environment of the script. */
  readonly env: Readonly<Record<string, string>>;
  /** What the record says. */
  readonly record: string;
  readonly signal: AbortSignal;
}

/** The launcher writes two small files; shared storage may take its time. */
export const launchMs = 10_000;
const maxWordsBytes = 4_096;

/** A daemon that has died hears nothing, and its run goes on: writing to it must not end the launcher (SIGPIPE). */
const launcher = `
umask 027
dir=$1 attempt=$2 boot=$3 began=$4 record=$5
read -r stat </proc/$$/stat && set -- \${stat##*) } && shift 19 || exit 1
export EMX2_RUN_ID="$$-$1-$boot"
log=$dir/.emx2/slurm-$EMX2_RUN_ID
printf '%s\\n' "$record" >"$began$EMX2_RUN_ID.part" && mv -f "$began$EMX2_RUN_ID.part" "$began$EMX2_RUN_ID" || exit 1
: >>"$log.out" >>"$log.err" || exit 1
trap '' PIPE
echo "$EMX2_RUN_ID"
trap - PIPE
exec /bin/sh "$dir/.emx2/job.sh" "$dir" "$attempt" >>"$log.out" 2>>"$log.err"
`;

export async function launch(run: RunRef, { clock, env, record, signal }: Launch): Promise<SubmitAnswer> {
  const script = join(run.dir, ".emx2", "job.sh");
  try {
    await answered(clock, run.dir, () => access(script));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const isGone = error.code === "ENOENT" || error.code === "ENOTDIR";
    return isGone ? { is: "refused", cause: `${script} is gone` } : { is: "unavailable", cause: error.message };
  }
  const child = start(["/bin/sh", "-c", launcher, "sh", ...argumentsOf(run, record)], env, run.dir);
  if (typeof child === "string") return { is: "unavailable", cause: child };
  const said = Promise.all([wordsOf(child.stdout), wordsOf(child.stderr)]);
  const words = await inTime(clock, signal, said);
  if (words === undefined) return { is: "doubt", cause: "the batch script did not say in time that it has begun" };
  const [id, complaint] = words.map((text) => text.trim());
  if (id !== undefined && processOf(id)) return { is: "submitted", schedulerId: id };
  return { is: "unavailable", cause: `the batch script could not be started: ${complaint || "no reason was given"}` };
}

function argumentsOf(run: RunRef, record: string): string[] {
  return [run.dir, run.attempt, bootMark(), beganFile(run, ""), record];
}

/** Bun's `detached` is setsid(2) (1.4.5; seen in /proc), so that no program of that name is needed. */
function start(argv: string[], env: Readonly<Record<string, string>>, cwd: string): Child | string {
  try {
    const child = Bun.spawn(argv, { env, cwd, detached: true, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    child.unref();
    return child;
  } catch (error) {
    // Such as EAGAIN and ENOMEM: nothing was started.
    if (errnoOf(error) === undefined) throw error;
    return `the batch script could not be started: ${error instanceof Error ? error.message : error}`;
  }
}

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

/** Both streams end when the launcher becomes the script, whose own go to the log files. */
async function wordsOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    if (bytes < maxWordsBytes) chunks.push(chunk.subarray(0, maxWordsBytes - bytes));
    bytes += chunk.byteLength;
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** What is not in time is left to go on by itself: killed half-way it could have taken the lease. */
async function inTime<T>(clock: Clock, signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  const over = Promise.withResolvers<undefined>();
  const giveUp = () => over.resolve(undefined);
  const callOff = clock.timer(launchMs, giveUp);
  signal.addEventListener("abort", giveUp, { once: true });
  if (signal.aborted) giveUp();
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    callOff();
    signal.removeEventListener("abort", giveUp);
  }
}
