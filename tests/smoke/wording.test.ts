/** Files and directories that are not what they should be: told in our words with the next step, never in the runtime's. */
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { type Alone, alone } from "./alone.ts";

interface Broken {
  /** Prepares the place, and says what differs in its configuration or command. */
  make(place: Alone): {
    readonly stateDir?: string;
    readonly secret?: string;
    readonly caFile?: string;
    readonly args?: readonly string[];
  };
  readonly exitCode: number;
  readonly says: RegExp;
}

const state = (path: string) => ({ stateDir: path });

const cases: Readonly<Record<string, Broken>> = {
  "two YAML documents": {
    make: (place) => ({ args: ["config", "show", "-c", place.write("two.yaml", "emx2: {}\n---\nemx2: {}\n")] }),
    exitCode: 78,
    says: /two\.yaml:2:\d+: a second document begins \(keep one of them\)/,
  },
  "a configuration that is a directory": {
    make: (place) => ({ args: ["config", "show", "-c", place.dir] }),
    exitCode: 78,
    says: /cannot be read: it is not a regular file/,
  },
  "a configuration that links to itself": {
    make: (place) => {
      symlinkSync("loop", join(place.dir, "loop"));
      return { args: ["config", "show", "-c", "loop"] };
    },
    exitCode: 78,
    says: /loop: cannot be read: a symbolic link stands in the way, or leads back to itself \(ELOOP\)/,
  },
  "a file in the place of the state directory": {
    make: (place) => state(place.write("state", "")),
    exitCode: 1,
    says: /state: something else stands there \(EEXIST\): move it away, or name another worker\.state_dir/,
  },
  "a state directory below a file": {
    make: (place) => state(`${place.write("file", "")}/state`),
    exitCode: 1,
    says: /something that is no directory stands where one should be \(ENOTDIR\): move it away/,
  },
  "a state directory that can not be made": {
    make: () => state("/proc/nowhere"),
    exitCode: 1,
    says: /\/proc\/nowhere: it is not there \(ENOENT\): check that its file system is there/,
  },
  "a directory in the place of the lock": {
    make: (place) => state(directory(place, "state", "lock")),
    exitCode: 1,
    says: /state\/lock: a directory stands where a file should be \(EISDIR\): move it away/,
  },
  "a directory in the place of the lock's holder": {
    make: (place) => state(directory(place, "state", "lock.holder")),
    exitCode: 1,
    says: /state\/lock\.holder: .*\(EISDIR\): move it away/,
  },
  "a directory in the place of the journal": {
    make: (place) => state(directory(place, "state", "journal.db")),
    exitCode: 1,
    says: /state\/journal\.db: a directory stands where a file should be \(EISDIR\): move it away/,
  },
  "a journal that is no database": {
    make: (place) => {
      place.write("state/journal.db", "these are not the bytes of a database\n");
      return state(join(place.dir, "state"));
    },
    exitCode: 1,
    says: /journal\.db: damaged: move the state directory aside and keep it/,
  },
  "a state that nothing has ever been told of": {
    make: () => ({ args: ["status", "-c", "config.yaml"] }),
    exitCode: 1,
    says: /snapshot\.db: it is not there: neither run nor once has worked with this state directory yet/,
  },
  "a snapshot that is no database": {
    make: (place) => {
      place.write("state/snapshot.db", "these are not the bytes of a database\n");
      return { args: ["explain", "abcd", "-c", "config.yaml"] };
    },
    exitCode: 1,
    says: /snapshot\.db: damaged/,
  },
  "a directory in the place of the snapshot": {
    make: (place) => {
      directory(place, "state", "snapshot.db");
      return { args: ["cancel", "abcd", "-c", "config.yaml"] };
    },
    exitCode: 1,
    says: /snapshot\.db: a directory stands where a file should be \(EISDIR\): move it away/,
  },
  "a secret that is a directory": {
    make: (place) => ({ secret: place.dir }),
    exitCode: 78,
    says: /the secret file .* is not a regular file/,
  },
  "a secret below a file": {
    make: (place) => ({ secret: `${place.write("file", "")}/secret` }),
    exitCode: 78,
    says: /the secret file .* cannot be opened: something that is no directory stands .*\(ENOTDIR\)/,
  },
  "authorities that are not there": {
    make: (place) => ({ caFile: join(place.dir, "ca.pem") }),
    exitCode: 78,
    says: /emx2\.ca_file: .*ca\.pem cannot be read: it is not there \(ENOENT\)/,
  },
  "a demo below a file": {
    make: (place) => ({ args: ["demo", "--dir", place.write("file", "")] }),
    exitCode: 1,
    says: /can not make a directory for the demo in .*: something else stands there \(EEXIST\)/,
  },
};

const foreign = /parseAllDocuments|E[A-Z]+: [a-z]|illegal operation|no such file|unable to open|bug of ours|^\s+at /m;

for (const [name, { make, exitCode, says }] of Object.entries(cases)) {
  test(`${name}: exit ${exitCode}, in our words`, async () => {
    using place = alone();
    place.write("secret", "s3cret\n");
    const { args = ["once", "-c", "config.yaml"], ...settings } = make(place);
    place.write("config.yaml", configuration(place, settings));
    const ended = await place.run(args);
    expect([ended.exitCode, ended.stderr]).toEqual([exitCode, expect.stringMatching(says)]);
    expect(ended.stderr).not.toMatch(foreign);
  });
}

test("a state directory that others can read is told once, and one that is made is its owner's alone", async () => {
  using place = alone();
  place.write("secret", "s3cret\n");
  place.write("config.yaml", configuration(place, {}));
  const stateDir = join(place.dir, "state");
  const once = () => place.run(["once", "--quiet", "-c", "config.yaml"]);
  const said = /others can read the state directory/g;
  expect((await once()).stderr).not.toMatch(said);
  expect(statSync(stateDir).mode & 0o777).toBe(0o700);

  chmodSync(stateDir, 0o755);
  const { stderr } = await once();
  expect(stderr.match(said)).toHaveLength(1);
  expect(stderr).toContain(`fix="chmod 700 ${stateDir}"`);
});

function directory({ dir }: Alone, ...names: readonly [string, string]): string {
  mkdirSync(join(dir, ...names), { recursive: true });
  return join(dir, names[0]);
}

function configuration(
  { dir }: Alone,
  { stateDir = `${dir}/state`, secret = "secret", caFile }: Omit<ReturnType<Broken["make"]>, "args">,
): string {
  return [
    `emx2:\n  base_url: http://127.0.0.1:9\n  worker_id: w\n  worker_secret_file: ${secret}`,
    ...(caFile === undefined ? [] : [`  ca_file: ${caFile}`]),
    `worker:\n  state_dir: ${stateDir}`,
    `apptainer:\n  tmp_dir: ${dir}`,
    "",
  ].join("\n");
}
