/**
 * Each profile against the cluster: does its partition exist and take jobs, is its time within the partition's, and would
 * sbatch take what its jobs would be submitted with? A time above the limit is compared here, since sbatch takes such a job
 * and leaves it PENDING for ever (22.05 to 26.05).
 */
import { keySaying } from "../../config/sbatch-options.ts";
import { type Profile, timeLimitMs } from "../../job/profile.ts";
import type { Partition } from "../../scheduler/partitions.ts";
import type { SlurmProbe, TestAnswer } from "../../scheduler/slurm-probe.ts";
import { type CheckItem, failed, listed, ok, warning } from "./item.ts";

/** Questions to the controller at the same time. */
const askedAtOnce = 4;

export interface ProfileParts {
  readonly profiles: readonly Profile[];
  readonly tmpDir: string;
  /** undefined: the cluster can not be asked, and nothing is tried. */
  readonly probe: SlurmProbe | undefined;
  /** undefined: they are not known, and nothing is compared. */
  readonly partitions: readonly Partition[] | undefined;
}

export async function checkProfiles({ profiles, tmpDir, probe, partitions }: ProfileParts): Promise<CheckItem[]> {
  const items: CheckItem[] = [];
  for (let from = 0; from < profiles.length; from += askedAtOnce) {
    const some = profiles.slice(from, from + askedAtOnce).map(async (profile) => {
      return profileItems(profile, partitions, await probe?.testOnly(profile, tmpDir));
    });
    items.push(...(await Promise.all(some)).flat());
  }
  return items;
}

export function profileItems(
  profile: Profile,
  partitions: readonly Partition[] | undefined,
  answer: TestAnswer | undefined,
): CheckItem[] {
  const item = `profile ${profile.key}`;
  const named = partitions === undefined ? [] : partitionsOf(profile, partitions);
  const faults = [...partitionFaults(item, profile, named, partitions), ...timeFaults(item, profile, named)];
  // What is said of the partition already explains the refusal.
  const known = faults.some(({ result }) => result === "failed");
  const submission = answer === undefined || known ? [] : submissionItems(item, profile, named, answer);
  const { processor, profile: name } = profile;
  const all = [...faults, ...submission];
  return all.length > 0 ? all : [ok(item, `processor ${processor}, profile ${name}${taken(named, answer)}`)];
}

/** `sbatch_args` may choose it as well; then sbatch alone judges. */
function partitionsOf({ partition, sbatchArgs }: Profile, partitions: readonly Partition[]): readonly Partition[] {
  if (sbatchArgs.some((entry) => keySaying(entry, ["partition"]))) return [];
  if (partition === undefined) return partitions.filter(({ isDefault }) => isDefault);
  const names = partition.split(",");
  return partitions.filter(({ name }) => names.includes(name));
}

function* partitionFaults(
  item: string,
  { partition }: Profile,
  named: readonly Partition[],
  partitions: readonly Partition[] | undefined,
): Generator<CheckItem> {
  const unknown = partition?.split(",").filter((name) => !named.some((each) => each.name === name)) ?? [];
  if (partitions !== undefined && unknown.length > 0) {
    const names = listed(partitions.map(({ name }) => name));
    yield failed(item, `there is no partition ${unknown.join(", ")}`, `set partition to one of: ${names}`);
    return;
  }
  for (const { name, availability, usableNodes } of named) {
    if (/^up$/i.test(availability)) {
      if (usableNodes > 0) continue;
      yield warning(
        item,
        `all nodes of partition ${name} are down or drained`,
        "its jobs wait; ask the site if this lasts",
      );
    } else if (/^down$/i.test(availability)) {
      yield warning(item, `partition ${name} is down`, "its jobs wait in the queue; ask the site if this lasts");
    } else {
      yield failed(item, `partition ${name} takes no jobs (${availability})`, "choose another one, or ask the site");
    }
  }
}

function* timeFaults(item: string, profile: Profile, named: readonly Partition[]): Generator<CheckItem> {
  const { time, qos } = profile;
  const [widest] = [...named].sort((a, b) => limitOf(b) - limitOf(a));
  if (time === undefined || widest === undefined || wholeMinutesMs(time) <= limitOf(widest)) return;
  const detail = `time ${time} is above the limit of partition ${widest.name}, ${widest.timeLimit}`;
  if (qos === undefined) {
    yield failed(item, `${detail}: its jobs would wait for ever`, `set time to ${widest.timeLimit} at most`);
  } else {
    yield warning(item, detail, `set time to ${widest.timeLimit} at most, unless QOS ${qos} overrides that limit`);
  }
}

function limitOf({ timeLimitMs: limitMs }: Partition): number {
  return limitMs ?? Number.POSITIVE_INFINITY;
}

/** Slurm counts in minutes, rounded up; a time without an end is above any limit. */
function wholeMinutesMs(time: string): number {
  const ms = timeLimitMs(time);
  return ms === undefined ? Number.POSITIVE_INFINITY : Math.ceil(ms / 60_000) * 60_000;
}

function submissionItems(
  item: string,
  profile: Profile,
  named: readonly Partition[],
  { is, words }: TestAnswer,
): CheckItem[] {
  switch (is) {
    case "accepted":
      return [];
    case "busy":
      return [warning(item, `sbatch would not take a job now: ${words}`, "jobs wait until it does")];
    case "unavailable":
      return [warning(item, `could not be tried with sbatch: ${words}`, "check again when Slurm answers")];
    case "refused": {
      // With every node down, --test-only refuses what sbatch would take and let wait (22.05).
      const noNodes =
        named.length > 0 && named.every(({ availability, usableNodes }) => availability !== "up" || usableNodes === 0);
      if (noNodes && /node configuration is not available/.test(words)) return [];
      return [failed(item, `sbatch refuses its jobs: ${words}`, refusalFix(profile, words))];
    }
  }
}

const keysBehind: readonly { readonly words: RegExp; readonly fix: string }[] = [
  { words: /account|association/i, fix: "correct account; `sacctmgr show assoc user=$USER` lists yours" },
  { words: /qos/i, fix: "correct qos; `sacctmgr show assoc user=$USER format=account,qos` lists yours" },
  { words: /partition/i, fix: "correct partition; `sinfo` lists them" },
  { words: /gres|gpu/i, fix: "correct gpus or gres; `sinfo -o '%P %G'` lists what nodes have" },
  { words: /feature/i, fix: "correct --constraint in sbatch_args; `sinfo -o '%P %f'` lists the features" },
  { words: /memory/i, fix: "lower memory; `sinfo -o '%P %c %m'` lists what nodes have" },
  { words: /time ?limit/i, fix: "lower time" },
  { words: /option/i, fix: "correct sbatch_args" },
  {
    words: /node configuration/i,
    fix: "lower cpus, memory, gpus or gres: no node has that much; `sinfo -o '%P %c %m %G'` lists what they have",
  },
];

function refusalFix({ key }: Profile, said: string): string {
  const known = keysBehind.find(({ words }) => words.test(said));
  return `${known?.fix ?? "correct its keys, or ask the site what it wants"} (profiles.${key})`;
}

function taken(named: readonly Partition[], answer: TestAnswer | undefined): string {
  if (answer?.is !== "accepted") return "";
  const where = named.length > 0 ? ` in partition ${named.map(({ name }) => name).join(",")}` : "";
  return `; sbatch would take its jobs${where}`;
}
