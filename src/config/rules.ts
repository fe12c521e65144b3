/**
 * What one key means for another: names that exclude each other, keys that need each other, profiles that mean the same
 * pair. It looks at the data as it was written, whatever else is wrong with it, so that every fault is told at once.
 */

import { timeLimitMs } from "../job/profile.ts";
import type { Path, Plain } from "./document.ts";
import { isPlainHttpElsewhere } from "./places.ts";
import { excerpt } from "./printable.ts";
import { pairOf } from "./profile.ts";
import { durationMs, durationPattern } from "./quantities.ts";
import { keySaying, optionOfKey } from "./sbatch-options.ts";

export interface Fault {
  readonly path: Path;
  readonly message: string;
  readonly hint?: string;
}

export type Block = { readonly [key: string]: Plain };

export function* ruleFaults(root: Block): Generator<Fault> {
  const { emx2, worker, apptainer, profiles: profilesBlock } = root;
  yield* emx2Faults(blockOf(emx2));
  yield* tmpDirFaults(blockOf(apptainer));
  yield* atMostOne(["worker"], blockOf(worker), ["state_dir", "state_db"]);
  const profiles = Object.entries(blockOf(profilesBlock));
  for (const [key, settings] of profiles) yield* profileFaults(["profiles", key], blockOf(settings));
  yield* keyFaults(profiles);
}

/** Anything but a block counts as an empty one here: the schema has said that it is none. */
export function blockOf(value: Plain | undefined): Block {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Block) : {};
}

const secretKeys = ["worker_secret_file", "shared_secret_file", "worker_secret", "shared_secret"];

function* emx2Faults(emx2: Block): Generator<Fault> {
  yield* exactlyOne(["emx2"], emx2, secretKeys, "worker_secret_file");
  const { base_url: url, allow_insecure_http: allowed } = emx2;
  if (typeof url === "string" && isPlainHttpElsewhere(url) && allowed !== true) {
    const message = "must be https: over http the secret's signatures and all data can be read and changed on the way";
    yield { path: ["emx2", "base_url"], message, hint: "or set allow_insecure_http: true" };
  }
}

function* tmpDirFaults({ tmp_dir: directory }: Block): Generator<Fault> {
  if (typeof directory !== "string" || !directory.includes("\\")) return;
  const message = "must have no backslash: Slurm writes no job's log files below such a directory";
  yield { path: ["apptainer", "tmp_dir"], message };
}

const imageKeys = ["sif_sha256", "container_entrypoint", "apptainer_args", "isolation", "gpu_runtime"];

function* profileFaults(path: Path, profile: Block): Generator<Fault> {
  yield* exactlyOne(path, profile, ["sif_image", "host_entrypoint", "entrypoint"], "sif_image or host_entrypoint");
  for (const key of ["host_entrypoint", "entrypoint"]) {
    const { [key]: program } = profile;
    if (typeof program !== "string" || !program.includes("=")) continue;
    const message = "must have no = in it: env(1), which starts the program, would take it for a variable";
    yield { path: [...path, key], message, hint: "give it another name, with a symbolic link for instance" };
  }
  yield* atMostOne(path, profile, ["sbatch_args", "extra_args"]);
  yield* atMostOne(path, profile, ["gpus", "gres"]);
  yield* atMostOne(path, profile, ["submission_timeout_seconds", "claim_timeout_seconds"]);
  yield* commandFaults(path, profile);
  yield* warningFaults(path, profile);
  if (!isGiven(profile, "sif_image") && (isGiven(profile, "host_entrypoint") || isGiven(profile, "entrypoint"))) {
    for (const key of imageKeys.filter((name) => isGiven(profile, name))) {
      yield { path: [...path, key], message: "means nothing without sif_image" };
    }
  }
  const keys = Object.keys(optionOfKey).filter((key) => isGiven(profile, key));
  for (const list of ["sbatch_args", "extra_args"]) {
    for (const [index, entry] of listOf(profile[list]).entries()) {
      const key = typeof entry === "string" ? keySaying(entry, keys) : undefined;
      if (key) yield { path: [...path, list, index], message: `says the same as the key ${key}`, hint: "keep one" };
    }
  }
}

/** A command of the submitter's is only for a container that keeps it in, and that runs nothing else. */
function* commandFaults(path: Path, profile: Block): Generator<Fault> {
  const { allow_command: allowed, isolation } = profile;
  if (allowed !== true) return;
  const at = [...path, "allow_command"];
  if (!isGiven(profile, "sif_image")) yield { path: at, message: "means nothing without sif_image" };
  if (isolation === "host") {
    yield { path: at, message: "needs isolation: contained, since a job's own command is as trusted as its submitter" };
  }
}

/** Of sbatch's --signal. */
const longestWarningMs = 65_535_000;

function* warningFaults(path: Path, { warn_before_limit: warning, time }: Block): Generator<Fault> {
  if (!(typeof warning === "number" || (typeof warning === "string" && durationPattern.test(warning)))) return;
  const at = [...path, "warn_before_limit"];
  const ms = durationMs(warning);
  if (ms > longestWarningMs) yield { path: at, message: `must be at most ${longestWarningMs / 1_000} seconds` };
  const limitMs = timeLimitMs(String(time));
  if (limitMs !== undefined && ms >= limitMs) {
    yield { path: at, message: "must be shorter than time: the warning would come at the start" };
  }
}

function* keyFaults(profiles: readonly (readonly [string, Plain])[]): Generator<Fault> {
  const seen = new Map<string, string>();
  for (const [key, settings] of profiles) {
    const { processor, profile } = blockOf(settings);
    const pair = pairOf(key, {
      ...(typeof processor === "string" && { processor }),
      ...(typeof profile === "string" && { profile }),
    });
    if (typeof pair === "string" || unusableKeys.includes(key)) {
      yield { path: ["profiles", key], message: typeof pair === "string" ? pair : "cannot be the name of a profile" };
      continue;
    }
    const text = JSON.stringify([pair.processor, pair.profile]);
    const first = seen.get(text);
    seen.set(text, first ?? key);
    if (first === undefined) continue;
    const meaning = `processor ${excerpt(pair.processor)}, profile ${excerpt(pair.profile)}`;
    yield { path: ["profiles", key], message: `means the same as ${excerpt(first)}: ${meaning}`, hint: "keep one" };
  }
}

/** valibot leaves these keys out of records without a word. */
const unusableKeys = ["__proto__", "prototype", "constructor"];

function* exactlyOne(path: Path, block: Block, keys: readonly string[], wanted: string): Generator<Fault> {
  if (keys.some((key) => isGiven(block, key))) return yield* atMostOne(path, block, keys);
  yield { path, message: `needs ${wanted}` };
}

function* atMostOne(path: Path, block: Block, keys: readonly string[]): Generator<Fault> {
  const [first, ...others] = keys.filter((key) => isGiven(block, key));
  for (const other of others) {
    yield { path: [...path, other], message: `cannot stand beside ${first}`, hint: "keep one of the two" };
  }
}

/** An empty text is as good as none: `sif_image: ${IMAGE:-}`. */
function isGiven(block: Block, key: string): boolean {
  const value = block[key];
  return value !== undefined && value !== null && value !== "";
}

function listOf(value: Plain | undefined): readonly Plain[] {
  return Array.isArray(value) ? value : [];
}
