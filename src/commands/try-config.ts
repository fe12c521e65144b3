/**
 * The configuration of a trial: the operator's own, with an embedded EMX2 in place of his, one profile, and directories that
 * are made for it: beside the job directories that a daemon has, and never among them.
 */
import { mkdirSync, mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeTree } from "../artifacts/removal.ts";
import { answeredWithin, onDisk } from "../artifacts/storage-fault.ts";
import { systemClock as clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { Secret } from "../config/secret.ts";
import type { Profile } from "../job/profile.ts";

export const trialWorkerId = "try-worker";

export interface TrialPlace {
  /** In `tmp_dir`: the job's directory is made in it. */
  readonly dir: string;
  /** In there: what the embedded EMX2 receives, where there is room for it. */
  readonly receivedDir: string;
  /** In `posix_output_dir`, where the profile leaves something there. */
  readonly posixDir?: string;
  /** The journal's. On a local disk, whatever `tmp_dir` is. */
  readonly stateDir: string;
}

/** Throws StorageError where a directory can not be made: then no job could have one. */
export async function makePlace(
  { apptainer: { tmpDir } }: Config,
  profile: Profile,
  uuid: string,
): Promise<TrialPlace> {
  const name = `try-${uuid.slice(0, 8)}`;
  const stateDir = await onDisk(act, tmpdir(), async () => mkdtempSync(join(tmpdir(), "emx2-hpc-try-")));
  const dir = join(tmpDir, name);
  const place = { stateDir, dir, receivedDir: join(dir, "received") };
  const made = [stateDir];
  const { posixOutputDir, outputResidence, logResidence } = profile;
  const isPosix = posixOutputDir !== undefined && [outputResidence, logResidence].includes("posix");
  try {
    await makeBelow(tmpDir, name);
    made.unshift(dir);
    await makeBelow(dir, "received");
    made.unshift(place.receivedDir);
    if (!isPosix) return place;
    await makeBelow(posixOutputDir, name);
    return { ...place, posixDir: join(posixOutputDir, name) };
  } catch (error) {
    for (const path of made) rmdirSync(path);
    throw error;
  }
}

const act = "make a directory for the trial in";

function makeBelow(parent: string, name: string): Promise<void> {
  // Not `parent`: where it is missing, its file system is not mounted.
  return onDisk(act, parent, async () => mkdirSync(join(parent, name), { mode: 0o700 }));
}

/** Gives up where storage answers nothing for so long. */
const removalAnswerMs = 60_000;

/** Once its job has ended. `keep`: the job's directory and what it has left elsewhere stay. Throws StorageError. */
export async function removePlace({ dir, posixDir, stateDir }: TrialPlace, keep: boolean): Promise<void> {
  for (const path of [stateDir, ...(keep ? [] : [dir, posixDir])]) {
    if (path === undefined) continue;
    await answeredWithin(clock, removalAnswerMs, path, (progress) =>
      onDisk("remove", path, () => removeTree(path, progress)),
    );
  }
}

export interface TrialServer {
  readonly baseUrl: string;
  readonly secret: string;
}

const pollIntervalMs = 2_000;

export function trialConfig(config: Config, profile: Profile, place: TrialPlace, server: TrialServer): Config {
  const { dir, posixDir, stateDir } = place;
  return {
    ...config,
    emx2: {
      baseUrl: server.baseUrl,
      workerId: trialWorkerId,
      authMode: "hmac",
      secret: { kind: "inline", secret: new Secret(server.secret) },
      unknownJobsWaitMs: null,
    },
    worker: {
      ...config.worker,
      stateDir,
      pollIntervalMs,
      maxConcurrentJobs: 1,
      queueReportIntervalMs: 10_000,
      keepJobDirsMs: null,
      // Who tries is there, and is told at once what a daemon would wait for somebody to mend.
      heldJobsWaitMs: 1_000,
      neverRunnablePatienceMs: 30_000,
      uploadRetryMs: 60_000,
      minFreeDiskBytes: 0,
    },
    profiles: [
      { ...profile, allowedSubmitters: ["*"], ...(posixDir === undefined ? {} : { posixOutputDir: posixDir }) },
    ],
    apptainer: { ...config.apptainer, tmpDir: dir },
  };
}
