/** The demo's own configuration: nothing is read from the user's, and everything lies in one directory. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { onDisk } from "../artifacts/storage-fault.ts";
import type { Config } from "../config/config.ts";
import { Secret } from "../config/secret.ts";
import { type Profile, profileDefaults } from "../job/profile.ts";
import { type DemoJob, profileName } from "./demo-jobs.ts";

export const workerId = "demo-worker";

export interface Place {
  readonly dir: string;
  readonly slurm: boolean;
  readonly partition?: string | undefined;
  readonly account?: string | undefined;
  readonly pollIntervalMs: number;
  readonly patienceMs: number;
}

export function demoConfig(
  emx2: { readonly baseUrl: string; readonly secret: string },
  jobs: readonly DemoJob[],
  place: Place,
): Config {
  const { dir, pollIntervalMs, patienceMs } = place;
  return {
    file: "(built in)",
    warnings: [],
    emx2: {
      baseUrl: emx2.baseUrl,
      workerId,
      authMode: "hmac",
      secret: { kind: "inline", secret: new Secret(emx2.secret) },
      unknownJobsWaitMs: null,
    },
    worker: {
      pollIntervalMs,
      maxConcurrentJobs: jobs.length,
      heartbeatIntervalMs: 30_000,
      maxConcurrentTransfers: 4,
      stateDir: join(dir, "state"),
      stateLeaseMs: 180_000,
      queueReportIntervalMs: 300_000,
      // What Slurm refuses is told at once: nobody will mend it while the demo runs.
      heldJobsWaitMs: 1_000,
      uploadRetryMs: null,
      keepJobDirsMs: null,
      minFreeDiskBytes: 0,
      waits: { receiptMs: 60_000, sealMs: patienceMs, cancelledMs: 60_000, lostAfterMs: patienceMs },
      neverRunnablePatienceMs: null,
      stderrLinesInReports: 20,
      maxLogBytes: 64 * 2 ** 20,
    },
    slurm: {
      maxSubmissionsPerMinute: 60,
      killWaitMs: 300_000,
      limits: { submitMs: 60_000, queryMs: 60_000, messageMs: 30_000, accountingLagMs: 90_000 },
    },
    profiles: jobs.map((job) => profileOf(job, place)),
    apptainer: { command: "apptainer", binds: [], tmpDir: join(dir, "jobs"), posixRoots: [] },
  };
}

function profileOf(job: DemoJob, { dir, partition, account }: Place): Profile {
  const entrypoint = join(dir, `${job.name}.sh`);
  writeFileSync(entrypoint, `#!/bin/sh\nset -eu\n${job.program}`, { mode: 0o755 });
  const processor = processorOf(job);
  return {
    key: `${processor}/${profileName}`,
    processor,
    profile: profileName,
    workload: { kind: "host", entrypoint },
    cpus: 1,
    time: "5",
    ...(partition === undefined ? {} : { partition }),
    ...(account === undefined ? {} : { account }),
    ...profileDefaults,
    outputResidence: job.residence,
    posixOutputDir: join(dir, "results"),
  };
}

export function processorOf({ name }: DemoJob): string {
  return `demo-${name}`;
}

/** With Slurm the nodes must see it: below home unless told otherwise. */
export function workDirectory(dir: string | undefined, slurm: boolean): Promise<string> {
  const parent = dir === undefined ? (slurm ? homedir() : tmpdir()) : resolve(dir);
  return onDisk("make a directory for the demo in", parent, async () => {
    mkdirSync(parent, { recursive: true });
    const made = mkdtempSync(join(parent, "emx2-hpc-demo-"));
    for (const part of ["jobs", "results"]) mkdirSync(join(made, part), { mode: 0o700 });
    return made;
  });
}
