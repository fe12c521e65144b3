/** What of this worker's own the mounts of images would show to every job: a submitter's program reads what its user may. */
import { boundSources } from "./apptainer-options.ts";
import { absolutePath, type Places } from "./places.ts";
import type { Settings } from "./schema.ts";

export interface Advice {
  /** Of the key. */
  readonly path: (string | number)[];
  readonly message: string;
  readonly hint: string;
}

export function exposures(settings: Settings, stateDir: string, places: Places): Advice[] {
  const { emx2, profiles, apptainer } = settings;
  const secret = emx2.worker_secret_file ?? emx2.shared_secret_file;
  const own: readonly (readonly [name: string, path: string])[] = [
    ["tmp_dir (the directories of all jobs, and what steers them)", apptainer.tmp_dir],
    ...(secret === undefined ? [] : ([["the secret", secret]] as const)),
    ["state_dir", stateDir],
    ["this user's ~/.ssh", absolutePath("~/.ssh", places)],
  ];
  const adviceOn = (path: (string | number)[], source: string): Advice[] => {
    const from = absolutePath(source, places);
    const held = own.filter(([, path]) => isWithin(path, from)).map(([name]) => name);
    if (held.length === 0) return [];
    return [
      { path, message: `holds ${held.join(", ")}: every job in an image sees it`, hint: "bind what lies beside it" },
    ];
  };
  return [
    ...apptainer.bind_paths.flatMap((bind, index) =>
      adviceOn(["apptainer", "bind_paths", index], bind.split(":")[0] ?? ""),
    ),
    ...Object.entries(profiles).flatMap(([key, { apptainer_args: entries = [] }]) =>
      entries.flatMap((entry, index) =>
        boundSources(entry).flatMap((source) => adviceOn(["profiles", key, "apptainer_args", index], source)),
      ),
    ),
  ];
}

function isWithin(path: string, directory: string): boolean {
  return `${path}/`.startsWith(`${directory.replace(/\/+$/, "")}/`);
}
