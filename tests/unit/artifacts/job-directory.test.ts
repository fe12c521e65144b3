/** The real directory, where jobs, neighbours and crashes have left something. */
import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { readHeldStill } from "../../../src/artifacts/file-content.ts";
import { createJobDirectory } from "../../../src/artifacts/job-directory.ts";
import { answeredWithin } from "../../../src/artifacts/storage-fault.ts";
import type { Clock } from "../../../src/clock.ts";
import { systemClock } from "../../../src/clock.ts";
import { manualClock } from "../journal/records.ts";
import {
  artifactId,
  contentOf,
  faultOf,
  inputRow,
  ownerOf,
  recordingLog,
  state,
  streamOf,
  workDirectory,
} from "./work-directory.ts";

const foreignState = "22222222-2222-4222-8222-222222222222";
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

describe("creating and writing", () => {
  test("nobody else may look into the directory, its control files and its inputs", async () => {
    using w = workDirectory();
    const row = inputRow("sub/a", "hello");
    await w.files.create(w.dir, ownerOf());
    await w.files.writeInput(w.dir, row, streamOf("hello"));
    await w.files.writeControl(w.dir, [
      { name: "job.sh", content: "x", executable: true },
      { name: "parameters.json", content: "{}" },
    ]);
    const inputs = `input/${artifactId}/sub`;
    const modes = ["", ".emx2", "input", "output", "work", "scratch", inputs, ".emx2/job.sh"];
    for (const path of modes) expect([path, modeOf(join(w.dir, path))]).toEqual([path, "700"]);
    for (const path of [".emx2/parameters.json", ".emx2/owner", `${inputs}/a`]) {
      expect([path, modeOf(join(w.dir, path))]).toEqual([path, "600"]);
    }
    expect(readdirSync(join(w.dir, ".emx2")).sort()).toEqual(["job.sh", "owner", "parameters.json"]);
  });

  test("of two daemons that take it at the same time one gets it", async () => {
    using w = workDirectory();
    const states = [state, foreignState];
    const answers = await Promise.all(states.map((own) => w.files.create(w.dir, ownerOf(own))));
    const { state: kept } = JSON.parse(readFileSync(join(w.dir, ".emx2/owner"), "utf8"));
    expect(answers.map((answer) => answer.is === "ours")).toEqual(states.map((own) => own === kept));
  });

  test("what another user has put where the directory would be is not waited for, and nothing is made in it", async () => {
    using w = workDirectory();
    Bun.spawnSync(["mkfifo", w.dir]);
    expect(await w.files.create(w.dir, ownerOf())).toEqual({ is: "foreign", owner: "it is no directory" });
    rmSync(w.dir);
    mkdirSync(w.dir);
    const another = { ...ownerOf(), uid: ownerOf().uid + 1 };
    expect(await w.files.create(w.dir, another)).toEqual({ is: "foreign", owner: "no owner file" });
    expect(readdirSync(w.dir)).toEqual([]);
  });

  test("an owner file that says nothing belongs to nobody that we know", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    writeFileSync(join(w.dir, ".emx2/owner"), '{"state":');
    expect(await w.files.create(w.dir, ownerOf())).toEqual({
      is: "foreign",
      owner: "an owner file that does not hold what an owner file holds",
    });
    expect(await faultOf(w.files.remove(w.dir))).toMatchObject({ code: "EPERM", permanent: true });
  });

  test("the owner file follows a daemon that moved to another host", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    await w.files.create(w.dir, { ...ownerOf(), host: "head2" });
    expect(JSON.parse(readFileSync(join(w.dir, ".emx2/owner"), "utf8"))).toEqual({ ...ownerOf(), host: "head2" });
  });

  test("a tmp_dir that is not there is a fault, and is not made", async () => {
    using w = workDirectory();
    const tmpDir = join(w.root, "not-mounted");
    const fault = await faultOf(w.files.create(join(tmpDir, "job"), ownerOf()));
    expect(fault).toMatchObject({ name: "StorageError", code: "ENOENT", permanent: false });
    expect(existsSync(tmpDir)).toBe(false);
  });

  test("a leftover of a crash is replaced, and nothing of it stays", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    writeFileSync(join(w.dir, ".emx2/.input.0.new"), "half of somethi");
    writeFileSync(join(w.dir, ".emx2/.job.sh.new"), "#!/bi");
    await w.files.writeInput(w.dir, inputRow("a", "hello"), streamOf("hello"));
    await w.files.writeControl(w.dir, [{ name: "job.sh", content: "whole" }]);
    expect(readdirSync(join(w.dir, ".emx2")).sort()).toEqual(["job.sh", "owner"]);
    expect(readFileSync(join(w.dir, ".emx2/job.sh"), "utf8")).toBe("whole");
  });

  test.each(["input", `input/${artifactId}`, `input/${artifactId}/sub`])(
    "a link at %s is not followed: nothing is written where it points",
    async (path) => {
      using w = workDirectory();
      await w.files.create(w.dir, ownerOf());
      const elsewhere = join(w.root, "elsewhere");
      mkdirSync(elsewhere);
      mkdirSync(join(w.dir, "input", artifactId, "sub"), { recursive: true });
      rmSync(join(w.dir, path), { recursive: true });
      symlinkSync(elsewhere, join(w.dir, path));
      const fault = await faultOf(w.files.writeInput(w.dir, inputRow("sub/a", "hello"), streamOf("hello")));
      expect(fault).toMatchObject({ name: "StorageError", code: "ENOTDIR" });
      expect(readdirSync(elsewhere)).toEqual([]);
    },
  );

  test("a link in the place of an input file is replaced, and its target left alone", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    const secret = join(w.root, "secret");
    writeFileSync(secret, "hello");
    mkdirSync(join(w.dir, "input", artifactId));
    symlinkSync(secret, join(w.dir, "input", artifactId, "a"));
    expect(await w.files.hasInput(w.dir, inputRow("a", "hello"))).toBe(false);
    await w.files.writeInput(w.dir, inputRow("a", "other"), streamOf("other"));
    expect(readFileSync(secret, "utf8")).toBe("hello");
  });

  test("a path that nobody checked is our bug, and goes nowhere", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    const row = inputRow("../../escaped", "x");
    expect(await faultOf(w.files.writeInput(w.dir, row, streamOf("x")))).toMatchObject({ name: "Error" });
    expect(existsSync(join(w.dir, "escaped"))).toBe(false);
  });
});

describe("removing", () => {
  test("goes around links, and leaves what they point to", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    const precious = join(w.root, "precious");
    mkdirSync(precious);
    writeFileSync(join(precious, "data"), "x");
    for (const path of ["output/link", "work/link", ".emx2/link"]) symlinkSync(precious, join(w.dir, path));
    linkSync(join(precious, "data"), join(w.dir, "output/hard"));
    await w.files.remove(w.dir);
    expect(existsSync(w.dir)).toBe(false);
    expect(readdirSync(precious)).toEqual(["data"]);
  });

  test("refuses a directory without our owner file, and takes nothing out of it", async () => {
    using w = workDirectory();
    mkdirSync(join(w.dir, "output"), { recursive: true });
    writeFileSync(join(w.dir, "output/result"), "x");
    expect(await faultOf(w.files.remove(w.dir))).toMatchObject({
      name: "StorageError",
      code: "EPERM",
      permanent: true,
    });
    mkdirSync(join(w.dir, ".emx2"));
    expect(await faultOf(w.files.remove(w.dir))).toMatchObject({ code: "EPERM", permanent: true });
    expect(existsSync(join(w.dir, "output/result"))).toBe(true);
  });

  test("refuses a link to a directory of ours", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    const link = join(w.root, "link");
    symlinkSync(w.dir, link);
    expect(await faultOf(w.files.remove(link))).toMatchObject({ name: "StorageError", code: "ENOTDIR" });
    expect(existsSync(join(w.dir, ".emx2/owner"))).toBe(true);
  });

  test("finishes what a crash cut short: the owner file goes last, an empty shell goes without one", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    rmSync(join(w.dir, ".emx2/owner"));
    for (const part of ["input", "output", "work", "scratch"]) rmSync(join(w.dir, part), { recursive: true });
    await w.files.remove(w.dir);
    expect(existsSync(w.dir)).toBe(false);
  });

  test("a directory nested too deep is refused with its owner file in place", async () => {
    using w = workDirectory();
    await w.files.create(w.dir, ownerOf());
    mkdirSync(join(w.dir, "output", ...Array(210).fill("d")), { recursive: true });
    expect(await faultOf(w.files.remove(w.dir))).toMatchObject({ name: "StorageError", permanent: true });
    expect(existsSync(join(w.dir, ".emx2/owner"))).toBe(true);
  });
});

describe("a file system that does not answer", () => {
  /** Whose timers are due at once. */
  const hastyClock: Clock = { ...systemClock, timer: (_ms, wake) => systemClock.timer(0, wake) };

  test("is a fault after the deadline, not silence for ever", async () => {
    const silence = new Promise<never>(() => {});
    const fault = await faultOf(answeredWithin(hastyClock, 60_000, "/nfs/job", () => silence));
    expect(fault).toMatchObject({ name: "StorageError", code: "ETIMEDOUT", permanent: false });
    expect(String(fault)).toContain("/nfs/job has not answered for 60 s");
  });

  test("an act is given up only where no step is made, and goes no further then", async () => {
    const clock = manualClock();
    const hung = Promise.withResolvers<void>();
    let steps = 0;
    const act = answeredWithin(clock, 60_000, "/nfs/job", async ({ step, elsewhere }) => {
      for (; steps < 3; steps += 1) {
        await elsewhere(clock.sleep(100_000));
        step();
      }
      await hung.promise;
      step();
      steps = 99;
    });
    for (let at = 0; at < 12; at += 1) {
      clock.advance(25_000);
      await new Promise(setImmediate);
    }
    expect(steps).toBe(3);
    clock.advance(60_000);
    clock.advance(60_000);
    expect(await faultOf(act)).toMatchObject({ code: "ETIMEDOUT", permanent: false });
    hung.resolve();
    await new Promise(setImmediate);
    expect(steps).toBe(3);
    expect(clock.timers).toBe(0);
  });

  test("a file that opens only after its reader has given up is closed again", async () => {
    using w = workDirectory();
    const path = join(w.root, "late");
    writeFileSync(path, "x");
    const opening = Promise.withResolvers<FileHandle>();
    const row = { role: "output", index: 0, directory: "output", path: "late", bytes: 1 } as const;
    const source = {
      open: () => opening.promise,
      within: <T>(work: () => Promise<T>) => answeredWithin(hastyClock, 1_000, "/nfs/job", work),
    };
    expect(await faultOf(contentOf(readHeldStill(row, source)))).toMatchObject({ code: "ETIMEDOUT" });
    const file = await open(path);
    opening.resolve(file);
    for (let turn = 0; file.fd >= 0 && turn < 1_000; turn += 1) await new Promise(setImmediate);
    expect(file.fd).toBe(-1);
  });

  test("one that answers in time leaves no timer behind", async () => {
    let running = 0;
    const counting: Clock = {
      ...systemClock,
      timer(ms, wake) {
        running += 1;
        const callOff = systemClock.timer(ms, wake);
        return () => {
          running -= 1;
          callOff();
        };
      },
    };
    using w = workDirectory();
    const files = createJobDirectory({ clock: counting, state, log: recordingLog([]) });
    await files.create(w.dir, ownerOf());
    expect(await files.stderrTail(w.dir, "7", 5)).toEqual([]);
    expect(running).toBe(0);
  });
});

describe.skipIf(process.geteuid?.() !== 0)("in a tmp_dir that others may write to (needs root)", () => {
  test("a directory that another user planted is foreign", async () => {
    using w = workDirectory();
    mkdirSync(w.dir);
    chmodSync(w.dir, 0o777);
    chownSync(w.dir, 65534, 65534);
    expect(await w.files.create(w.dir, ownerOf())).toEqual({ is: "foreign", owner: "no owner file" });
  });
});
