/** The jobs that wait at EMX2, against the profiles here: which pairs are asked for, and which of them nothing here runs. */
import type { JobList, ListedJob } from "../../emx2/client.ts";
import type { Profile } from "../../job/profile.ts";
import { type CheckItem, listed, ok, warning } from "./item.ts";

export function pendingItems(profiles: readonly Profile[], { jobs, total, warnings }: JobList): CheckItem[] {
  const item = "pending jobs";
  const ours = jobs.filter((job) => isFor(profiles, job));
  const others = jobs.filter((job) => !isFor(profiles, job));
  const looked = total > jobs.length + warnings.length ? ` (the first ${jobs.length} of ${total} were looked at)` : "";
  const items = [ok(item, ours.length === 0 ? `none for the profiles here${looked}` : `${counted(ours)}${looked}`)];
  if (others.length > 0) {
    const detail = `no profile here is for ${counted(others)}${looked}`;
    items.push(warning(item, detail, "add a profile named processor/profile for each, unless other workers run them"));
  }
  const [first] = warnings;
  if (first !== undefined) {
    const fix = "have whoever submitted it look at it";
    items.push(warning(item, warnings.length > 1 ? `${first} (and ${warnings.length - 1} more)` : first, fix));
  }
  return items;
}

/** A job without a profile is for any profile of its processor. */
function isFor(profiles: readonly Profile[], job: ListedJob): boolean {
  return profiles.some(
    ({ processor, profile }) => processor === job.processor && (job.profile === null || job.profile === profile),
  );
}

/** `embed/gpu 3, embed (any profile) 1`, the most wanted first. */
function counted(jobs: readonly ListedJob[]): string {
  const counts = new Map<string, number>();
  for (const { processor, profile } of jobs) {
    const pair = profile === null ? `${processor} (any profile)` : `${processor}/${profile}`;
    counts.set(pair, (counts.get(pair) ?? 0) + 1);
  }
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return listed(sorted.map(([pair, count]) => `${pair.slice(0, maxPairChars)} ${count}`));
}

/** The words are a submitter's. */
const maxPairChars = 120;
