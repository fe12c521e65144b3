/**
 * What `sbatch_args` may hold: one option an entry, and none that the daemon sets itself or that would change what it
 * submits, where, or what sbatch answers. sbatch takes any unambiguous beginning of a long name for the name (22.05), so
 * beginnings count as well.
 */

/** Long name, or beginning of one, to why it is the daemon's, and the key to use instead where there is one. */
const ownOptions: Readonly<Record<string, string>> = {
  "job-name": "it is how a job is found again",
  output: "the daemon names the log files; where logs go is the key log_residence",
  error: "the daemon names the log files; where logs go is the key log_residence",
  "open-mode": "the daemon names the log files",
  input: "the daemon names the script",
  chdir: "a job runs in its own directory; where those are is the key apptainer.tmp_dir",
  parsable: "the daemon reads sbatch's answer",
  quiet: "the daemon reads sbatch's answer",
  verbose: "the daemon reads sbatch's answer",
  "test-only": "nothing would be submitted",
  help: "nothing would be submitted",
  usage: "nothing would be submitted",
  version: "nothing would be submitted",
  wait: "sbatch would not return before the job ends",
  wrap: "the daemon names the script; use the keys host_entrypoint and prelude",
  array: "a job is one task",
  requeue: "the daemon sets it; use the key requeue",
  "no-requeue": "the daemon sets it; use the key requeue",
  export: "jobs get a clean environment; use the keys prelude and allowed_environment",
  "export-file": "jobs get a clean environment; use the keys prelude and allowed_environment",
  "get-user-env": "jobs get a clean environment; use the key prelude",
  clusters: "jobs are looked for on this cluster",
  uid: "jobs run as the daemon's user",
  gid: "jobs run as the daemon's user",
};

/** sbatch's short options for these, and those without a value, which could hide others behind them (`-HJname`). */
const shortNames: Readonly<Record<string, string>> = {
  J: "job-name",
  o: "output",
  e: "error",
  i: "input",
  D: "chdir",
  Q: "quiet",
  v: "verbose",
  h: "help",
  V: "version",
  W: "wait",
  a: "array",
  M: "clusters",
  p: "partition",
  A: "account",
  q: "qos",
  c: "cpus-per-task",
  t: "time",
  G: "gpus",
};
const shortFlags = "HkOsQvhVW";

/**
 * Long options that may stand without a value (the last five: Slurm 23 and later). Any other would take the next argument
 * for its value, and that is the job's name, by which it is found again.
 */
const longFlags = [
  "contiguous",
  "exclusive",
  "hold",
  "ignore-pbs",
  "nice",
  "no-kill",
  "overcommit",
  "oversubscribe",
  "propagate",
  "reboot",
  "spread-job",
  "use-min-nodes",
  "consolidate-segments",
  "oom-kill-step",
  "resv-ports",
  "spread-segments",
  "stepmgr",
];

/** Options that profile keys stand for: saying both is saying one thing twice. */
export const optionOfKey: Readonly<Record<string, string>> = {
  partition: "partition",
  account: "account",
  qos: "qos",
  cpus: "cpus-per-task",
  memory: "mem",
  time: "time",
  gpus: "gpus",
  gres: "gres",
  warn_before_limit: "signal",
};

/** What is wrong with one entry, whatever else the profile says. */
export function sbatchArgFault(entry: string): string | undefined {
  const option = optionName(entry);
  if (option === undefined) return "must be one option an entry, such as --constraint=a100";
  const own = ownedBy(option, Object.keys(ownOptions));
  if (own !== undefined) return `must not set --${own}: ${ownOptions[own]}`;
  const lacksValue = entry.startsWith("--")
    ? !entry.includes("=") && !longFlags.includes(option)
    : entry.length === 2 && !shortFlags.includes(entry.charAt(1));
  return lacksValue ? "must be with its value in the same entry, such as --constraint=a100" : undefined;
}

/** The profile key, of those given, that says the same as this entry. */
export function keySaying(entry: string, keys: readonly string[]): string | undefined {
  const option = optionName(entry);
  return option && keys.find((key) => ownedBy(option, [optionOfKey[key] ?? ""]));
}

function ownedBy(option: string, names: readonly string[]): string | undefined {
  return names.find((name) => name === option) ?? names.find((name) => name !== "" && name.startsWith(option));
}

/** The long name, as far as it was written out; undefined: not exactly one option. */
function optionName(entry: string): string | undefined {
  const [, long] = /^--([A-Za-z][\w-]*)(=.*)?$/s.exec(entry) ?? [];
  if (long !== undefined) return long;
  const letter = /^-[A-Za-z]/.test(entry) ? entry.charAt(1) : "";
  if (letter === "" || (shortFlags.includes(letter) && entry.length > 2)) return undefined;
  return shortNames[letter] ?? `-${letter}`;
}
