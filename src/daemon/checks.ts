/**
 * What `check` looks at. All begins at once, each question with a bound on its time, and comes out in a fixed order, so that
 * what hangs (an NFS mount, squeue, EMX2) costs seconds and is named. It changes nothing anywhere: it never registers,
 * submits nothing, and leaves no file behind.
 */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { SubprocessError } from "../errors.ts";
import type { Log } from "../log.ts";
import { createProbe, type SlurmProbe } from "../scheduler/slurm-probe.ts";
import { submittingUser } from "./account.ts";
import { checkConfiguration, checkSecret } from "./checks/configuration.ts";
import { checkOtherDirectories, checkStateDir, checkTmpDir } from "./checks/directories.ts";
import { checkEmx2 } from "./checks/emx2.ts";
import { checkImages } from "./checks/images.ts";
import { type CheckItem, failed } from "./checks/item.ts";
import { checkLoad } from "./checks/load.ts";
import { checkProfiles } from "./checks/profiles.ts";
import { checkPrograms } from "./checks/programs.ts";
import { type Cluster, checkSlurm, silent } from "./checks/slurm.ts";
import { commandLog } from "./schedulers.ts";

export type { CheckItem } from "./checks/item.ts";

export interface CheckParts {
  readonly config: Config;
  /** The configuration file's own data. */
  readonly written: unknown;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export async function* checks(parts: CheckParts): AsyncGenerator<CheckItem> {
  for (const section of begin(parts)) {
    for (const item of await section) {
      parts.signal.throwIfAborted();
      yield item;
    }
  }
}

/** What keeps jobs from being submitted at all: Slurm's commands, or whoever should answer them. Empty: nothing. */
export async function slurmFaults({ config, clock, log, signal }: Omit<CheckParts, "written">): Promise<CheckItem[]> {
  const { items, user } = await accountOf(clock, signal);
  const cluster = user === undefined ? silent([]) : await checkSlurm(probeOf(config, clock, log, signal, user));
  return [...items, ...cluster.items].filter(({ result }) => result === "failed");
}

/** In the order in which they are told. */
function begin({ config, written, clock, log, signal }: CheckParts): readonly Promise<readonly CheckItem[]>[] {
  const secret = checkSecret(config);
  const account = accountOf(clock, signal);
  const probe = account.then(({ user }) => (user ? probeOf(config, clock, log, signal, user) : undefined));
  const cluster = probe.then((slurm): Cluster | Promise<Cluster> => (slurm ? checkSlurm(slurm) : silent([])));
  const directories = account.then(({ user }) => ({ config, clock, user: user ?? "this user" }));
  const sections = [
    Promise.resolve([...checkConfiguration(config, written), ...secret]),
    account.then(({ items }) => items),
    cluster.then(({ items }) => items),
    directories.then((each) => checkStateDir(each)),
    directories.then((each) => checkTmpDir(each, cluster)),
    directories.then((each) => checkOtherDirectories(each)),
    checkPrograms({ config, clock, signal, env: process.env }),
    checkImages({ config, clock, env: process.env }),
    Promise.all([probe, cluster]).then(([slurm, { answers, partitions }]) => {
      const { profiles, apptainer } = config;
      return checkProfiles({ profiles, tmpDir: apptainer.tmpDir, partitions, probe: answers ? slurm : undefined });
    }),
    secret.some(({ result }) => result === "failed") ? Promise.resolve([]) : checkEmx2({ config, clock, log, signal }),
    Promise.resolve(checkLoad(config)),
  ];
  // The first that throws is told; those behind it count as handled.
  void Promise.allSettled(sections);
  return sections;
}

function probeOf(config: Config, clock: Clock, log: Log, signal: AbortSignal, user: string): SlurmProbe {
  const { binDir } = config.slurm;
  return createProbe({
    ...{ clock, signal, env: process.env, user, onCommand: commandLog(log) },
    ...(binDir === undefined ? {} : { binDir }),
  });
}

/** Slurm can be asked nothing without a name. */
async function accountOf(
  clock: Clock,
  signal: AbortSignal,
): Promise<{ readonly user?: string; readonly items: readonly CheckItem[] }> {
  try {
    return { user: await submittingUser(clock, signal), items: [] };
  } catch (error) {
    if (!(error instanceof SubprocessError)) throw error;
    const fix = "see whether `id -un` answers on this host; the name service (LDAP, sssd) may be away";
    return { items: [failed("user", error.message, fix)] };
  }
}
