/** Slurm as a whole: its commands, the controller, accounting, and the settings that the daemon's promises hang on. */
import type { Partition } from "../../scheduler/partitions.ts";
import type { Asked, SlurmProbe } from "../../scheduler/slurm-probe.ts";
import { type CheckItem, failed, listed, ok, warning } from "./item.ts";

/** Those that the daemon calls. */
const commands = ["sbatch", "squeue", "sacct", "scancel"] as const;
const oldestTried = { major: 22, minor: 5 };
/** A finished job that squeue forgets sooner may be missed between two polls; then sacct has to tell. */
const shortMinJobAgeS = 60;

export interface Cluster {
  readonly items: readonly CheckItem[];
  /** The controller does: more can be asked. */
  readonly answers: boolean;
  /** undefined: they are not known. */
  readonly partitions: readonly Partition[] | undefined;
}

export async function checkSlurm(probe: SlurmProbe): Promise<Cluster> {
  const fault = await probe.configurationFault();
  if (fault !== undefined) return silent([failed("Slurm", fault, nameConfiguration)]);
  const versions = await Promise.all(commands.map((command) => probe.version(command)));
  const items = versionItems(versions);
  if (items.some(({ result }) => result === "failed")) return silent(items);

  const [accounting, controller] = await Promise.all([probe.accounting(), checkController(probe)]);
  items.push(...controller);
  const isUp = controller.every(({ result }) => result !== "failed");
  const [settings, partitions] = isUp ? await Promise.all([probe.settings(), probe.partitions()]) : [];
  items.push(accountingItem(accounting));
  if (settings?.is === "answered") items.push(...settingItems(settings.value));
  if (partitions?.is === "failed") {
    items.push(
      warning("partitions", partitions.cause, "partitions of profiles are not compared; see whether sinfo works"),
    );
  }
  return { items, answers: isUp, partitions: partitions?.is === "answered" ? partitions.value : undefined };
}

export function silent(items: readonly CheckItem[]): Cluster {
  return { items, answers: false, partitions: undefined };
}

const nameConfiguration =
  "let SLURM_CONF name this cluster's slurm.conf, or unset it where the commands find their own";

function versionItems(versions: readonly Asked<string>[]): CheckItem[] {
  const item = "Slurm";
  const missing: string[] = [];
  const broken: CheckItem[] = [];
  const said = new Set<string>();
  versions.forEach((version, index) => {
    if (version.is === "answered") said.add(version.value);
    else if (version.missing) missing.push(commands[index] ?? "");
    else broken.push(failed(item, version.cause, brokenFix(version.cause)));
  });
  if (missing.length > 0) {
    const fix = "put Slurm's commands on PATH, or name their directory in slurm.bin_dir";
    return [failed(item, `${missing.join(", ")} not found`, fix), ...broken];
  }
  if (broken.length > 0) return broken.slice(0, 1);
  const words = [...said].join(", ");
  if (said.size > 1) return [warning(item, `its commands differ in version: ${words}`, "see which PATH finds first")];
  return [
    isTried(words)
      ? ok(item, words)
      : warning(item, `${words} is older than 22.05`, "what it does is not known; update"),
  ];
}

function brokenFix(cause: string): string {
  if (/process configuration file|establish a configuration source/i.test(cause)) return nameConfiguration;
  return "run the command by hand on this host, and ask the site if it fails";
}

/** A version that says something else altogether is not judged. */
function isTried(words: string): boolean {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(words) ?? [];
  if (major === undefined) return true;
  const newer = Number(major) - oldestTried.major || Number(minor) - oldestTried.minor;
  return newer >= 0;
}

/** `scontrol ping` answers at once where the others wait 10 s; then the very question that the daemon asks. */
async function checkController(probe: SlurmProbe): Promise<CheckItem[]> {
  const item = "slurmctld";
  const wait = "jobs wait until the controller answers; ask the site if this lasts";
  const ping = await probe.ping();
  const controllers = ping.is === "answered" ? ping.value : [];
  const down = controllers.filter(({ isUp }) => !isUp).map(({ name }) => name);
  if (down.length > 0 && down.length === controllers.length) return [failed(item, `down: ${down.join(", ")}`, wait)];
  const queue = await probe.queue();
  if (queue.is === "failed") return [failed(item, queue.cause, wait)];
  const answers = ok(item, "answers");
  if (down.length === 0) return [answers];
  return [answers, warning(item, `down: ${down.join(", ")}; another one serves`, "tell the site")];
}

function accountingItem(accounting: Asked<"answers" | "disabled">): CheckItem {
  const without = "the end of a job is then known from its receipt and from squeue alone";
  if (accounting.is === "answered") {
    if (accounting.value === "answers") return ok("accounting", "sacct answers");
    const fix = `not needed: ${without}, and a job that Slurm has forgotten is reported lost`;
    return warning("accounting", "is switched off on this cluster", fix);
  }
  return warning("accounting", accounting.cause, `jobs go on; while it is away, ${without}`);
}

function settingItems(settings: ReadonlyMap<string, string>): CheckItem[] {
  const known = ["MinJobAge", "KillWait", "JobRequeue"].flatMap((name) => {
    const value = settings.get(name);
    return value === undefined ? [] : [`${name} ${value}`];
  });
  if (known.length === 0) return [];
  const minJobAgeS = Number.parseInt(settings.get("MinJobAge") ?? "", 10);
  if (minJobAgeS < shortMinJobAgeS) {
    const detail = `squeue forgets finished jobs after ${minJobAgeS} s (${listed(known)})`;
    return [warning("cluster", detail, "keep worker.poll_interval_seconds below that, and accounting on")];
  }
  return [ok("cluster", listed(known))];
}
