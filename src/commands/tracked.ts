/** What `status`, `explain` and `cancel` know: the published snapshot, and which of its jobs is meant. */
import { join } from "node:path";
import { systemClock as clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { StateError } from "../errors.ts";
import { holdingOf } from "../journal/holding.ts";
import { readSnapshot, type Snapshot } from "../journal/snapshot.ts";
import type { Facts } from "../view/facts.ts";
import { UsageError } from "./usage.ts";

export interface Tracked {
  readonly snapshot: Snapshot;
  readonly facts: Facts;
}

/** Throws StateError where nothing was published yet. */
export function trackedIn({ worker: { stateDir } }: Config): Tracked {
  const path = join(stateDir, "snapshot.db");
  const snapshot = readSnapshot(path);
  if (!snapshot) {
    const message = `${path}: it is not there: neither run nor once has worked with this state directory yet, or another configuration names the right one (-c FILE)`;
    throw new StateError(message, { path, reason: "unusable" });
  }
  const { jobs, overview, writtenAt } = snapshot;
  const now = clock.wall();
  const holding = holdingOf(stateDir, now - writtenAt);
  return { snapshot, facts: { jobs, overview, writtenAt, holding, stateDir, now } };
}

const fewestCharacters = 4;
const mostNamed = 10;

type Meant = { readonly is: "one"; readonly jobId: string } | { readonly is: "none"; readonly why: string };

/** `given`: an id, or a beginning that one job alone has. */
export function jobMeant(given: string, { snapshot: { jobs, forgotten }, facts }: Tracked): Meant {
  const ids = [...jobs.map(({ id }) => id), ...forgotten];
  if (ids.includes(given)) return { is: "one", jobId: given };
  if (given.length < fewestCharacters)
    throw new UsageError(`a job's id or at least its first ${fewestCharacters} characters are needed, not "${given}"`);
  const meant = ids.filter((id) => id.toLowerCase().startsWith(given.toLowerCase()));
  const [first] = meant;
  if (first !== undefined && meant.length === 1) return { is: "one", jobId: first };
  const where = `the ${ids.length} jobs in ${facts.stateDir}`;
  if (first === undefined) return { is: "none", why: `no job begins with "${given}" among ${where}` };
  const more = meant.length > mostNamed ? [`and ${meant.length - mostNamed} more`] : [];
  return { is: "none", why: [`"${given}" may be any of`, ...meant.slice(0, mostNamed), ...more].join("\n  ") };
}
