/**
 * What profiles run: host programs and Apptainer, looked at from this host. A name, or what only a prelude or the
 * compute nodes provide, can not be judged from here, and is a warning.
 */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { answeredWithin } from "../../artifacts/storage-fault.ts";
import type { Clock } from "../../clock.ts";
import type { Config } from "../../config/config.ts";
import { shellWord } from "../../config/printable.ts";
import { isSystemError, storageFault } from "../../errors.ts";
import type { Profile } from "../../job/profile.ts";
import { failureLine, run, succeeded } from "../../subprocess.ts";
import { type CheckItem, failed, listed, ok, warning } from "./item.ts";

/** A dead mount never answers. */
const answerMs = 5_000;
const versionTimeoutMs = 15_000;

export interface ProgramParts {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly config: Config;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export async function checkPrograms(parts: ProgramParts): Promise<CheckItem[]> {
  const { profiles } = parts.config;
  const entrypoints = distinct(profiles, ({ workload }) =>
    workload.kind === "host" ? workload.entrypoint : undefined,
  );
  const usesImages = profiles.some(({ workload }) => workload.kind === "image");
  const items = await Promise.all([
    ...[...entrypoints].map(([entrypoint, keys]) => hostProgram(parts, entrypoint, keys)),
    ...(usesImages ? [apptainer(parts)] : []),
  ]);
  return items;
}

/** What several profiles name is looked at once. */
function distinct(profiles: readonly Profile[], of: (profile: Profile) => string | undefined): Map<string, Profile[]> {
  const found = new Map<string, Profile[]>();
  for (const profile of profiles) {
    const what = of(profile);
    if (what !== undefined) found.set(what, [...(found.get(what) ?? []), profile]);
  }
  return found;
}

async function hostProgram(
  { clock, env }: ProgramParts,
  entrypoint: string,
  users: readonly Profile[],
): Promise<CheckItem> {
  const item = `host_entrypoint of ${listed(users.map(({ key }) => key))}`;
  if (!entrypoint.includes("/")) {
    const { PATH = "" } = env;
    const found = Bun.which(entrypoint, { PATH });
    if (found !== null) return ok(item, `${entrypoint} (${found})`);
    const detail = `${entrypoint} is not on this host's PATH`;
    return warning(item, detail, "name its whole path, unless a prelude or the compute nodes have it");
  }
  try {
    const stats = await answeredWithin(clock, answerMs, entrypoint, () => stat(entrypoint));
    if (!stats.isFile()) return failed(item, `${entrypoint} is not a file`, "name the program itself");
    await answeredWithin(clock, answerMs, entrypoint, () => access(entrypoint, constants.X_OK));
    return ok(item, entrypoint);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (error.code === "EACCES") {
      const fix = `have its owner run: chmod a+rx ${shellWord(entrypoint)} (and see that the way to it is open)`;
      return failed(item, `${entrypoint} can not be executed by this user`, fix);
    }
    const fix = "correct host_entrypoint, unless the compute nodes alone have it";
    return warning(item, `${entrypoint} is not there on this host: ${storageFault(error)}`, fix);
  }
}

async function apptainer({ clock, signal, config, env }: ProgramParts): Promise<CheckItem> {
  const item = "Apptainer";
  const { command } = config.apptainer;
  const { PATH = "", HOME = "/" } = env;
  const version = await run([command, "--version"], {
    clock,
    signal,
    env: { PATH, HOME },
    timeoutMs: versionTimeoutMs,
  });
  if (version.spawnError === "ENOENT") {
    const images = config.profiles.filter(({ workload }) => workload.kind === "image");
    const preluded = images.every(({ prelude }) => prelude.length > 0);
    const fix = preluded
      ? "nothing, if the profiles' prelude provides it on the compute nodes"
      : "install it, name it in apptainer.command, or load it in the profiles' prelude, unless the compute nodes have it";
    return warning(item, `${command} is not found on this host`, fix);
  }
  if (!succeeded(version)) return failed(item, failureLine(version), `run ${shellWord(command)} --version by hand`);
  const words = version.stdout.trim().split("\n", 1)[0] ?? "";
  if (!/^(apptainer|singularity)/.test(words))
    return failed(item, `${command} is neither Apptainer nor Singularity: ${words}`, "correct apptainer.command");
  if (evaluates(words))
    return warning(
      item,
      `${words} has no --no-eval: a job's values are escaped on their way`,
      "better have Apptainer 1.1 or SingularityCE 3.10; before 1.0 and 3.9 no job starts",
    );
  return ok(item, words);
}

/** Without `--no-eval` a shell in the container evaluates a job's values. */
function evaluates(words: string): boolean {
  const [, name = "", major, minor] = /^(\S+) version (\d+)\.(\d+)/.exec(words) ?? [];
  if (major === undefined) return false;
  const least = name.startsWith("singularity") ? [3, 10] : [1, 1];
  const newer = Number(major) - (least[0] ?? 0) || Number(minor) - (least[1] ?? 0);
  return newer < 0;
}
