/**
 * What is said to Slurm's commands and what they answer, as data and pure functions: argument lists, the tables of fields
 * that drive both the argument list and the parser. Seen on Slurm 22.05, 24.11 and 26.05.
 */
import { join } from "node:path";
import { SchedulerOutputError } from "../errors.ts";
import type { Profile } from "../job/profile.ts";
import { type RunRef, type SchedulerRow, type SlurmState, slurmStates } from "../job/run.ts";

/** A row of squeue or sacct with what tells whose it is. */
export interface QueueRow extends SchedulerRow {
  readonly user: string;
}

/** The command with its path, where `binDir` says where Slurm's commands are. */
export function located(binDir: string | undefined, [program = "", ...rest]: readonly string[]): string[] {
  return [binDir === undefined ? program : join(binDir, program), ...rest];
}

/** sbatch's environment is the job's; whatever else is in ours stays here. */
const jobVariables = ["PATH", "HOME", "USER", "LOGNAME", "SLURM_CONF"] as const;

export function submitEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    jobVariables.flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** English messages, instants in seconds since 1970; no SQUEUE_* of a login profile, which can empty squeue. */
export function queryEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return { ...submitEnvironment(env), LC_ALL: "C", SLURM_TIME_FORMAT: "%s" };
}

/**
 * The operator's options come first, so that ours win. Log files are named in full, since with `--chdir` a relative name
 * is joined to the directory before `%` is expanded in both.
 */
export function sbatchArgv(run: RunRef, profile: Profile): string[] {
  return [...sbatchOptions(run, profile), `${run.dir}/.emx2/job.sh`, run.dir, run.attempt];
}

/** What sbatch is called with, up to the script. */
export function sbatchOptions(run: RunRef, profile: Profile): string[] {
  const logs = `${patternOf(run.dir)}/.emx2/slurm-%j`;
  return [
    "sbatch",
    "--parsable",
    ...profileOptions(profile),
    ...profile.sbatchArgs,
    `--job-name=${run.name}`,
    profile.requeue ? "--requeue" : "--no-requeue",
    "--open-mode=append",
    `--chdir=${run.dir}`,
    `--output=${logs}.out`,
    `--error=${logs}.err`,
  ];
}

function profileOptions(profile: Profile): string[] {
  const { cpus, memory, time, partition, account, qos, gpus, gres, warnBeforeLimitMs } = profile;
  // B: to the batch shell, which passes it on.
  const signal = warnBeforeLimitMs === undefined ? undefined : `B:USR2@${Math.ceil(warnBeforeLimitMs / 1_000)}`;
  const named = { "cpus-per-task": cpus, mem: memory, time, partition, account, qos, gpus, gres, signal };
  const layout = /^(-N|-n|--nodes|--ntasks|--ntasks-per-\w+)/;
  const ownLayout = profile.sbatchArgs.some((option) => layout.test(option));
  return [
    ...(cpus === undefined || ownLayout ? [] : ["--nodes=1", "--ntasks=1"]),
    ...Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`])),
  ];
}

/** In a file name pattern `%%` is a percent sign. For a backslash there is no spelling: see `unwritableLogs`. */
function patternOf(path: string): string {
  return path.replaceAll("%", "%%");
}

/** A backslash anywhere in `--output` turns the expansion of `%j` and `%%` off (22.05), however often it is repeated. */
export function unwritableLogs(dir: string): string | undefined {
  return dir.includes("\\")
    ? `Slurm can not write logs below a directory with a backslash in its name: ${dir}`
    : undefined;
}

interface Field {
  /** squeue's `-o` letter or sacct's `-o` name; absent: this command does not tell. */
  readonly squeue?: string;
  readonly sacct?: string;
  read(text: string): Partial<QueueRow>;
}

/** One line a field, in the order asked for. The name is the last: a user may have put the separator into it. */
const fields: readonly Field[] = [
  { squeue: "%i", sacct: "JobID", read: (text) => ({ schedulerId: text }) },
  { squeue: "%u", sacct: "User", read: (text) => ({ user: text }) },
  { squeue: "%T", sacct: "State", read: (text) => readState(text) },
  { squeue: "%V", sacct: "Submit", read: (text) => (/^\d+$/.test(text) ? { submittedAt: Number(text) } : {}) },
  { squeue: "%M", sacct: "Elapsed", read: (text) => told("elapsed", wholeTime(text)) },
  { squeue: "%N", sacct: "NodeList", read: (text) => told("node", text) },
  { squeue: "%r", sacct: "Reason", read: (text) => told("reason", text) },
  { sacct: "ExitCode", read: (text) => readExitCode(text) },
  { squeue: "%j", sacct: "JobName", read: (text) => ({ name: text }) },
];

type Query = "squeue" | "sacct";

const separators: Readonly<Record<Query, string>> = { squeue: "|", sacct: "," };

function columnsFor(query: Query): string {
  return fields.flatMap((field) => field[query] ?? []).join(separators[query]);
}

/** Every job of the user, finished ones too: without `-t all` a finished job looks like an unknown one. */
export function squeueArgv(user: string): string[] {
  return ["squeue", "-h", "-t", "all", "-u", user, "-o", columnsFor("squeue")];
}

/** Most ids or names in one sacct call; a thousand ids took 0.07 s. */
export const sacctBatch = 1_000;

/** `sinceS`: how far back, in seconds before now; without it sacct begins at midnight. */
export function sacctArgv(
  by: { readonly ids: readonly string[] } | { readonly names: readonly string[] },
  sinceS: number,
): string[] {
  const key = "ids" in by ? `--jobs=${by.ids.join(",")}` : `--name=${by.names.join(",")}`;
  return ["sacct", "-P", "-n", "-X", "-S", `now-${Math.ceil(sinceS)}seconds`, key, "-o", columnsFor("sacct")];
}

/**
 * Every submission of the job, also one whose id never came back; with ids those of them alone. scancel takes one name, and
 * ends what user, name and ids agree on (22.05): an id alone may be another job's after a controller's crash.
 */
export function scancelArgv(user: string, name: string, ids: readonly string[] = []): string[] {
  return ["scancel", `--user=${user}`, `--name=${name}`, ...ids];
}

/**
 * Rows of squeue or sacct, by the columns that `argv` asked for. A name may hold a newline, so a line that is no row is
 * taken for the rest of one before it. Throws SchedulerOutputError where the first line is none.
 */
export function parseRows(query: Query, stdout: string, argv: readonly string[]): QueueRow[] {
  const columns = (argv[argv.indexOf("-o") + 1] ?? "").split(separators[query]);
  const readers = columns.map((column) => fields.find((field) => field[query] === column)?.read);
  const lines = stdout.split("\n").filter((line) => line !== "");
  const rows = lines.map((line) => parseRow(query, line, readers));
  const first = lines[0];
  if (first !== undefined && rows[0] === undefined) {
    const message = `${query} printed what is no row: ${JSON.stringify(first.slice(0, 200))}`;
    throw new SchedulerOutputError(message, { argv, line: first });
  }
  return rows.filter((row) => row !== undefined);
}

function parseRow(query: Query, line: string, readers: readonly (Field["read"] | undefined)[]): QueueRow | undefined {
  const texts = line.split("|");
  if (texts.length < readers.length || !/^\d+(?:[_+][\w[\]%,+-]*)?$/.test(texts[0] ?? "")) return undefined;
  const last = texts.splice(readers.length - 1).join("|");
  const blank: QueueRow = { source: query, schedulerId: "", name: "", state: "UNKNOWN", user: "" };
  return Object.assign(blank, ...readers.map((read, index) => read?.(texts[index] ?? last)));
}

/** `CANCELLED by 1001` (sacct); `COMPLETING`; a word that no table knows is kept beside UNKNOWN. */
function readState(text: string): Partial<QueueRow> {
  const [word = ""] = text.split(" ");
  const state = slurmStates.find((known): known is SlurmState => known === word && known !== "UNKNOWN");
  if (state === undefined) return { state: "UNKNOWN", word: text };
  const by = /^CANCELLED by (\d+)$/.exec(text)?.[1];
  return { state, ...(by === undefined ? {} : { cancelledBy: Number(by) }) };
}

function readExitCode(text: string): Partial<QueueRow> {
  const [, code, signal] = /^(\d+):(\d+)$/.exec(text) ?? [];
  return code === undefined ? {} : { exitCode: Number(code), signal: Number(signal) };
}

/** `[D-]HH:MM:SS` always: squeue writes `M:SS` and `H:MM:SS`. */
function wholeTime(text: string): string {
  if (!/^(\d+:)?\d+:\d\d$/.test(text)) return text;
  const parts = text.split(":").map((part) => part.padStart(2, "0"));
  return (parts.length < 3 ? ["00", ...parts] : parts).join(":");
}

function told(name: "elapsed" | "node" | "reason", text: string): Partial<QueueRow> {
  const nothing = ["", "(null)", "None", "None assigned", "Unknown", "n/a", "N/A"];
  return nothing.includes(text) ? {} : { [name]: text };
}
