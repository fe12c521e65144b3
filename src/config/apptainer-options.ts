/**
 * What `apptainer_args` may hold: one option of `apptainer exec` and `run` an entry, and none that the daemon sets itself or
 * that would change what a job is promised to find. Names as in Apptainer 1.4 and SingularityCE 4; neither takes a beginning
 * of a long name for the name.
 */
import { coveredMount } from "./places.ts";

/** Long name to why it is the daemon's, and the key to use instead where there is one. */
const ownOptions: Readonly<Record<string, string>> = {
  contain: "use the key isolation",
  containall: "use the key isolation",
  workdir: "a contained image has a home and a /tmp of the job's own; else use the key isolation",
  home: "a contained image has a home and a /tmp of the job's own; else use the key isolation",
  pwd: "a job starts in /work",
  cwd: "a job starts in /work",
  "no-eval": "the daemon sets it where Apptainer has it",
  nv: "use the key gpu_runtime",
  rocm: "use the key gpu_runtime",
  writable: "jobs would change the image; --writable-tmpfs lets them change their own view of it",
  help: "nothing would be run",
};

/** Short options, by long name. */
const shortNames: Readonly<Record<string, string>> = {
  ...{
    B: "bind",
    c: "contain",
    C: "containall",
    e: "cleanenv",
    f: "fakeroot",
    h: "help",
    H: "home",
    i: "ipc",
    n: "net",
  },
  ...{ o: "overlay", p: "pid", S: "scratch", u: "userns", W: "workdir", w: "writable" },
};

/** Options without a value. Any other would take the next word for its value, and that may be the image. */
const flags = [
  ...[
    "allow-setuid",
    "cleanenv",
    "compat",
    "disable-cache",
    "fakeroot",
    "ipc",
    "keep-privs",
    "net",
    "no-home",
    "no-https",
  ],
  ...["no-init", "no-pid", "no-privs", "no-tmp-sandbox", "no-umask", "nvccli", "oom-kill-disable", "pid", "sharens"],
  ...["sif-fuse", "tmp-sandbox", "underlay", "unsquash", "userns", "uts", "writable-tmpfs"],
];

/** What is wrong with one entry. */
export function apptainerArgFault(entry: string): string | undefined {
  const { option, value, shortValue } = optionIn(entry);
  if (option === undefined) return "must be one option an entry, such as --no-mount=cwd";
  const own = ownOptions[option];
  if (own !== undefined) return `must not set --${option}: ${own}`;
  if (flags.includes(option)) {
    return shortValue === undefined ? undefined : "must be one option an entry, such as --cleanenv";
  }
  if (value === undefined) return "must be with its value in the same entry, such as --no-mount=cwd";
  const covered = destinationsOf(option, value)
    .map(coveredMount)
    .find((mount) => mount !== undefined);
  return covered === undefined ? undefined : `must not cover ${covered}, where a job finds its own files`;
}

/** What of the host one entry mounts, as it is written. */
export function boundSources(entry: string): string[] {
  const { option, value = "" } = optionIn(entry);
  if (option === "bind") return value.split(",").map((bind) => bind.split(":")[0] ?? "");
  if (option !== "mount") return [];
  return [...value.matchAll(/(?:^|,)"?(?:source|src)=([^",]*)/g)].map(([, source = ""]) => source);
}

function optionIn(entry: string) {
  const [, long, longValue] = /^--([a-z][a-z0-9-]*)(?:=(.*))?$/s.exec(entry) ?? [];
  const [, letter = "", shortValue] = /^-([A-Za-z])(?:=?(.+))?$/s.exec(entry) ?? [];
  return { option: long ?? shortNames[letter], value: longValue ?? shortValue, shortValue };
}

/** Where in the container it mounts something. */
function destinationsOf(option: string, value: string): string[] {
  switch (option) {
    case "bind": // SOURCE[:DESTINATION[:OPTIONS]],...
      return value
        .split(",")
        .map((bind) => bind.split(":"))
        .map(([source = "", destination = source]) => destination);
    case "mount":
      return [...value.matchAll(/(?:^|,)"?(?:destination|dst|target)=([^",]*)/g)].map(
        ([, destination = ""]) => destination,
      );
    case "scratch":
      return value.split(",");
    default:
      return [];
  }
}
