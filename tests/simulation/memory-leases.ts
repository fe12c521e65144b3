/** The leases of `scheduler/lease.ts`, read from job directories in memory instead of a file system. */
import { controlDirectory } from "../../src/artifacts/manifest.ts";
import { holderOfLease, type RunRef } from "../../src/job/run.ts";
import type { Leases } from "../../src/scheduler/lease.ts";
import type { Directories } from "./memory-files.ts";

/** `sees`: whether the reader's host shows an entry yet. */
export function leasesInMemory(
  directories: Directories,
  sees: (dir: string, path: string) => boolean = () => true,
): Leases {
  const namesOf = ({ dir }: RunRef): string[] => {
    const there = directories.get(dir);
    const paths = there ? [...there.links.keys(), ...there.files.keys()] : [];
    const inControl = paths.filter((path) => path.startsWith(`${controlDirectory}/`) && sees(dir, path));
    return inControl.map((path) => path.slice(controlDirectory.length + 1));
  };
  const holderIn = (run: RunRef, name: string): string | undefined => {
    if (!namesOf(run).includes(name)) return undefined;
    const link = directories.get(run.dir)?.links.get(`${controlDirectory}/${name}`);
    return link === undefined ? undefined : holderOfLease(link);
  };
  return {
    holderOf: async (run) => holderIn(run, `lease.${run.attempt}`),
    async foreignIds(run) {
      const names = namesOf(run);
      const others = names.filter((name) => /^lease\.[^.]+$/.test(name) && name !== `lease.${run.attempt}`);
      const losers = names.map((name) => /^lost\.[^.]+\.([^.]+)\.\d+$/.exec(name)?.[1]);
      const holders = others.map((name) => holderIn(run, name));
      return new Set([...holders, ...losers].filter((id) => id !== undefined));
    },
  };
}
