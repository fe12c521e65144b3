/**
 * What lies in `.emx2/` for a run. `job.sh` is the same for every job; the rest is text that it reads in the shell, in
 * this order: the operator's prelude, `environment.sh` (exports the variables), `command.sh` (adds the program and its
 * arguments, and runs it). A submitter's values are only ever single-quoted words. Anybody on the node can read a
 * program's arguments, so that variables do not pass through env(1), but for those few that a shell keeps for itself
 * (`RANDOM`, `LC_ALL`) and would change, or stop at.
 * `job.sh` provides `$emx2_dir` (the job directory), `$emx2_work` (this run's directory in it), and `$emx2_output`, its
 * output directory in `$emx2_base`.
 */
import jobScript from "./job.sh" with { type: "text" };
import type { ApptainerSettings, Bind, ImageWorkload, Profile } from "./profile.ts";
import { type CommandRule, type EnvironmentEntry, parseWorkload, type Workload } from "./workload.ts";

export interface ScriptInput {
  readonly jobId: string;
  /** The job directory, absolute. */
  readonly dir: string;
  /** Absolute directory that holds the output directories; absent: the job directory. */
  readonly outputBase?: string;
  /** Posix inputs. */
  readonly sources?: readonly InputSource[];
  readonly profile: Profile;
  readonly apptainer: ApptainerSettings;
  /** How long outputs may be hashed on the compute node. */
  readonly sealMs: number;
  /** The source text of the job's parameters, passed on untouched. */
  readonly parametersText: string;
}

/** Where a posix input lies: a directory, or a single file. */
export interface InputSource {
  readonly artifactId: string;
  readonly kind: "directory" | "file";
  /** Absolute, without a symbolic link in it. */
  readonly path: string;
}

/** A file of `.emx2/`. */
export interface ScriptFile {
  readonly name: string;
  readonly content: string;
  readonly executable?: boolean;
}

export type Script =
  | { readonly is: "written"; readonly files: readonly ScriptFile[]; readonly parametersHash: string }
  /** The job asks for what it can not have: it fails, and this says why. */
  | { readonly is: "refused"; readonly cause: string };

export function controlFiles(input: ScriptInput): Script {
  const { parametersText, profile, outputBase } = input;
  const parsed = parseWorkload(parametersText, profile.allowedEnvironment, commandRule(profile));
  if (parsed.is === "refused") return parsed;
  return {
    is: "written",
    parametersHash: parsed.parametersHash,
    files: [
      { name: "job.sh", content: jobScript, executable: true },
      { name: "prelude.sh", content: lines(["# Lines of the operator's.", ...profile.prelude]) },
      { name: "environment.sh", content: environmentFile(input, parsed.workload) },
      { name: "command.sh", content: commandFile(input, parsed.workload) },
      { name: "parameters.json", content: parametersText },
      ...(outputBase === undefined ? [] : [{ name: "output-base", content: lines([outputBase]) }]),
      ...(profile.sealOutputs ? [{ name: "seal", content: lines([String(Math.ceil(input.sealMs / 1_000))]) }] : []),
    ],
  };
}

/** A program that the operator has fixed is not for a submitter to replace. */
function commandRule({ workload, allowCommand }: Profile): CommandRule {
  if (workload.kind === "host" || workload.entrypoint !== undefined) return "parameter";
  return allowCommand && workload.isolation === "contained" ? "run" : "refuse";
}

/** `HPC_PARAMETERS` is left out beyond this: with 128 KiB in one variable no program starts at all. */
const longestParametersBytes = 100_000;

function environmentFile(input: ScriptInput, workload: Workload): string {
  const { workload: program } = input.profile;
  const inside = program.kind === "image";
  const parametersFit = Buffer.byteLength(input.parametersText) <= longestParametersBytes;
  const variables = [
    word("HPC_JOB_ID", quote(input.jobId)),
    word("EMX2_JOB_ID", quote(input.jobId)),
    word("HPC_INPUT_DIR", inside ? "/input" : '"$emx2_dir/input"'),
    word("HPC_OUTPUT_DIR", inside ? "/output" : '"$emx2_base/$emx2_output"'),
    word("HPC_WORK_DIR", inside ? "/work" : '"$emx2_dir/$emx2_work"'),
    word("HPC_PARAMETERS_FILE", inside ? "/work/parameters.json" : '"$emx2_dir/$emx2_work/parameters.json"'),
    ...(parametersFit ? [word("HPC_PARAMETERS", quote(input.parametersText))] : []),
    ...workload.environment.map(({ name, value }: EnvironmentEntry) => word(name, quote(value))),
  ];
  const prefixed = inside ? variables.map((text) => `${containerPrefix(input.apptainer)}ENV_${text}`) : variables;
  const all = [...prefixed, ...(inside ? imageSettings(input.apptainer) : [])];
  return lines([
    ...all.filter((text) => !shellsOwn.test(text)).map((text) => `export ${text}`),
    `set -- ${all.filter((text) => shellsOwn.test(text)).join(" \\\n  ")}`,
    ...(parametersFit
      ? []
      : [
          `echo 'HPC_PARAMETERS is left out: the parameters are longer than ${longestParametersBytes} bytes. They are in $HPC_PARAMETERS_FILE.' >&2`,
        ]),
  ]);
}

/**
 * Names that dash, bash, busybox or ksh give a meaning of their own, beyond those that no job may set, and `job.sh`'s. Whether a value stays
 * as it is must not hang on the shell that a site calls sh.
 */
const shellsOwn = new RegExp(
  `^(${[
    "emx2_\\w+|_|COLUMNS|COMP_\\w+|COMPREPLY|COPROC|DIRSTACK|EPOCHREALTIME|EPOCHSECONDS|EXECIGNORE|FCEDIT|FUNCNAME|FUNCNEST",
    "GLOBIGNORE|GROUPS|HIST[A-Z]+|histchars|HOSTNAME|HOSTTYPE|IGNOREEOF|INPUTRC|KSH\\w*|LANG|LANGUAGE|LC_\\w+|LINENO|LINES",
    "MACHTYPE|MAIL|MAILCHECK|MAILPATH|MAPFILE|OLDPWD|OPTARG|OPTERR|OPTIND|OSTYPE|PGRP|PIPESTATUS|POSIXLY_CORRECT",
    "PROMPT_\\w+|PS[0-9]|PWD|RANDOM|READLINE_\\w+|REPLY|SECONDS|SHELL|SHLVL|SRANDOM|TERM|TEXTDOMAIN\\w*|TIMEFORMAT|TMOUT",
  ].join("|")})=`,
);

/** Apptainer reads its own prefix first and Singularity's as well; SingularityCE reads its own alone. */
function containerPrefix(apptainer: ApptainerSettings): "APPTAINER" | "SINGULARITY" {
  return apptainer.command.endsWith("singularity") ? "SINGULARITY" : "APPTAINER";
}

function imageSettings(apptainer: ApptainerSettings): string[] {
  const prefix = containerPrefix(apptainer);
  return [
    ...(apptainer.imageTmpDir === undefined ? [] : [word(`${prefix}_TMPDIR`, quote(apptainer.imageTmpDir))]),
    ...(apptainer.cacheDir === undefined ? [] : [word(`${prefix}_CACHEDIR`, quote(apptainer.cacheDir))]),
  ];
}

function commandFile(input: ScriptInput, workload: Workload): string {
  const { profile } = input;
  const { args, command } = workload;
  if (profile.workload.kind === "host") {
    const program = [profile.workload.entrypoint, ...args].map(quote);
    return lines([`set -- "$@" ${program.join(" \\\n  ")}`, 'exec env "$@"']);
  }
  // What follows a shell's command is its $0, then its arguments.
  const shell = command === undefined ? [] : ["/bin/sh", "-c", command, ...(args.length > 0 ? ["sh"] : [])];
  const container = [...apptainerWords(profile.workload, input, command), ...[...shell, ...args].map(quote)];
  return lines([
    `set -- "$@" ${container.join(" \\\n  ")}`,
    'exec env "$@" >>"$emx2_dir/.emx2/container-stdout.log" 2>>"$emx2_dir/.emx2/container-stderr.log"',
  ]);
}

/**
 * The words, quoted for the shell, up to the image and its program. `--no-eval` (Apptainer 1.1 and later): without it a
 * shell in the container evaluates the values of variables. Mounts are named by `--mount`, since `--bind` has no way to
 * spell a directory with a comma or colon.
 */
function apptainerWords(image: ImageWorkload, input: ScriptInput, command: string | undefined): string[] {
  const { apptainer, dir, outputBase = dir, sources = [] } = input;
  const own = (name: string, parent = dir) => `${quote(`type=bind,"source=${csv(parent)}/`)}${name}'"'`;
  const contained = ["--containall", "--workdir", '"$emx2_dir/scratch"'];
  return [
    quote(apptainer.command),
    image.entrypoint === undefined && command === undefined ? "run" : "exec",
    ...(image.isolation === "contained" ? contained : []),
    ...["--no-eval", "--pwd", "/work"],
    ...(image.gpuRuntime === "none" ? [] : [`--${image.gpuRuntime}`]),
    ...["--mount", `${own("input")},destination=/input,ro`],
    ...["--mount", `${own('"$emx2_output"', outputBase)},destination=/output`],
    ...["--mount", `${own('"$emx2_work"')},destination=/work`],
    ...sources.flatMap((source) => ["--mount", quote(mountOf(boundInput(source)))]),
    ...apptainer.binds.flatMap((bind) => ["--mount", quote(mountOf(bind))]),
    ...image.apptainerArgs.map(quote),
    quote(image.image),
    ...(image.entrypoint === undefined ? [] : [quote(image.entrypoint)]),
  ];
}

/** Its mount point lies in `input/`, which the container sees read-only. */
function boundInput({ artifactId, path }: InputSource): Bind {
  return { source: path, destination: `/input/${artifactId}`, writable: false };
}

function mountOf({ source, destination, writable }: Bind): string {
  return `type=bind,"source=${csv(source)}","destination=${csv(destination)}"${writable ? "" : ",ro"}`;
}

/** Inside a quoted field of `--mount`, which is a line of CSV. */
function csv(text: string): string {
  return text.replaceAll('"', '""');
}

function word(name: string, quotedValue: string): string {
  return `${name}=${quotedValue}`;
}

/** One word of a POSIX shell, whatever is in it, but NUL. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function lines(all: readonly string[]): string {
  return `${all.join("\n")}\n`;
}
