/**
 * `try PROCESSOR/PROFILE`: one job of a configured profile on the real Slurm and image, against an embedded EMX2. Neither the
 * real one nor its secret is needed, and a daemon at work with the same configuration is not disturbed. Exit 0 only if the job
 * COMPLETED, all of its outputs came back, and nothing else that was looked at has failed.
 */
import { stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { defineCommand } from "citty";
import { onDisk } from "../artifacts/storage-fault.ts";
import { systemClock as clock } from "../clock.ts";
import { nearestName } from "../config/check.ts";
import type { Config } from "../config/config.ts";
import { failed } from "../daemon/checks/item.ts";
import { type CheckItem, slurmFaults } from "../daemon/checks.ts";
import { gigabytes, spaceIn } from "../daemon/free-space.ts";
import type { NewContent } from "../emulator/submitter.ts";
import { StorageError } from "../errors.ts";
import type { Profile } from "../job/profile.ts";
import { writeToStderr } from "../log.ts";
import { checkText, colorsOf } from "../view/lines.ts";
import { trialJson, trialText } from "../view/trial.ts";
import { columnsOf } from "../view/width.ts";
import { exitCodes } from "./exit.ts";
import { configFor, globals, logFor, signalOf, warnOf } from "./globals.ts";
import { screenOf } from "./rehearsal.ts";
import { makePlace, removePlace } from "./try-config.ts";
import { play } from "./try-play.ts";
import { sha256OfBlob } from "./try-received.ts";
import { reportOf } from "./try-report.ts";
import { isProved } from "./try-verdict.ts";
import { UsageError, valuesOf } from "./usage.ts";

const args = {
  ...globals,
  profile: { type: "positional", required: true, description: "PROCESSOR/PROFILE, as it is configured" },
  input: {
    type: "string",
    valueHint: "FILE",
    description: "an input file; given again: one more of the same artifact",
  },
  arg: { type: "string", valueHint: "A", description: "an argument of the program (--arg=-x); may be given again" },
  param: {
    type: "string",
    valueHint: "K=V",
    description: "a parameter, its value JSON or else text; may be given again",
  },
  keep: { type: "boolean", description: "leave the job's directory and its outputs where they are" },
  json: { type: "boolean", description: "print the result as JSON; the states go to stderr" },
} as const;

export const tryOut = defineCommand({
  meta: {
    name: "try",
    description: "one job of a profile on the real Slurm and image, without EMX2: proves the profile",
  },
  args,
  async run({ args: given, rawArgs, data }) {
    const [files, words, parameters] = (["input", "arg", "param"] as const).map((name) =>
      valuesOf(rawArgs, args, name),
    );
    const log = (write?: (text: string) => void) => logFor(given, !given.verbose, write);
    const config = configFor(given);
    warnOf(config, log());
    const profile = profileMeant(given.profile, config);
    const parametersText = parametersOf(parameters ?? [], words ?? []);
    const inputs = await inputsOf(files ?? []);
    const look = { columns: columnsOf(process.stdout, process.env), colors: colorsOf(process.stdout) };
    // A daemon would wait for it, and so would the one that is to be tried.
    const faults = [
      ...(await slurmFaults({ config, clock, log: log(), signal: signalOf(data) })),
      ...(await roomFaults(config)),
    ];
    for (const fault of faults) writeToStderr(`${checkText(fault, look)}\n`);
    if (faults.length > 0) return exitCodes.failed;
    const place = await makePlace(config, profile, clock.uuid());
    // What may still be at work keeps its directory: until its end is known, that is so.
    let keep = true;
    let isTold = false;
    try {
      const screen = screenOf(given.json ? process.stderr : process.stdout);
      const asked = { config, profile, place, inputs, parametersText };
      const trial = await play(asked, { screen, log, signal: signalOf(data) });
      keep = given.keep || (trial.job !== undefined && trial.job.closed === undefined);
      isTold = true;
      const report = reportOf(trial, keep ? place.dir : undefined);
      console.log(given.json ? JSON.stringify(trialJson(report), null, 2) : `\n${trialText(report, look)}`);
      return isProved(report.verdicts) ? exitCodes.done : exitCodes.failed;
    } finally {
      if (!isTold) log().warn("the trial's directory is left, since its Slurm job may be at work", { dir: place.dir });
      await removePlace(place, keep).catch((error: unknown) => {
        if (!(error instanceof StorageError)) throw error;
        log().warn("what the trial has made could not be removed: do it by hand", { cause: error.message });
      });
    }
  },
});

/** A tmp_dir that can not be used is told where the trial's directory is made. */
async function roomFaults({ apptainer: { tmpDir }, worker: { minFreeDiskBytes } }: Config): Promise<CheckItem[]> {
  const space = await spaceIn(clock, tmpDir);
  if (typeof space === "string" || space.freeBytes >= minFreeDiskBytes) return [];
  const detail = `${tmpDir} has ${gigabytes(space.freeBytes)} free, worker.min_free_disk asks for ${gigabytes(minFreeDiskBytes)}`;
  return [
    failed("tmp_dir", detail, "free some space, or lower worker.min_free_disk: below it a daemon claims nothing"),
  ];
}

function profileMeant(given: string, { profiles }: Config): Profile {
  const nameOf = ({ processor, profile }: Profile) => `${processor}/${profile}`;
  const meant = profiles.find((profile) => profile.key === given || nameOf(profile) === given);
  if (meant) return meant;
  const names = profiles.map(nameOf);
  const near = nearestName(given, names);
  const guess = near === undefined ? `there are ${names.join(", ")}` : `did you mean ${near}?`;
  throw new UsageError(`the configuration has no profile ${given}: ${guess}`, "emx2-hpc-daemon try");
}

/** JSON: a value that is none is taken for text, and its spelling is kept. */
export function parametersOf(given: readonly string[], words: readonly string[]): string {
  const pairs = given.map((text) => {
    const at = text.indexOf("=");
    if (at <= 0) throw new UsageError(`--param takes K=V, not "${text}"`, "emx2-hpc-daemon try");
    return [text.slice(0, at), spelt(text.slice(at + 1))] as const;
  });
  const names = pairs.map(([name]) => name);
  const twice =
    names.find((name, index) => names.indexOf(name) !== index) ??
    (words.length > 0 && names.includes("args") ? "args" : undefined);
  if (twice !== undefined) throw new UsageError(`the parameter ${twice} is given twice`, "emx2-hpc-daemon try");
  const all = words.length === 0 ? pairs : [...pairs, ["args", JSON.stringify(words)] as const];
  return `{${all.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

function spelt(value: string): string {
  try {
    JSON.parse(value);
    return value;
  } catch {
    return JSON.stringify(value);
  }
}

async function inputsOf(files: readonly string[]): Promise<NewContent[]> {
  const inputs = new Map<string, NewContent>();
  for (const given of files) {
    const path = basename(resolve(given));
    if (inputs.has(path)) throw new UsageError(`two inputs are named ${path}`, "emx2-hpc-daemon try");
    const isFile = await onDisk("read the input", given, async () => (await stat(given)).isFile());
    if (!isFile) throw new UsageError(`the input ${given} is no file`, "emx2-hpc-daemon try");
    const large = Bun.file(given);
    inputs.set(path, { path, large, sha256: await onDisk("read the input", given, () => sha256OfBlob(large)) });
  }
  return [...inputs.values()];
}
