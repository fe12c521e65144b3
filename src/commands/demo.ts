/**
 * `demo`: no configuration, no server, no network. An EMX2 on loopback with a few jobs, the real engine, and this host's
 * shell or its Slurm. Exit 0 only if all came back right, the one that is meant to fail included.
 */
import { defineCommand } from "citty";
import { systemClock } from "../clock.ts";
import { type ServedEmulator, serve } from "../emulator/serve.ts";
import { addArtifact, addJob, addWorkerCredential } from "../emulator/submitter.ts";
import type { Log } from "../log.ts";
import type { LifeScreen } from "../view/life.ts";
import { wrapped } from "../view/width.ts";
import { demoConfig, type Place, processorOf, workDirectory, workerId } from "./demo-config.ts";
import { type DemoJob, demoJobs } from "./demo-jobs.ts";
import { demoReport } from "./demo-report.ts";
import { type Verdict, verdictOf } from "./demo-verdict.ts";
import { exitCodes } from "./exit.ts";
import { globals, logFor, signalOf } from "./globals.ts";
import { rehearse, screenOf } from "./rehearsal.ts";
import { UsageError } from "./usage.ts";

/** A queue may be long; a demo that waits longer is better looked at by hand. */
const patienceMs = 15 * 60_000;
const shellPollIntervalMs = 500;
const slurmPollIntervalMs = 2_000;

export const demo = defineCommand({
  meta: { name: "demo", description: "sample jobs against an embedded EMX2; needs no configuration" },
  args: {
    ...globals,
    slurm: { type: "boolean", description: "run them on this cluster's Slurm instead of this host" },
    partition: { type: "string", alias: "p", description: "Slurm partition (with --slurm)" },
    account: { type: "string", alias: "A", description: "Slurm account (with --slurm)" },
    dir: {
      type: "string",
      valueHint: "DIR",
      description: "where to work; with --slurm it must be visible from the nodes",
    },
  },
  async run({ args, data }) {
    const { slurm = false, partition, account } = args;
    if (!slurm && (partition || account)) throw new UsageError("--partition and --account need --slurm");
    const dir = await workDirectory(args.dir, slurm);
    const pollIntervalMs = slurm ? slurmPollIntervalMs : shellPollIntervalMs;
    const place: Place = { dir, slurm, partition, account, pollIntervalMs, patienceMs };
    const emx2 = await serve({ clock: systemClock });
    try {
      const screen = screenOf(process.stdout);
      const runner = slurm ? "Slurm" : "this host's shell";
      screen.write(
        `${wrapped(`Sample jobs against an embedded EMX2, run by ${runner} below ${dir}`, screen.columns)}\n\n`,
      );
      const log = (write: (text: string) => void) => logFor(args, !args.verbose, write);
      const verdicts = await play(emx2, { place, screen, log, signal: signalOf(data) });
      screen.write(`\n${demoReport(verdicts, screen)}\n\n${whereToLook(place)}\n`);
      return verdicts.every(({ wrong }) => wrong === undefined) ? exitCodes.done : exitCodes.failed;
    } finally {
      await emx2.stop();
    }
  },
});

interface Play {
  readonly place: Place;
  readonly screen: LifeScreen;
  log(write: (text: string) => void): Log;
  readonly signal: AbortSignal;
}

async function play(emx2: ServedEmulator, { place, screen, log, signal }: Play): Promise<readonly Verdict[]> {
  const secret = systemClock.uuid();
  addWorkerCredential(emx2.state, workerId, secret);
  const jobs = demoJobs(place.pollIntervalMs);
  const ids = new Map(jobs.map((job) => [submit(emx2, job), job]));
  await rehearse(emx2, {
    config: demoConfig({ baseUrl: emx2.url, secret }, jobs, place),
    backend: place.slurm ? "slurm" : "shell",
    jobs: new Map([...ids].map(([id, { name }]) => [id, name])),
    screen,
    log,
    signal,
    patienceMs,
  });
  return [...ids].map(([id, job]) => verdictOf(emx2.state, id, job));
}

function submit(emx2: ServedEmulator, job: DemoJob): string {
  const input = addArtifact(emx2.state, { name: `${job.name}-input`, files: job.input });
  return addJob(emx2.state, {
    processor: processorOf(job),
    profile: job.profile,
    inputs: [input],
    parametersText: JSON.stringify(job.parameters),
  });
}

function whereToLook({ dir, slurm }: Place): string {
  return [
    `Where to look: ${dir}`,
    "  jobs/<job id>/output      what the program wrote",
    "  jobs/<job id>/.emx2       batch script, receipts, stdout and stderr",
    "  results/<job id>          outputs that stay on the cluster",
    `Remove it when you have seen enough: rm -r ${dir}`,
    ...(slurm ? [] : ["Next: emx2-hpc-daemon demo --slurm runs the same jobs on this cluster's Slurm."]),
  ].join("\n");
}
