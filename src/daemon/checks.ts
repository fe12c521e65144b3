/**
 * What `check` looks at, one item after another: configuration, secret, directories, the scheduler's commands, profiles, EMX2.
 * It changes nothing anywhere: it never registers, submits nothing, and leaves no file behind.
 */
import { constants, existsSync } from "node:fs";
import { access, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { readSecret } from "../config/secret.ts";
import type { Emx2Client } from "../emx2/client.ts";
import { ApiError, ConfigError, formatProblem, isSystemError, NetworkError, SubprocessError } from "../errors.ts";
import type { Log } from "../log.ts";
import { probeSlurm } from "../scheduler/slurm-probe.ts";
import { submittingUser } from "./account.ts";
import { clientOf } from "./connect.ts";
import { commandLog } from "./schedulers.ts";

/** One line of `check`. `fix`: what to do about it. */
export interface CheckItem {
  readonly item: string;
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly fix?: string;
}

export interface CheckParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export async function* checks(parts: CheckParts): AsyncGenerator<CheckItem> {
  const { config, clock, log, signal } = parts;
  yield { item: "configuration", result: "ok", detail: config.file };
  for (const { message, hint, ...where } of config.warnings) {
    const detail = formatProblem({ ...where, message });
    yield { item: "configuration", result: "warning", detail, ...(hint === undefined ? {} : { fix: hint }) };
  }
  const secret = checkSecret(config);
  yield* secret;
  const account = await accountName(clock, signal);
  if (typeof account !== "string") yield account.failed;
  const user = typeof account === "string" ? account : "this user";
  yield await directory("state_dir", config.worker.stateDir, config.worker.minFreeDiskBytes, user);
  yield await directory("tmp_dir", config.apptainer.tmpDir, config.worker.minFreeDiskBytes, user);
  const { binDir } = config.slurm;
  if (typeof account === "string") {
    yield* probeSlurm({
      ...{ clock, signal, env: process.env, user },
      ...{ onCommand: commandLog(log), ...(binDir === undefined ? {} : { binDir }) },
    });
  }
  yield* profiles(config);
  if (secret.every(({ result }) => result !== "failed")) yield* server(parts);
}

/** Slurm can be asked nothing without it. */
async function accountName(clock: Clock, signal: AbortSignal): Promise<string | { readonly failed: CheckItem }> {
  try {
    return await submittingUser(clock, signal);
  } catch (error) {
    if (!(error instanceof SubprocessError)) throw error;
    const fix = "see whether `id -un` answers on this host; the name service (LDAP, sssd) may be away";
    return { failed: { item: "user", result: "failed", detail: error.message, fix } };
  }
}

function checkSecret(config: Config): CheckItem[] {
  const { secret, authMode } = config.emx2;
  const detail = secret.kind === "inline" ? "in the configuration itself" : secret.path;
  const items: CheckItem[] = [];
  try {
    readSecret(secret, (problem) => {
      items.push({ item: "secret", result: "warning", detail: formatProblem(problem) });
    });
    return [...items, { item: "secret", result: "ok", detail: `${detail} (${authMode})` }];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [{ item: "secret", result: "failed", detail: error.message }];
  }
}

/**
 * `run` makes a state directory that is not there yet; then the one above it must let us. tmp_dir has to be there: where it
 * is missing its file system is not mounted, and what is written in its place would be lost to the nodes.
 */
async function directory(
  item: "state_dir" | "tmp_dir",
  path: string,
  minFreeBytes: number,
  user: string,
): Promise<CheckItem> {
  const existing = item === "tmp_dir" ? path : existingAncestor(path);
  try {
    await access(existing, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = await statfs(existing);
    const free = bavail * bsize;
    const detail = `${path}${existing === path ? "" : " (will be made)"}, ${gigabytes(free)} free`;
    if (free >= minFreeBytes) return { item, result: "ok", detail };
    const fix = `free some space, or lower worker.min_free_disk (${gigabytes(minFreeBytes)}): below it nothing new is claimed`;
    return { item, result: "failed", detail, fix };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const fix = `make sure that ${existing} exists and ${user} may write there, or choose another directory`;
    return { item, result: "failed", detail: `${path}: ${error.message}`, fix };
  }
}

function existingAncestor(path: string): string {
  let existing = path;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  return existing;
}

function* profiles(config: Config): Generator<CheckItem> {
  if (config.profiles.length === 0)
    yield { item: "profiles", result: "failed", detail: "there are none", fix: "add one under profiles:" };
  for (const { key, processor, profile, unsupported } of config.profiles) {
    const item = `profile ${key}`;
    if (unsupported === undefined) yield { item, result: "ok", detail: `processor ${processor}, profile ${profile}` };
    else yield { item, result: "warning", detail: `not registered: ${unsupported}` };
  }
}

async function* server({ config, clock, log, signal }: CheckParts): AsyncGenerator<CheckItem> {
  const item = "EMX2";
  const { baseUrl, workerId } = config.emx2;
  const client = clientOf(config, clock, log);
  const health = await asked(item, () => client.health({ signal }));
  if ("failed" in health) return yield health.failed;
  const { hpcEnabled, apiVersion, workerCredentials } = health.value;
  const generation = workerCredentials ? "a secret for each worker" : "one shared secret";
  yield { item, result: "ok", detail: `${baseUrl} answers (API ${apiVersion ?? "unknown"}, ${generation})` };
  if (hpcEnabled === false && workerCredentials) {
    const fix = "set MOLGENIS_HPC_ENABLED=true in EMX2's _SYSTEM_ settings";
    return yield { item, result: "failed", detail: "its HPC API is switched off", fix };
  }
  const pending = await asked(item, () => pendingJobs(client, signal));
  if ("failed" in pending) return yield pending.failed;
  yield { item, result: "ok", detail: `worker ${workerId} is authenticated; ${pending.value} job(s) pending` };
}

async function pendingJobs(client: Emx2Client, signal: AbortSignal): Promise<number> {
  return (await client.listJobs({ status: "PENDING", pageSize: 1, maxJobs: 1 }, { signal })).total;
}

async function asked<T>(item: string, ask: () => Promise<T>): Promise<{ value: T } | { failed: CheckItem }> {
  try {
    return { value: await ask() };
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof NetworkError)) throw error;
    return { failed: { item, result: "failed", detail: error.message } };
  }
}

function gigabytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
