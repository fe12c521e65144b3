/**
 * What accounting recorded of runs that have ended: one sacct for many, with their steps, since MaxRSS is told of those
 * alone. Fields that a site does not gather are empty or 0. Spellings as on 22.05 and 24.11.
 */
import type { RunRef } from "../job/run.ts";
import { phaseOf, type SlurmState } from "../job/run.ts";
import type { Usage } from "../job/usage.ts";

/** The name is the last: a user may have put the separator into it. */
const columns = [
  ...(["JobID", "User", "State", "ElapsedRaw", "TimelimitRaw", "TotalCPU", "CPUTimeRAW"] as const),
  ...(["MaxRSS", "NNodes", "AllocTRES", "ConsumedEnergyRaw", "JobName"] as const),
] as const;
type Row = Readonly<Record<(typeof columns)[number], string>>;

/** `sinceS`: how far back, in seconds before now. */
export function usageArgv(ids: readonly string[], sinceS: number): string[] {
  return [
    "sacct",
    "-P",
    "-n",
    "-S",
    `now-${Math.ceil(sinceS)}seconds`,
    `--jobs=${ids.join(",")}`,
    "-o",
    columns.join(),
  ];
}

/** By Slurm's id; runs that have not ended by accounting's word, and what is not `user`'s, are left out. */
export function readUsage(stdout: string, runs: readonly RunRef[], user: string): Map<string, Usage> {
  const rows = stdout.split("\n").flatMap((line) => rowOf(line) ?? []);
  const used = new Map<string, Usage>();
  for (const { schedulerId, name } of runs) {
    // An id alone may be another job's after a controller's crash.
    const job = rows.find((row) => row.JobID === schedulerId && row.User === user && row.JobName === name);
    if (schedulerId === undefined || job === undefined || !hasEnded(job)) continue;
    const steps = rows.filter(({ JobID }) => JobID.startsWith(`${schedulerId}.`));
    used.set(schedulerId, usageOf(job, steps));
  }
  return used;
}

function rowOf(line: string): Row | undefined {
  const texts = line.split("|");
  if (texts.length < columns.length) return undefined;
  texts.push(texts.splice(columns.length - 1).join("|"));
  return Object.fromEntries(columns.map((column, index) => [column, texts[index] ?? ""])) as Row;
}

function hasEnded({ State }: Row): boolean {
  const [word = ""] = State.split(" ");
  return Object.hasOwn(phaseOf, word) && phaseOf[word as SlurmState] === "ended";
}

function usageOf(job: Row, steps: readonly Row[]): Usage {
  const allocated = Object.fromEntries(job.AllocTRES.split(",").map((each) => each.split("=") as [string, string]));
  const nodes = wholeNumber(job.NNodes);
  const memory = bytesOf(allocated["mem"] ?? "", "M");
  const peaks = [job, ...steps].flatMap(({ MaxRSS }) => bytesOf(MaxRSS, "") ?? []);
  const energies = [job, ...steps].flatMap(({ ConsumedEnergyRaw }) => recorded(wholeNumber(ConsumedEnergyRaw)) ?? []);
  const limitMinutes = recorded(wholeNumber(job.TimelimitRaw));
  const usage = {
    elapsedSeconds: wholeNumber(job.ElapsedRaw),
    timeLimitSeconds: limitMinutes === undefined ? undefined : limitMinutes * 60,
    cpuSeconds: recorded(secondsOf(job.TotalCPU)),
    allocatedCpuSeconds: recorded(wholeNumber(job.CPUTimeRAW)),
    maxRssBytes: peaks.length === 0 ? undefined : Math.max(...peaks),
    memoryBytes: memory === undefined ? undefined : memory / (nodes || 1),
    nodes: recorded(nodes),
    gpus: recorded(wholeNumber(allocated["gres/gpu"] ?? "")),
    outOfMemory: job.State === "OUT_OF_MEMORY" ? true : undefined,
    energyJoules: energies.length === 0 ? undefined : Math.max(...energies),
  };
  return Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== undefined));
}

/** What a site does not gather is 0, and so is what can not be 0. */
function recorded(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value;
}

/** Energy that overran its counter is told as 2^64 - 2 (NO_VAL64): not recorded. */
function wholeNumber(text: string): number | undefined {
  const value = /^\d+$/.test(text) ? Number(text) : undefined;
  return value !== undefined && Number.isSafeInteger(value) ? value : undefined;
}

const units = ["", "K", "M", "G", "T", "P"];

/** `3432K`, `1.50G`; without a letter it is in `unit`. */
function bytesOf(text: string, unit: string): number | undefined {
  const [, number, letter = ""] = /^(\d+(?:\.\d+)?)([KMGTP]?)$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  return recorded(Math.round(Number(number) * 1024 ** units.indexOf(letter || unit)));
}

/** `[D-][HH:]MM:SS[.mmm]` */
function secondsOf(text: string): number | undefined {
  const [, days = "0", hours = "0", minutes = "0", seconds] =
    /^(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (seconds === undefined) return undefined;
  return Number(days) * 86_400 + Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds);
}
