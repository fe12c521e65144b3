/**
 * Slurm's partitions as `sinfo` shows them. Seen on Slurm 22.05: `cpu*|up|7-00:00:00|1|idle`, one line for each state that
 * nodes of the partition are in, the default partition with a star.
 */
import { SchedulerOutputError } from "../errors.ts";
import { timeLimitMs } from "../job/profile.ts";

export interface Partition {
  readonly name: string;
  readonly isDefault: boolean;
  /** `up`, `down` (jobs wait), `drain` or `inact` (sbatch refuses). */
  readonly availability: string;
  /** null: unlimited. */
  readonly timeLimitMs: number | null;
  /** As Slurm spells it. */
  readonly timeLimit: string;
  readonly nodes: number;
  /** Those that are neither down nor drained. */
  readonly usableNodes: number;
}

/** Partitions that are hidden from this user too: sbatch may take them all the same. */
export const sinfoArgv = ["sinfo", "-h", "-a", "-o", "%P|%a|%l|%D|%T"] as const;

/** Throws SchedulerOutputError where a line is none of sinfo's. */
export function parsePartitions(stdout: string): Partition[] {
  const byName = new Map<string, Partition>();
  for (const line of stdout.split("\n").filter((text) => text.trim() !== "")) {
    const row = parseLine(line);
    const known = byName.get(row.name);
    const both = known && { nodes: known.nodes + row.nodes, usableNodes: known.usableNodes + row.usableNodes };
    byName.set(row.name, { ...row, ...both });
  }
  return [...byName.values()];
}

function parseLine(line: string): Partition {
  const match = /^([^|]+?)(\*?)\|([^|]+)\|([^|]+)\|(\d+)\|(.*)$/.exec(line.trim());
  if (!match) {
    const message = `sinfo printed what is no partition: ${JSON.stringify(line.slice(0, 200))}`;
    throw new SchedulerOutputError(message, { argv: sinfoArgv, line });
  }
  const [, name = "", star, availability = "", timeLimit = "", count, state = ""] = match;
  const nodes = Number(count);
  return {
    name,
    isDefault: star === "*",
    availability,
    timeLimit,
    timeLimitMs: timeLimitMs(timeLimit) ?? null,
    nodes,
    usableNodes: isUsable(state) ? nodes : 0,
  };
}

/** A star after the state: the node does not respond. */
function isUsable(state: string): boolean {
  return !/^(down|drain|fail|error|unknown|inval|perfctrs)|\*$/i.test(state.trim());
}
