/** Posix inputs on the real file system: where they may lie, what of them is believed, how they come before a job. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { posixRoots } from "../../../src/artifacts/posix-roots.ts";
import { profileDefaults } from "../../../src/job/profile.ts";
import { artifactId, faultOf, ownerOf, sha256, type WorkDirectory, workDirectory } from "./work-directory.ts";

let w: WorkDirectory;
let root: string;
let data: string;
const never = new AbortController().signal;
const roots = () => ({ directories: [data], tmpDir: root });
beforeEach(() => {
  w = workDirectory();
  root = realpathSync(w.root);
  data = join(root, "data");
  mkdirSync(join(data, "set"), { recursive: true });
  writeFileSync(join(data, "set/a.txt"), "aaa");
  writeFileSync(join(root, "secret"), "secret");
});
afterEach(() => w[Symbol.dispose]());

const find = (path: string) => w.files.findSource(path, roots());
const wanted = (path: string) => ({ dir: w.dir, path, sha256: undefined });
const hash = (path: string) => w.files.hashSource(wanted(path), roots(), never);

describe("a posix input", () => {
  test("is found within a root, as a directory or as one file, by its real place", async () => {
    symlinkSync("set", join(data, "latest"));
    expect(await find(join(data, "latest"))).toMatchObject({ is: "found", path: join(data, "set"), kind: "directory" });
    expect(await find(`${data}//set/a.txt`)).toMatchObject({ is: "found", kind: "file", bytes: 3 });
  });

  test("is found where the root itself is reached by a link", async () => {
    symlinkSync(data, join(root, "by-link"));
    const found = await w.files.findSource(join(root, "by-link/set"), { directories: [join(root, "by-link")] });
    expect(found).toMatchObject({ is: "found", path: join(data, "set") });
  });

  test.each(["output", "output.a1.1", "logs"])("may be the %s of an earlier job", async (part) => {
    mkdirSync(join(root, "job", part), { recursive: true });
    expect((await find(join(root, "job", part))).is).toBe("found");
  });

  test.each(["input", ".emx2", "work", "outputs", "", "output/../.emx2"])(
    "may not be the %p of an earlier job",
    async (part) => {
      for (const each of ["output", part]) mkdirSync(join(root, "job", each), { recursive: true });
      expect((await find(`${root}/job/${part}`)).is).toBe("refused");
    },
  );

  test("elsewhere is refused, naming the place and the key that allows it, and nothing of what is there", async () => {
    symlinkSync(root, join(data, "out"));
    const found = await find(join(data, "out/secret"));
    expect(found).toEqual({ is: "refused", why: expect.stringContaining("apptainer.posix_roots") });
    expect(found).toEqual({ is: "refused", why: expect.not.stringContaining(`"${root}/secret"`) });
    const why = async (path: string) => ({ ...(await find(path)) }) as { why?: string };
    const word = ({ why: said = "" }: { why?: string }) => said.replace(/^"[^"]*"/, "PATH");
    expect(word(await why("/etc/passwd"))).toBe(word(await why("/etc/no-such-file")));
    expect(word(await why("/proc/self/environ"))).toBe(word(await why(`${data}-other`)));
  });

  test("that is not there is looked for again, and so is one below a root that is not there", async () => {
    const missing = { permanent: false, message: `"${data}/none" does not exist: it is looked for again` };
    expect(await faultOf(find(join(data, "none")))).toMatchObject(missing);
    renameSync(data, `${data}.away`);
    expect(await faultOf(find(join(data, "set")))).toMatchObject({ name: "StorageError", permanent: false });
    expect((await find("/etc/passwd")).is).toBe("refused");
  });

  test("a FIFO or a device is neither found nor read", async () => {
    execFileSync("mkfifo", [join(data, "fifo")]);
    expect((await find(join(data, "fifo"))).is).toBe("refused");
    expect((await hash(join(data, "fifo"))).is).toBe("refused");
    expect((await hash("/dev/null")).is).toBe("refused");
    expect((await hash(join(data, "set"))).is).toBe("refused");
  });
});

describe("a file of it", () => {
  test("is hashed, through links that stay within the roots", async () => {
    symlinkSync("../set/a.txt", join(data, "set/link"));
    const hashed = { is: "hashed", bytes: 3, sha256: sha256("aaa") } as const;
    expect(await hash(join(data, "set/a.txt"))).toEqual(hashed);
    expect(await hash(join(data, "set/link"))).toEqual(hashed);
    const insideOnly = { directories: [join(data, "set/deeper")] };
    mkdirSync(join(data, "set/deeper"));
    symlinkSync("../a.txt", join(data, "set/deeper/up"));
    expect((await w.files.hashSource(wanted(join(data, "set/deeper/up")), insideOnly, never)).is).toBe("refused");
  });

  test("is refused where a link leads out of them, on the way or at the end", async () => {
    symlinkSync(join(root, "secret"), join(data, "set/secret"));
    symlinkSync(root, join(data, "set/up"));
    for (const path of ["set/secret", "set/up/secret"]) {
      const hashed = await hash(join(data, path));
      expect(hashed).toEqual({ is: "refused", why: expect.stringContaining("or what it leads to, is in none") });
    }
    expect(await hash(join(data, "set/none"))).toMatchObject({
      is: "refused",
      why: `"${data}/set/none" does not exist`,
    });
  });

  test("is no longer read once nobody waits for it", async () => {
    const stop = new AbortController();
    stop.abort();
    const fault = await faultOf(w.files.hashSource(wanted(join(data, "set/a.txt")), roots(), stop.signal));
    expect(fault).toMatchObject({ name: "AbortError" });
  });
});

describe("in the job's directory", () => {
  const other = "6b2f8c1e-0000-4000-8000-000000000009";
  const sources = () => [
    { artifactId, kind: "directory", path: join(data, "set") } as const,
    { artifactId: other, kind: "file", path: join(data, "set/a.txt") } as const,
  ];
  const inInput = (id: string) => join(w.dir, "input", id);

  test("it is a link for programs of the host, and an empty mount point for containers, also the second time", async () => {
    await w.files.create(w.dir, ownerOf());
    for (const _ of [1, 2]) {
      await w.files.placeSources(w.dir, sources(), "links");
      expect(readlinkSync(inInput(artifactId))).toBe(join(data, "set"));
      expect(readFileSync(inInput(other), "utf8")).toBe("aaa");
    }
    for (const _ of [1, 2]) {
      await w.files.placeSources(w.dir, sources(), "mount points");
      expect(lstatSync(inInput(artifactId)).isDirectory()).toBe(true);
      expect(readFileSync(inInput(other), "utf8")).toBe("");
    }
    expect(readFileSync(join(data, "set/a.txt"), "utf8")).toBe("aaa");
  });

  test("a link goes with the directory, and what it leads to stays", async () => {
    await w.files.create(w.dir, ownerOf());
    await w.files.placeSources(w.dir, sources(), "links");
    await w.files.remove(w.dir);
    expect(readFileSync(join(data, "set/a.txt"), "utf8")).toBe("aaa");
    rmSync(data, { recursive: true });
  });
});

test("the roots are posix_roots, the sources of binds, every profile's posix_output_dir, and outputs of jobs", () => {
  const profile = {
    ...{ key: "p", processor: "p", profile: "", workload: { kind: "host", entrypoint: "x" } as const },
    ...profileDefaults,
  };
  const apptainer = {
    ...{ command: "apptainer", binds: [{ source: "/nfs/data", destination: "/data", writable: false }] },
    ...{ tmpDir: "/jobs", posixRoots: ["/archive"] },
  };
  expect(posixRoots({ apptainer, profiles: [{ ...profile, posixOutputDir: "/results" }, profile] })).toEqual({
    directories: ["/archive", "/nfs/data", "/results"],
    tmpDir: "/jobs",
  });
});
