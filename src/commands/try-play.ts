/** A trial's course: the embedded EMX2 with its one job, the real engine, and the head node's side of what the job shows. */
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { systemClock as clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { mountOf, readMounts } from "../daemon/checks/mounts.ts";
import { serve } from "../emulator/serve.ts";
import { addArtifact, addJob, addWorkerCredential, type NewContent, job as storedJob } from "../emulator/submitter.ts";
import type { Profile } from "../job/profile.ts";
import { writeToStderr } from "../log.ts";
import { type Rehearsal, rehearse } from "./rehearsal.ts";
import { type TrialPlace, trialConfig, trialWorkerId } from "./try-config.ts";
import { receivedOf } from "./try-received.ts";
import type { Trial } from "./try-verdict.ts";
import { answerNode, readShown } from "./try-watch.ts";

export interface Asked {
  readonly config: Config;
  readonly profile: Profile;
  readonly place: TrialPlace;
  readonly inputs: readonly NewContent[];
  readonly parametersText: string;
}

/** In the queue and at work together. */
const patienceMs = 24 * 3_600_000;

export async function play(asked: Asked, around: Pick<Rehearsal, "screen" | "log" | "signal">): Promise<Trial> {
  const { config, profile, place, inputs, parametersText } = asked;
  const emx2 = await serve({ clock, contentDir: place.receivedDir });
  const over = new AbortController();
  try {
    const { state, url } = emx2;
    const secret = clock.uuid();
    addWorkerCredential(state, trialWorkerId, secret);
    const artifacts = inputs.length === 0 ? [] : [addArtifact(state, { name: "try-input", files: inputs })];
    const { processor, profile: name } = profile;
    const jobId = addJob(state, { processor, profile: name, inputs: artifacts, parametersText });
    const jobDir = join(place.dir, jobId);
    const answered = answerNode(jobDir, clock, over.signal).catch((error: unknown) => {
      if (!(error instanceof Error)) throw error;
      around.log(writeToStderr).warn("the node could not be answered", { cause: error.message });
      return undefined;
    });
    const jobs = await rehearse(emx2, {
      ...around,
      config: trialConfig(config, profile, place, { baseUrl: url, secret }),
      backend: "slurm",
      jobs: new Map([[jobId, `${processor}/${name}`]]),
      patienceMs,
      isTrial: true,
    });
    over.abort();
    const job = jobs.get(jobId);
    const shown = await readShown(jobDir, await answered);
    const received = await receivedOf(state, jobId, job);
    const image = profile.workload.kind === "image" ? await imageHere(profile.workload.image) : undefined;
    const mount = mountOf(await readMounts(), await realpath(place.dir));
    return { profile, stored: storedJob(state, jobId), job, shown, received, mount, ...(image && { image }) };
  } finally {
    over.abort();
    await emx2.stop();
  }
}

async function imageHere(path: string): Promise<Trial["image"]> {
  // Its absence has been the job's end, which says so.
  const stats = await stat(path).catch(() => undefined);
  return stats && { bytes: stats.size, mtimeS: Math.floor(stats.mtimeMs / 1_000) };
}
