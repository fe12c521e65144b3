/**
 * Which run has an attempt, as the batch script wrote it down: `.emx2/lease.ATTEMPT` is a symlink to the id. It is the
 * strongest answer there is, and the only one that outlives the scheduler's memory.
 */
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { RunRef } from "../job/run.ts";

/** The id that holds the run's attempt; undefined: none does, or the attempt was closed. */
export function leaseOf(run: RunRef): string | undefined {
  const holder = linkText(join(run.dir, ".emx2", `lease.${run.attempt}`));
  return holder === "closed" ? undefined : holder;
}

/** Ids that can not be this run's: they hold other attempts of the job, or lost the lease and did nothing. */
export function foreignIds(run: RunRef): ReadonlySet<string> {
  const names = namesIn(join(run.dir, ".emx2"));
  const others = names.filter((name) => /^lease\.[^.]+$/.test(name) && name !== `lease.${run.attempt}`);
  const holders = others.flatMap((name) => linkText(join(run.dir, ".emx2", name)) ?? []);
  const losers = names.flatMap((name) => /^lost\.[^.]+\.([^.]+)\.\d+$/.exec(name)?.[1] ?? []);
  return new Set([...holders, ...losers]);
}

function linkText(path: string): string | undefined {
  return orAbsent(() => readlinkSync(path));
}

function namesIn(directory: string): string[] {
  return orAbsent(() => readdirSync(directory)) ?? [];
}

function orAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
