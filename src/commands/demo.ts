/**
 * `demo`: no configuration, no server, no network. An EMX2 on loopback with three jobs, the real engine, and this host's
 * shell or its Slurm. Exit 0 only if all came back right.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { defineCommand } from "citty";
import { onDisk } from "../artifacts/storage-fault.ts";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { Secret } from "../config/secret.ts";
import { compose } from "../daemon/compose.ts";
import { type ServedEmulator, serve } from "../emulator/serve.ts";
import { addArtifact, addJob, addWorkerCredential } from "../emulator/submitter.ts";
import { type Profile, profileDefaults } from "../job/profile.ts";
import { isTerminal } from "../job/status.ts";
import { createLifeView, timeIn } from "../view/life.ts";
import { type Colors, colorsOf, table } from "../view/lines.ts";
import { type DemoJob, demoJobs } from "./demo-jobs.ts";
import { type Verdict, verdictOf } from "./demo-verdict.ts";
import { exitCodes } from "./exit.ts";
import { globals, logFor, signalOf } from "./globals.ts";
import { UsageError } from "./usage.ts";
import { version } from "./version.ts";

/** A queue may be long; a demo that waits longer is better looked at by hand. */
const patienceMs = 15 * 60_000;
const pollIntervalMs = 500;
const slurmPollIntervalMs = 2_000;
const workerId = "demo-worker";

export const demo = defineCommand({
  meta: { name: "demo", description: "three sample jobs against an embedded EMX2; needs no configuration" },
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
    if (!args.slurm && (args.partition || args.account)) throw new UsageError("--partition and --account need --slurm");
    const dir = await workDirectory(args.dir, args.slurm === true);
    const emx2 = await serve({ clock: systemClock });
    try {
      const verdicts = await play(emx2, { dir, args, signal: signalOf(data) });
      return report(verdicts, dir, args.slurm === true);
    } finally {
      await emx2.stop();
    }
  },
});

interface Play {
  readonly dir: string;
  readonly args: {
    readonly slurm?: boolean | undefined;
    readonly partition?: string | undefined;
    readonly account?: string | undefined;
    readonly verbose?: boolean | undefined;
    readonly "json-logs"?: boolean | undefined;
  };
  readonly signal: AbortSignal;
}

async function play(emx2: ServedEmulator, { dir, args, signal }: Play): Promise<readonly Verdict[]> {
  const secret = systemClock.uuid();
  addWorkerCredential(emx2.state, workerId, secret);
  const ids = new Map(demoJobs.map((job) => [submit(emx2, job), job]));
  const view = createLifeView(
    process.stdout,
    colorsOf(process.stdout),
    [...ids].map(([id, job]) => [id, job.name]),
  );
  const over = new AbortController();
  const backend = args.slurm ? "slurm" : "shell";
  const composed = await compose({
    config: configOf(emx2.url, secret, dir, args),
    backend,
    log: logFor(args, !args.verbose),
    version: version.text,
    signal,
    onChange() {
      for (const [id] of ids) view.show(id, emx2.state.jobs.get(id)?.transitions ?? []);
      const open = [...ids.keys()].some((id) => !isTerminal(emx2.state.jobs.get(id)?.status ?? "PENDING"));
      if (!open) over.abort();
    },
  });
  if (composed.is === "held") throw new Error(`a fresh state directory is held by ${composed.by}`);
  const tooLong = systemClock.timer(patienceMs, () => over.abort());
  await composed.daemon.run(AbortSignal.any([signal, over.signal]));
  tooLong();
  view.end();
  return [...ids].map(([id, job]) => verdictOf(emx2.state, id, job));
}

function submit(emx2: ServedEmulator, job: DemoJob): string {
  const input = addArtifact(emx2.state, { name: `${job.name}-input`, files: job.input });
  const parametersText = JSON.stringify(job.parameters);
  return addJob(emx2.state, { processor: `demo-${job.name}`, profile: "default", inputs: [input], parametersText });
}

function configOf(baseUrl: string, secret: string, dir: string, args: Play["args"]): Config {
  return {
    file: "(built in)",
    warnings: [],
    emx2: {
      baseUrl,
      workerId,
      authMode: "hmac",
      secret: { kind: "inline", secret: new Secret(secret) },
    },
    worker: {
      pollIntervalMs: args.slurm ? slurmPollIntervalMs : pollIntervalMs,
      maxConcurrentJobs: demoJobs.length,
      heartbeatIntervalMs: 30_000,
      maxConcurrentTransfers: 4,
      stateDir: join(dir, "state"),
      queueReportIntervalMs: 300_000,
      heldJobsWaitMs: null,
      keepJobDirsMs: null,
      minFreeDiskBytes: 0,
      lostAfterMs: patienceMs,
      stderrLinesInReports: 20,
    },
    slurm: { maxSubmissionsPerMinute: 60 },
    profiles: demoJobs.map((job) => profileOf(job, dir, args)),
    apptainer: { command: "apptainer", binds: [], tmpDir: join(dir, "jobs"), posixRoots: [] },
  };
}

function profileOf(job: DemoJob, dir: string, { partition, account }: Play["args"]): Profile {
  const entrypoint = join(dir, `${job.name}.sh`);
  writeFileSync(entrypoint, `#!/bin/sh\nset -eu\n${job.program}`, { mode: 0o755 });
  return {
    key: `demo-${job.name}/default`,
    processor: `demo-${job.name}`,
    profile: "default",
    workload: { kind: "host", entrypoint },
    cpus: 1,
    time: "5",
    ...(partition === undefined ? {} : { partition }),
    ...(account === undefined ? {} : { account }),
    ...profileDefaults,
  };
}

/** With Slurm the nodes must see it: below home unless told otherwise. */
function workDirectory(dir: string | undefined, slurm: boolean): Promise<string> {
  const parent = dir === undefined ? (slurm ? homedir() : tmpdir()) : resolve(dir);
  return onDisk("make a directory for the demo in", parent, async () => {
    mkdirSync(parent, { recursive: true });
    const made = mkdtempSync(join(parent, "emx2-hpc-demo-"));
    mkdirSync(join(made, "jobs"), { mode: 0o700 });
    return made;
  });
}

/** Narrow enough for 80 columns. */
function resultTable(verdicts: readonly Verdict[], colors: Colors): string {
  const passed = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED"] as const;
  const rows = verdicts.map(({ name, job, status, output, verified }) => [
    name,
    status,
    output ? `${output.sizeBytes ?? 0} B, ${verified ? "verified" : "WRONG"}` : "none",
    ...passed.map((each) => timeIn(each, job.transitions)),
  ]);
  return table(["job", "status", "output, hash", ...passed], rows, colors);
}

function report(verdicts: readonly Verdict[], dir: string, slurm: boolean): number {
  const colors = colorsOf(process.stdout);
  console.log(`\n${resultTable(verdicts, colors)}\n`);
  for (const { name, wrong } of verdicts)
    if (wrong) console.log(`${colors.bad("not as it should be")}  ${name}: ${wrong}`);
  const right = verdicts.every(({ wrong }) => wrong === undefined);
  console.log(right ? "All jobs came back as they should." : "Not all jobs came back as they should.");
  console.log(`\nWhere to look: ${dir}`);
  console.log("  jobs/<job id>/output      what the program wrote");
  console.log("  jobs/<job id>/.emx2       batch script, receipts, stdout and stderr");
  console.log(`  remove it when you have seen enough: rm -r ${dir}`);
  if (!slurm) console.log("Next: emx2-hpc-daemon demo --slurm runs the same jobs on this cluster's Slurm.");
  return right ? exitCodes.done : exitCodes.failed;
}
