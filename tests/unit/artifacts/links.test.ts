/** Links in an output directory, judged against where the kernel says that they lead. */
import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { contentOf, ownerOf, sha256, type WorkDirectory, workDirectory } from "./work-directory.ts";

const secretText = "AKIA-secret";

/** A finished job, and what lies around its output directory. */
async function finished(): Promise<WorkDirectory & { readonly output: string }> {
  const w = workDirectory();
  await w.files.create(w.dir, ownerOf());
  mkdirSync(join(w.root, "elsewhere"));
  writeFileSync(join(w.root, "elsewhere/secret"), secretText);
  writeFileSync(join(w.dir, "work/secret"), secretText);
  return { ...w, output: join(w.dir, "output") };
}

async function outcomeOf(
  w: WorkDirectory,
): Promise<{ files: Record<string, string>; leftOut: string[]; count: number }> {
  const { rows, leftOut } = await w.files.list({ dir: w.dir, outputDir: "output" }, "output");
  const files: Record<string, string> = {};
  for (const row of rows) files[row.path] = await contentOf(w.files.read({ dir: w.dir }, row));
  return { files, leftOut: [...leftOut.names].sort(), count: leftOut.count };
}

/** The same by the kernel's own following, which is fine where nobody changes anything meanwhile. */
function expected(output: string): { files: Record<string, string>; leftOut: number } {
  const files: Record<string, string> = {};
  let leftOut = 0;
  const root = realpathSync(output);
  const within = (path: string, directory: string) => path === directory || path.startsWith(`${directory}/`);
  const visit = (directory: string, prefix: string, entered: readonly string[]) => {
    const names = readdirSync(directory);
    if (names.length === 0 && prefix !== "") leftOut += 1;
    for (const name of names) {
      const path = join(directory, name);
      let real: string;
      try {
        real = realpathSync(path);
      } catch {
        leftOut += 1;
        continue;
      }
      const isLink = path !== real;
      if (!within(real, root)) leftOut += 1;
      else if (statSync(real).isFile()) files[prefix + name] = readFileSync(real, "utf8");
      else if (isLink && entered.some((passed) => within(passed, real))) leftOut += 1;
      else visit(real, `${prefix}${name}/`, [...entered, real]);
    }
  };
  visit(root, "", [root]);
  return { files, leftOut };
}

describe("links", () => {
  test("to a file are that file under the link's name, to a directory all that is in it", async () => {
    using w = await finished();
    mkdirSync(join(w.output, "run-7/deep"), { recursive: true });
    writeFileSync(join(w.output, "run-7/a.txt"), "a");
    writeFileSync(join(w.output, "run-7/deep/b.txt"), "b");
    symlinkSync("run-7", join(w.output, "latest"));
    symlinkSync(join(w.output, "latest/deep/b.txt"), join(w.output, "absolute.txt"));
    symlinkSync("../output/latest/../run-7/a.txt", join(w.output, "around.txt"));
    symlinkSync("../a.txt", join(w.output, "run-7/deep/up.txt"));
    expect(await outcomeOf(w)).toEqual({
      files: {
        "run-7/a.txt": "a",
        "run-7/deep/b.txt": "b",
        "run-7/deep/up.txt": "a",
        "latest/a.txt": "a",
        "latest/deep/b.txt": "b",
        "latest/deep/up.txt": "a",
        "absolute.txt": "b",
        "around.txt": "a",
      },
      leftOut: [],
      count: 0,
    });
  });

  test("that a container made are followed as in there, where the output directory is /output", async () => {
    using w = await finished();
    const place = { dir: w.dir, outputDir: "output.a1.1" };
    const output = join(w.dir, place.outputDir);
    mkdirSync(join(output, "deep"), { recursive: true });
    writeFileSync(join(output, "deep/f"), "f");
    const inside = { absolute: "/output/deep/f", around: "../output/deep/f", over: "../../../output/deep/../deep/f" };
    const outside = { host: "/outputs/deep/f", job: "/output/../work/secret", root: "/" };
    for (const [name, target] of Object.entries({ ...inside, ...outside })) symlinkSync(target, join(output, name));
    const names = async (how = {}) =>
      [...(await w.files.list(place, "output", how)).rows].map(({ path }) => path).sort();
    expect(await names()).toEqual(["deep/f"]);
    writeFileSync(join(w.dir, ".emx2/container.sh"), "");
    expect(await names()).toEqual(["absolute", "around", "deep/f", "over"]);
    expect(await names({ readInPlace: true })).toEqual(["deep/f"]);
  });

  test.each([
    ["up", "..", "out of the output directory"],
    ["out.txt", "../work/secret", "out of the output directory"],
    ["out.dir", "/", "out of the output directory"],
    ["proc", "/proc/self/environ", "out of the output directory"],
    ["almost", "../output2/f", "out of the output directory"],
    ["a/b/up", "..", "that leads in a circle"],
    ["root", ".", "that leads in a circle"],
    ["root", "../output", "that leads in a circle"],
    ["self", "self", "that leads in a circle"],
    ["self", "a/../self/x", "that leads in a circle"],
    ["broken", "nothing/here", "to nothing"],
    ["through", "a/f/x", "to nothing"],
    ["long", "x".repeat(300), "to nothing"],
    ["special", "pipe", "to what is no regular file"],
  ])("%s -> %s is left out, with the reason", async (name, target, why) => {
    using w = await finished();
    mkdirSync(join(w.output, "a/b"), { recursive: true });
    writeFileSync(join(w.output, "a/b/f"), "f");
    execFileSync("mkfifo", [join(w.output, "pipe")]);
    symlinkSync(target, join(w.output, name));
    expect(await outcomeOf(w)).toEqual({
      files: { "a/b/f": "f" },
      leftOut: [`"${name}" (symbolic link ${why})`, '"pipe" (FIFO)'].sort(),
      count: 2,
    });
    expect(w.warnings).toEqual([expect.stringContaining("2 left out of the outputs: ")]);
  });

  test("that lead round through other links end where they would begin again", async () => {
    using w = await finished();
    mkdirSync(join(w.output, "a/b"), { recursive: true });
    writeFileSync(join(w.output, "a/f"), "f");
    symlinkSync("..", join(w.output, "a/b/up"));
    symlinkSync("a/b", join(w.output, "x"));
    expect(await outcomeOf(w)).toEqual({
      files: { "a/f": "f" },
      leftOut: ['"a/b/up" (symbolic link that leads in a circle)', '"x/up" (symbolic link that leads in a circle)'],
      count: 2,
    });
  });

  test("are sealed by what they lead to, and wait for it with it", async () => {
    using w = await finished();
    writeFileSync(join(w.output, "big"), "big");
    symlinkSync("big", join(w.output, "link"));
    utimesSync(join(w.output, "big"), 1_700_000_000, 1_700_000_000);
    const hash = "0".repeat(64); // another than the file's: what is sealed is not read
    const manifest = `3 1700000000.0 big\0link link\0${hash}  ./big\0`;
    writeFileSync(join(w.dir, ".emx2/manifest.a1.0"), manifest);
    const place = { dir: w.dir, outputDir: "output", manifestSha256: sha256(manifest) };
    const { rows, unseen } = await w.files.list(place, "output");
    expect([...rows].map((row) => [row.path, row.sha256, row.diskPath])).toEqual([
      ["big", hash, undefined],
      ["link", hash, "big"],
    ]);
    expect(unseen).toBeUndefined();
    writeFileSync(join(w.output, "big"), "half");
    utimesSync(join(w.output, "big"), 1_600_000_000, 1_600_000_000);
    expect((await w.files.list(place, "output")).unseen).toEqual({ count: 2, names: ['"big"', '"link"'] });
    rmSync(join(w.output, "big"));
    expect((await w.files.list(place, "output")).unseen).toEqual({ count: 1, names: ['"big"'] });
    rmSync(join(w.output, "link"));
    expect((await w.files.list(place, "output")).unseen).toEqual({ count: 2, names: ['"big"', '"link"'] });
  });

  test("nothing outside is read, however fast directories turn into links and back", async () => {
    using w = await finished();
    mkdirSync(join(w.output, "d"));
    writeFileSync(join(w.output, "d/secret"), "fine!");
    symlinkSync("d", join(w.output, "dir"));
    symlinkSync("d/secret", join(w.output, "link"));
    const turns = "while :; do mv d ../d; ln -s ../../elsewhere d; rm d; mv ../d d; done";
    const turning = Bun.spawn(["sh", "-c", turns], { cwd: w.output, stderr: "ignore" });
    const seen = new Set<string | undefined>();
    try {
      for (let round = 0; round < 1_000; round++) {
        const listing = w.files.list({ dir: w.dir, outputDir: "output" }, "output");
        const { rows } = await listing.catch((error: Error) => ({
          rows: [],
          refused: expect(error.name).toBe("StorageError"),
        }));
        for (const row of rows) seen.add(row.sha256);
      }
    } finally {
      turning.kill("SIGKILL");
      await turning.exited;
    }
    expect([...seen]).toEqual([sha256("fine!")]);
  }, 60_000);

  test("a directory swapped for a link after the listing is not followed at the upload", async () => {
    using w = await finished();
    mkdirSync(join(w.output, "d"));
    writeFileSync(join(w.output, "d/secret"), secretText);
    symlinkSync("d/secret", join(w.output, "link"));
    const { rows } = await w.files.list({ dir: w.dir, outputDir: "output" }, "output");
    const row = [...rows].find(({ path }) => path === "link") ?? expect.unreachable();
    renameSync(join(w.output, "d"), join(w.root, "d"));
    symlinkSync(join(w.root, "d"), join(w.output, "d"));
    const read = contentOf(w.files.read({ dir: w.dir }, row));
    expect(await read.catch((error: Error) => error.name)).toBe("IntegrityError");
  });

  test("arrive as the kernel follows them, in any tree", async () => {
    const name = fc.constantFrom("a", "b", "c");
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/"));
    const target = fc.oneof(
      fc
        .array(fc.constantFrom("a", "b", "c", "..", ".", "output"), { minLength: 1, maxLength: 5 })
        .map((names) => names.join("/")),
      path.map((inside) => `@OUTPUT@/${inside}`),
      fc.constantFrom("@OUTPUT@", "@OUTPUT@/../work/secret", "../work", "@ROOT@/elsewhere", "/", "a/", "./b/./c"),
    );
    const step = fc.oneof(
      fc.record({ make: fc.constant("file" as const), path }),
      fc.record({ make: fc.constant("directory" as const), path }),
      fc.record({ make: fc.constant("link" as const), path, target }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        using w = await finished();
        for (const { path, ...what } of steps) {
          const place = join(w.output, path);
          try {
            mkdirSync(dirname(place), { recursive: true });
            if (what.make === "file") writeFileSync(place, path, { flag: "wx" });
            else if (what.make === "directory") mkdirSync(place);
            else symlinkSync(what.target.replace("@OUTPUT@", w.output).replace("@ROOT@", w.root), place);
          } catch {
            // Something else stands there, or a link has led out of reach.
          }
        }
        const { files, leftOut } = expected(w.output);
        const outcome = await outcomeOf(w);
        expect(outcome.files).toEqual(files);
        expect(outcome.count).toBe(leftOut);
      }),
      { numRuns: 200 },
    );
  }, 60_000);
});

test("empty directories are stated, behind what else was left out, and nobody is warned of them", async () => {
  using w = await finished();
  for (let i = 0; i < 12; i++) mkdirSync(join(w.output, `e${i}`));
  writeFileSync(join(w.output, "empty.txt"), "");
  const one = await outcomeOf(w);
  expect([one.files, one.count, one.leftOut.length]).toEqual([{ "empty.txt": "" }, 12, 10]);
  expect(one.leftOut[0]).toMatch(/^"e\d+" \(empty directory\)$/);
  expect(w.warnings).toEqual([]);
  execFileSync("mkfifo", [join(w.output, "z")]);
  expect((await outcomeOf(w)).leftOut).toContain('"z" (FIFO)');
  expect(w.warnings).toEqual(['1 left out of the outputs: "z" (FIFO)']);
});
