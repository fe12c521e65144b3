/**
 * `clean`: retention by hand. The directories that the daemon would remove one day go now, by the daemon or, where none runs,
 * by this command; nothing else is ever removed.
 */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { defineCommand } from "citty";
import { sizeOfDirectory } from "../artifacts/directory-size.ts";
import { controlDirectory } from "../artifacts/manifest.ts";
import { withDirectory } from "../artifacts/no-follow.ts";
import { describe, type Ownership, ownerFile, readOwner } from "../artifacts/owner.ts";
import { systemClock as clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { committedParts } from "../daemon/artifact-effects.ts";
import { compose } from "../daemon/compose.ts";
import { dropRequest, requestsDir } from "../daemon/request-files.ts";
import { errnoOf } from "../errors.ts";
import { type Job, keptFor } from "../job/job.ts";
import { escapeText, writeToStderr } from "../log.ts";
import { type Kept, keptJson, keptText } from "../view/kept.ts";
import { colorsOf } from "../view/lines.ts";
import { isoTime } from "../view/when.ts";
import { answerIn, longestAnswerMs, operatorOf } from "./ask.ts";
import { exitCodes } from "./exit.ts";
import { configFor, globals, logFor, signalOf, warnOf } from "./globals.ts";
import { type Tracked, trackedIn } from "./tracked.ts";
import { UsageError } from "./usage.ts";
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
    if (args.json && !args["dry-run"]) throw new UsageError("--json goes with --dry-run");
    const config = configFor(args);
    const tracked = trackedIn(config);
    if (args["dry-run"]) {
      const kept = await keptIn(config, tracked);
      const colors = colorsOf(process.stdout);
      console.log(args.json ? JSON.stringify(keptJson(kept), null, 2) : keptText(kept, colors));
      return exitCodes.done;
    }
    const log = logFor(args, !args.verbose);
    warnOf(config, log);
    const signal = signalOf(data);
    const going = tracked.snapshot.jobs.filter((job) => keptFor(job) === undefined && isOwned(job));
    const { stateDir } = config.worker;
    const name = await dropRequest(stateDir, { kind: "clean", by: await operatorOf(signal) }, clock);
    const composed = await compose({ config, backend: "slurm", log, version: version.text, signal });
    if (composed.is === "held") {
      const answer = await answerIn(stateDir, name, longestAnswerMs, signal);
      const waits = `has not taken the request yet; it lies in ${requestsDir(stateDir)} until it is`;
      return say(`${composed.by} ${answer === "waits" ? waits : "removes what may go"}`);
    }
    const known = new Map((await composed.daemon.tidy(signal)).map((job) => [job.id, job]));
    // The snapshot may be older than what the state knows: only what is gone has gone.
    const left = going.filter(isOwned);
    for (const { id, dir } of left) {
      const cause = known.has(id) ? known.get(id)?.waits.clean?.cause : "this state keeps no record of it any more";
      complain(`${dir} of job ${id} is still there: ${cause ?? "it was not reached; run clean again"}`);
    }
    say(`${going.length - left.length} of ${going.length} job directories are removed`);
    return left.length === 0 ? exitCodes.done : exitCodes.failed;
  },
});

/** Everything in `tmp_dir` that looks like a job's directory, and every job that is known. */
async function keptIn({ apptainer: { tmpDir } }: Config, { snapshot }: Tracked): Promise<Kept[]> {
  const known = new Map(snapshot.jobs.map((job) => [job.id, job]));
  const names = await readdir(tmpDir).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  });
  const dirs = new Map(names.filter((name) => uuid.test(name)).map((name) => [name, join(tmpDir, name)]));
  for (const { id, dir } of snapshot.jobs) dirs.set(id, dir);
  const kept: Kept[] = [];
  for (const [jobId, directory] of dirs) {
    const job = known.get(jobId);
    const parts = job && keptFor(job) === undefined ? committedParts(job) : [];
    const size = await sizeOfDirectory(directory, parts);
    if (size === null) continue;
    const stays = job ? keptFor(job) : await strangerAt(directory, isoTime(snapshot.writtenAt));
    kept.push({ jobId, directory, size, closedAt: job?.closed?.at ?? null, stays: stays ?? null, parts });
  }
  return kept;
}

/** What a person can do about a directory that no job in the snapshot has. */
async function strangerAt(directory: string, writtenAt: string | null): Promise<string> {
  const owner = await ownerAt(directory);
  if (owner.is === "state")
    return `no job had it at ${writtenAt}; it has ${describe(owner)}: newer than that, another daemon's, or kept for ever`;
  return `no job had it at ${writtenAt}, and it has ${describe(owner)}: it may be a posix artifact, look at EMX2 before you remove it`;
}

async function ownerAt(directory: string): Promise<Ownership> {
  try {
    return await withDirectory(directory, [controlDirectory], readOwner);
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    return code === "ENOENT" ? { is: "nobody" } : { is: "unreadable", why: `can not be read (${code})` };
  }
}

/** The owner file goes last of all. */
function isOwned({ dir }: Job): boolean {
  return existsSync(join(dir, controlDirectory, ownerFile));
}

function say(text: string): number {
  console.log(escapeText(text));
  return exitCodes.done;
}

function complain(text: string): void {
  writeToStderr(`${escapeText(text)}\n`);
}
