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

test.each([
  ["60s", "01:00", "must be shorter than time"],
  ["5m", 5, "must be shorter than time"],
  [65_536, undefined, "must be at most 65535 seconds"],
  ["60s", "02:00", undefined],
  ["18h", "UNLIMITED", undefined],
] as const)("warn_before_limit %s with time %s: %s", (warning, time, message) => {
  const profile = { sif_image: "/a.sif", warn_before_limit: warning, ...(time === undefined ? {} : { time }) };
  const said = faultAt({ profiles: { "p/q": profile } }, "profiles", "p/q", "warn_before_limit");
  expect(said?.slice(0, message?.length)).toBe(message);
});

test("a signal in sbatch_args beside warn_before_limit says the same twice", () => {
  const profile = { sif_image: "/a.sif", warn_before_limit: 60, sbatch_args: ["--signal=B:USR1@30"] };
  const said = [...ruleFaults({ profiles: { "p/q": profile } })].map(({ message }) => message);
  expect(said).toContain("says the same as the key warn_before_limit");
});
