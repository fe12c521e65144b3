/**
 * What lies in `.emx2/` for a run. `job.sh` is the same for every job; the rest is text that it reads in the shell, in this
 * order: the operator's prelude, `environment.sh` (exports the variables; for an image it reads `container.sh` first),
 * `command.sh` (adds the program and its arguments, and runs it), and `again.sh`, where Apptainer may have failed. A submitter's
 * values are only ever single-quoted words. Anybody on the node can read a program's arguments, so that variables do not pass
 * through env(1), but for those few that a shell keeps for itself (`RANDOM`, `LC_ALL`) and would change, or stop at.
 * `job.sh` provides `$emx2_dir` (the job directory), `$emx2_work` and `$emx2_scratch` (this run's directories in it), and
 * `$emx2_output`, its output directory in `$emx2_base`; `container.sh` what is known of Apptainer on the node alone.
 */
import containerScript from "./container.sh" with { type: "text" };
import jobScript from "./job.sh" with { type: "text" };
import type { ApptainerSettings, Bind, ImageWorkload, Profile } from "./profile.ts";
import startableScript from "./startable.sh" with { type: "text" };
import { trialFiles } from "./trial.ts";
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
  /** It looks around before it starts the workload. */
  readonly isTrial?: boolean;
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
  const inImage = profile.workload.kind === "image";
  const cause = inImage ? lostOnTheWay(parsed.workload.environment) : undefined;
  if (cause !== undefined) return { is: "refused", cause };
  const trial = input.isTrial ? trialFiles(insideOf(input)) : { files: [], lines: [] };
  return {
    is: "written",
    parametersHash: parsed.parametersHash,
    files: [
      { name: "job.sh", content: jobScript, executable: true },
      ...(inImage ? [{ name: containerScriptName, content: containerScript }] : []),
      { name: "prelude.sh", content: lines(["# Lines of the operator's.", ...profile.prelude]) },
      {
        name: "environment.sh",
        content: environmentFile(input, parsed.workload) + trial.lines.map((line) => `${line}\n`).join(""),
      },
      { name: "command.sh", content: commandFile(input, parsed.workload) },
      ...againFile(input, parsed.workload),
      { name: "parameters.json", content: parametersText },
      ...(outputBase === undefined ? [] : [{ name: "output-base", content: lines([outputBase]) }]),
      ...trial.files,
      ...(profile.sealOutputs ? [{ name: "seal", content: lines([String(Math.ceil(input.sealMs / 1_000))]) }] : []),
    ],
  };
}

/** In `.emx2/` of a job that runs in an image, and of no other. */
export const containerScriptName = "container.sh";
/** For the node to know its image by: what was seen of it before the submission, and which hash it is held to. */
export function seenImageFile(facts: string, { workload }: Profile): ScriptFile {
  const held = (workload.kind === "image" && workload.sha256) || "";
  return { name: "image", content: lines([facts, held]) };
}

/** Where a container sees its run's output directory. */
export const outputInside = "/output";
/** Names that the script by which Apptainer starts a program in the container takes for itself (1.4.5). */
const apptainersOwn = /^(GID|e|key|__\w+__)$/;

/** Why a variable would not be in the container what it is here: better no job than one without it. */
function lostOnTheWay(environment: readonly EnvironmentEntry[]): string | undefined {
  const named = environment.find(({ name }) => apptainersOwn.test(name));
  if (named) return `parameters.environment.${named.name} does not reach an image: Apptainer uses the name`;
  // The shell within Apptainer takes every end of a line for a line feed (1.4.5).
  const changed = environment.find(({ value }) => value.includes("\r\n"));
  return (
    changed &&
    `parameters.environment.${changed.name} holds CR LF, which reaches an image as LF: pass it in parameters.args`
  );
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
  const parametersFit = Buffer.byteLength(input.parametersText) <= longestParametersBytes;
  const ofTheJob: readonly EnvironmentEntry[] = [
    ...(parametersFit ? [{ name: "HPC_PARAMETERS", value: input.parametersText }] : []),
    ...workload.environment,
  ];
  return lines([
    ...(program.kind === "image" ? imageEnvironment(input, ofTheJob) : hostEnvironment(input, ofTheJob)),
    ...(parametersFit
      ? []
      : [
          `echo 'HPC_PARAMETERS is left out: the parameters are longer than ${longestParametersBytes} bytes. They are in $HPC_PARAMETERS_FILE.' >&2`,
        ]),
  ]);
}

function hostEnvironment({ jobId }: ScriptInput, ofTheJob: readonly EnvironmentEntry[]): string[] {
  const all = [
    word("HPC_JOB_ID", quote(jobId)),
    word("EMX2_JOB_ID", quote(jobId)),
    word("HPC_INPUT_DIR", '"$emx2_dir/input"'),
    word("HPC_OUTPUT_DIR", '"$emx2_base/$emx2_output"'),
    word("HPC_WORK_DIR", '"$emx2_dir/$emx2_work"'),
    word("HPC_PARAMETERS_FILE", '"$emx2_dir/$emx2_work/parameters.json"'),
    ...ofTheJob.map(({ name, value }) => word(name, quote(value))),
  ];
  return [
    ...all.filter((text) => !shellsOwn.test(text)).map((text) => `export ${text}`),
    `set -- ${all.filter((text) => shellsOwn.test(text)).join(" \\\n  ")}`,
  ];
}

/** Which program starts images on this node, and with which directories of its own. */
function apptainerLines({ apptainer: { command, imageTmpDir, cacheDir }, profile }: ScriptInput): string[] {
  const image = profile.workload.kind === "image" ? profile.workload.image : "";
  return [
    word("emx2_apptainer", quote(command)),
    word("emx2_image", quote(image)),
    `. "$emx2_dir/.emx2/${containerScriptName}"`,
    ...(imageTmpDir === undefined ? [] : [`export "\${emx2_prefix}_TMPDIR="${quote(imageTmpDir)}`]),
    ...(cacheDir === undefined ? [] : [`export "\${emx2_prefix}_CACHEDIR="${quote(cacheDir)}`]),
  ];
}

function imageEnvironment(input: ScriptInput, ofTheJob: readonly EnvironmentEntry[]): string[] {
  const { jobId } = input;
  const own = { HPC_JOB_ID: jobId, EMX2_JOB_ID: jobId, HPC_INPUT_DIR: "/input", HPC_OUTPUT_DIR: outputInside };
  const files = { HPC_WORK_DIR: "/work", HPC_PARAMETERS_FILE: "/work/parameters.json" };
  const ofOurs = Object.entries({ ...own, ...files }).map(([name, value]) => ({ name, value }));
  return [
    ...apptainerLines(input),
    ...[...ofOurs, ...ofTheJob].flatMap(({ name, value }) => [
      `export "\${emx2_prefix}ENV_"${word(name, quote(value))}`,
      ...(unescaped.test(value)
        ? [`[ -n "$emx2_no_eval" ] || export "\${emx2_prefix}ENV_"${word(name, quote(escaped(value)))}`]
        : []),
    ]),
    "set --",
  ];
}

/** Not the double quote: it comes between two of them, those in it having been escaped already (SingularityCE 3.9, Apptainer 1.0). */
const unescaped = /[\\$`]/;

function escaped(value: string): string {
  return value.replace(/[\\$`]/g, "\\$&");
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

/** How the image's shell is started, with the same mounts and options as the workload; undefined: there is no image. */
function insideOf(input: ScriptInput): readonly string[] | undefined {
  const { workload } = input.profile;
  return workload.kind === "image"
    ? apptainerWords({ ...workload, entrypoint: "/bin/sh" }, input, undefined)
    : undefined;
}

const againSeconds = 60; // an image that takes longer to do nothing is as good as none

/**
 * Starts the image as for the workload, but with nothing of the submitter's: no arguments, variables or inputs, and directories
 * that no job has written to. Fails where the workload could not have begun; exits 125, as timeout(1) does, where that can not
 * be told. With the host's own mounts there is no telling what a job may have done, and no such file.
 */
function againFile(input: ScriptInput, { command }: Workload): ScriptFile[] {
  const { workload } = input.profile;
  const { outputBase: _, ...here } = { ...input, sources: [] };
  const words = insideOf(here);
  if (words === undefined || workload.kind !== "image" || workload.isolation !== "contained") return [];
  const program = workload.entrypoint ?? (command === undefined ? "/.singularity.d/runscript" : "/bin/sh");
  const content = lines([
    "emx2_output=.emx2/again/output emx2_work=.emx2/again/work emx2_scratch=.emx2/again/scratch emx2_said=/dev/null",
    'mkdir -p "$emx2_dir/$emx2_output" "$emx2_dir/$emx2_work" "$emx2_dir/$emx2_scratch" && cd "$emx2_dir/$emx2_work" || exit 125',
    '. "$emx2_dir/.emx2/prelude.sh"',
    "set +efuxC; unalias -a",
    'cd "$emx2_dir/$emx2_work" || exit 125',
    ...apptainerLines(input),
    `command -v timeout >/dev/null || exit 125; exec timeout -k 5 ${againSeconds} ${words.join(" \\\n  ")} -c ${quote(startableScript)} ${quote(program)}`,
  ]);
  return [{ name: "again.sh", content }];
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
 * The words, quoted for the shell, up to the image and its program. Mounts are named by `--mount`, since `--bind` has no way
 * to spell a directory with a comma or colon.
 */
function apptainerWords(image: ImageWorkload, input: ScriptInput, command: string | undefined): string[] {
  const { apptainer, dir, outputBase = dir, sources = [] } = input;
  const own = (name: string, parent = dir) => `${quote(`type=bind,"source=${csv(parent)}/`)}${name}'"'`;
  const contained = ["--containall", "--workdir", '"$emx2_dir/$emx2_scratch"'];
  return [
    '"$emx2_apptainer"',
    "--quiet", // it names each FUSE program that this image does not need, in what reports show of stderr
    image.entrypoint === undefined && command === undefined ? "run" : "exec",
    ...(image.isolation === "contained" ? contained : []),
    ...["$emx2_no_eval", "--pwd", "/work"],
    ...(image.gpuRuntime === "none" ? [] : [`--${image.gpuRuntime}`]),
    ...["--mount", `${own("input")},destination=/input,ro`],
    ...["--mount", `${own('"$emx2_output"', outputBase)},destination=${outputInside}`],
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
