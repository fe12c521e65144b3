import { expect, test } from "bun:test";
import { ruleFaults } from "../../../src/config/rules.ts";

/** What is said about one key, if anything. */
function faultAt(root: Parameters<typeof ruleFaults>[0], ...path: string[]): string | undefined {
  return [...ruleFaults(root)].find((fault) => fault.path.join("\0") === path.join("\0"))?.message;
}

test("a tmp_dir with a backslash is refused, since Slurm could write no log files below it", () => {
  const told = (directory: string) => faultAt({ apptainer: { tmp_dir: directory } }, "apptainer", "tmp_dir");
  expect(told("/scratch/a\\b")).toContain("must have no backslash");
  expect(told("/scratch/a b%j")).toBeUndefined();
});

test.each(["host_entrypoint", "entrypoint"])("a %s with = in it is refused, since env(1) could not start it", (key) => {
  const told = (program: string) => faultAt({ profiles: { "p/q": { [key]: program } } }, "profiles", "p/q", key);
  expect(told("/opt/v=1/run")).toContain("must have no = in it");
  expect(told("/opt/v-1/run")).toBeUndefined();
});
