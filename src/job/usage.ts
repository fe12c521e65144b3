/** What a run has used, as Slurm's accounting recorded it. What was not recorded is absent, and never 0. */
import { duration } from "./run.ts";

export interface Usage {
  readonly elapsedSeconds?: number;
  readonly timeLimitSeconds?: number;
  /** Used by all processes, of what was allocated to it. */
  readonly cpuSeconds?: number;
  readonly allocatedCpuSeconds?: number;
  /** The largest of its steps' MaxRSS, and what it had on each node. */
  readonly maxRssBytes?: number;
  readonly memoryBytes?: number;
  readonly nodes?: number;
  readonly gpus?: number;
  readonly energyJoules?: number;
  /** Slurm ended it as OUT_OF_MEMORY, whatever its exit code. */
  readonly outOfMemory?: true;
}

/** `00:45:12, cpu 00:20:00 of 06:01:36, 3.98 GB of 4 GB on 1 node, 2 GPUs`; empty where nothing is known. */
export function usageWords(usage: Usage): string {
  const { elapsedSeconds, cpuSeconds, allocatedCpuSeconds, maxRssBytes, memoryBytes, nodes, gpus, energyJoules } =
    usage;
  const on = nodes === undefined ? undefined : `on ${counted(nodes, "node")}`;
  const memory = maxRssBytes === undefined ? undefined : of(gigabytes(maxRssBytes), memoryBytes, gigabytes);
  return [
    elapsedSeconds === undefined ? undefined : time(elapsedSeconds),
    cpuSeconds === undefined ? undefined : `cpu ${of(time(cpuSeconds), allocatedCpuSeconds, time)}`,
    memory === undefined ? on : [memory, on].filter((part) => part !== undefined).join(" "),
    gpus === undefined ? undefined : counted(gpus, "GPU"),
    energyJoules === undefined ? undefined : `${energyJoules} J`,
  ]
    .filter((part) => part !== undefined)
    .join(", ");
}

/** Slurm's units: 1 GB is 1024 MB. Two digits, or what tells small numbers apart. */
export function gigabytes(bytes: number): string {
  const [unit, name] = bytes < 2 ** 30 ? [2 ** 20, "MB"] : [2 ** 30, "GB"];
  return `${Number((bytes / unit).toFixed(2))} ${name}`;
}

export function time(seconds: number): string {
  return duration(seconds * 1_000);
}

function of(used: string, whole: number | undefined, words: (value: number) => string): string {
  return whole === undefined ? used : `${used} of ${words(whole)}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
