/**
 * Which run has an attempt, as the batch script wrote it down: `.emx2/lease.ATTEMPT` is a symlink to the id. It is the
 * strongest answer there is, and the only one that outlives the scheduler's memory. It lies on a shared file system, which
 * may never answer; a job may have put anything in its place.
 */
import { readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { errnoOf } from "../errors.ts";
import { holderOfLease, type RunRef } from "../job/run.ts";
import { answered } from "./answered.ts";

export interface Leases {
  /** The id that holds the run's attempt; undefined: none does, or the attempt was closed. */
  holderOf(run: RunRef): Promise<string | undefined>;
  /** Ids that can not be this run's: they hold other attempts of the job, or lost the lease and did nothing. */
  foreignIds(run: RunRef): Promise<ReadonlySet<string>>;
}

export function leasesOnDisk(clock: Clock): Leases {
  return { holderOf: (run) => leaseOf(run, clock), foreignIds: (run) => foreignIds(run, clock) };
}

export function leaseOf(run: RunRef, clock: Clock): Promise<string | undefined> {
  return answered(clock, run.dir, () => holderIn(run, `lease.${run.attempt}`));
}

export function foreignIds(run: RunRef, clock: Clock): Promise<ReadonlySet<string>> {
  return answered(clock, run.dir, async () => {
    const names = (await orAbsent(readdir(join(run.dir, ".emx2")))) ?? [];
    const others = names.filter((name) => /^lease\.[^.]+$/.test(name) && name !== `lease.${run.attempt}`);
    const holders = await Promise.all(others.map((name) => holderIn(run, name)));
    const losers = names.map((name) => /^lost\.[^.]+\.([^.]+)\.\d+$/.exec(name)?.[1]);
    return new Set([...holders, ...losers].filter((id) => id !== undefined));
  });
}

async function holderIn(run: RunRef, name: string): Promise<string | undefined> {
  const target = await orAbsent(readlink(join(run.dir, ".emx2", name)));
  return target === undefined ? undefined : holderOfLease(target);
}

/** EINVAL: it is no symlink. ENOTDIR, ELOOP: the job has put something else in its directory's place. */
async function orAbsent<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (["ENOENT", "EINVAL", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}
