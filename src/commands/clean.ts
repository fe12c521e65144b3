/**
 * `clean`: retention by hand. The directories that the daemon would remove one day go now, by the daemon or, where none runs,
 * by this command; nothing else is ever removed.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { defineCommand } from "citty";
import { sizeOfDirectory } from "../artifacts/directory-size.ts";
import { systemClock as clock } from "../clock.ts";
import { compose } from "../daemon/compose.ts";
import { dropRequest, requestsDir } from "../daemon/request-files.ts";
import { errnoOf } from "../errors.ts";
import { keptFor } from "../job/job.ts";
import { escapeText, writeToStderr } from "../log.ts";
import { type Kept, keptJson, keptText } from "../view/kept.ts";
import { colorsOf } from "../view/lines.ts";
import { answerIn, longestAnswerMs, operatorOf } from "./ask.ts";
import { exitCodes } from "./exit.ts";
import { configFor, globals, logFor, signalOf, warnOf } from "./globals.ts";
import { type Tracked, trackedIn } from "./tracked.ts";
import { version } from "./version.ts";

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const clean = defineCommand({
  meta: {
    name: "clean",
    description: "remove now the directories of jobs that have ended and whose results are at EMX2",
  },
  args: {
    ...globals,
    "dry-run": { type: "boolean", description: "say what would go, what stays and why; change nothing" },
    json: { type: "boolean", description: "with --dry-run: print it as JSON" },
  },
  async run({ args, data }) {
    const config = configFor(args);
    const tracked = trackedIn(config);
    if (args["dry-run"]) {
      const kept = await keptIn(config.apptainer.tmpDir, tracked);
      const colors = colorsOf(process.stdout);
      console.log(args.json ? JSON.stringify(keptJson(kept), null, 2) : keptText(kept, colors));
      return exitCodes.done;
    }
    const log = logFor(args, !args.verbose);
    warnOf(config, log);
    const signal = signalOf(data);
    const going = tracked.snapshot.jobs.filter((job) => keptFor(job) === undefined).map(({ id }) => id);
    const { stateDir } = config.worker;
    const name = await dropRequest(stateDir, { kind: "clean", by: await operatorOf(signal) }, clock);
    const composed = await compose({ config, backend: "slurm", log, version: version.text, signal });
    if (composed.is === "held") {
      const answer = await answerIn(stateDir, name, longestAnswerMs, signal);
      const waits = `has not taken the request yet; it lies in ${requestsDir(stateDir)} until it is`;
      return say(`${composed.by} ${answer === "waits" ? waits : "removes what may go"}`);
    }
    const left = (await composed.daemon.tidy(signal)).filter(({ id }) => going.includes(id));
    for (const { id, dir, waits } of left)
      complain(`${dir} of job ${id} is still there: ${waits.clean?.cause ?? "unknown"}`);
    say(`${going.length - left.length} of ${going.length} job directories are removed`);
    return left.length === 0 ? exitCodes.done : exitCodes.failed;
  },
});

/** Everything in `tmp_dir` that looks like a job's directory, and every job that is known. */
async function keptIn(tmpDir: string, { snapshot }: Tracked): Promise<Kept[]> {
  const known = new Map(snapshot.jobs.map((job) => [job.id, job]));
  const names = await readdir(tmpDir).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  });
  const dirs = new Map(names.filter((name) => uuid.test(name)).map((name) => [name, join(tmpDir, name)]));
  for (const { id, dir } of snapshot.jobs) dirs.set(id, dir);
  const kept: Kept[] = [];
  for (const [jobId, directory] of dirs) {
    const size = await sizeOfDirectory(directory);
    if (size === null) continue;
    const job = known.get(jobId);
    const stays = job ? keptFor(job) : "no job of this state has it any more: .emx2/owner in it tells whose it is";
    kept.push({ jobId, directory, size, closedAt: job?.closed?.at ?? null, stays: stays ?? null });
  }
  return kept;
}

function say(text: string): number {
  console.log(escapeText(text));
  return exitCodes.done;
}

function complain(text: string): void {
  writeToStderr(`${escapeText(text)}\n`);
}
