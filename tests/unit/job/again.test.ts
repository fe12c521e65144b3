/** Whether a container that did not begin is the operator's to mend: its image is started once more, without the job. */
import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256Hex } from "../../../src/emx2/signature.ts";
import type { ImageWorkload, Profile } from "../../../src/job/profile.ts";
import { quote, seenImageFile } from "../../../src/job/script.ts";
import startable from "../../../src/job/startable.sh" with { type: "text" };
import { hostProfile, jobDirectory, runToEnd, shells } from "./job-directory.ts";

const workload: ImageWorkload = {
  ...{ kind: "image", image: "/images/tool.sif", entrypoint: "/opt/run", isolation: "contained" },
  ...{ gpuRuntime: "none", apptainerArgs: [] },
};
const fatal = "echo 'FATAL:   container creation failed: mount source /data does not exist' >&2; exit 255";
const parameters = JSON.stringify({ args: ["--patient", "17"], environment: { SECRET: "hush" } });

interface Played {
  readonly unstarted: unknown;
  readonly otherImage: unknown;
  readonly exit: unknown;
  /** The batch script's stderr, and the container's. */
  readonly said: string;
  readonly stderr: string;
  /** Arguments and environment of each start of the image. */
  readonly starts: readonly { readonly argv: string; readonly environ: string }[];
}

interface Given {
  readonly over?: Partial<ImageWorkload>;
  /** What was seen of the image before. */
  readonly checked?: (image: string) => string;
  readonly profile?: Partial<Profile>;
}

/** `lines`: what stands in Apptainer's place does, `$again` being set where it is started without the job. */
async function play(
  shell: readonly string[],
  lines: string,
  { over = {}, checked, profile = {} }: Given = {},
): Promise<Played> {
  const held: Partial<Profile> = { workload: { ...workload, ...over } };
  const dir = jobDirectory(parameters, { ...held, ...profile });
  try {
    const [tools, image] = [join(dir, "tools"), join(dir, "tool.sif")];
    mkdirSync(tools);
    writeFileSync(image, "an image");
    if (checked) {
      const control = join(dir, ".emx2");
      for (const name of ["environment.sh", "again.sh"])
        writeFileSync(
          join(control, name),
          readFileSync(join(control, name), "utf8").replace("/images/tool.sif", image),
        );
      const { name, content } = seenImageFile(checked(image), { ...hostProfile, ...held });
      writeFileSync(join(control, name), content);
    }
    const script = [
      "#!/bin/sh",
      "[ \"$1\" != --version ] || { echo 'apptainer version 1.4.5'; exit; }",
      `n=$(ls ${quote(tools)} | grep -c argv); printf '%s ' "$@" >${quote(tools)}/argv.$n; env >${quote(tools)}/environ.$n`,
      'case "$*" in *"command -v"*) again=yes ;; *) again= ;; esac',
      lines,
    ];
    writeFileSync(join(tools, "apptainer"), `${script.join("\n")}\n`);
    chmodSync(join(tools, "apptainer"), 0o755);
    const { stderr: said } = await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "1", PATH: `${tools}:/usr/bin:/bin` });
    const read = (path: string) => readFileSync(join(dir, path), "utf8");
    const log = join(dir, ".emx2/container-stderr.log");
    const { exit, unstarted, other_image: otherImage } = JSON.parse(read(".emx2/exit.a1.0"));
    const starts = [0, 1, 2].flatMap((n) => {
      const isThere = statSync(join(tools, `argv.${n}`), { throwIfNoEntry: false });
      return isThere ? [{ argv: read(`tools/argv.${n}`), environ: read(`tools/environ.${n}`) }] : [];
    });
    return { exit, unstarted, otherImage, starts, said, stderr: existsSync(log) ? readFileSync(log, "utf8") : "" };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const scriptShells = shells.filter(([name]) => name !== "busybox");

describe.each(scriptShells)("in %p", (...shell) => {
  test.concurrent("an image that can not be started is told apart, and nothing of the job's is in the second start", async () => {
    const { exit, unstarted, starts } = await play(shell, fatal);
    expect([exit, unstarted]).toEqual([255, true]);
    expect(starts).toHaveLength(2);
    const [first, second] = starts;
    expect(first?.argv).toContain("--patient 17");
    expect(second?.argv).toMatch(
      /\/images\/tool\.sif \/bin\/sh -c # Fails where.*found=\$\(command -v "\$0"\).* \/opt\/run $/s,
    );
    expect(second?.argv).toContain("/.emx2/again/work");
    for (const text of [second?.argv, second?.environ]) expect(text).not.toMatch(/patient|SECRET|hush|APPTAINERENV_/);
  });

  test.concurrent.each([
    ["a program that speaks like Apptainer", `[ -n "$again" ] || { ${fatal}; }`, 255, false, 2],
    [
      "an image without a shell, which shows nothing",
      `[ -z "$again" ] || echo 'FATAL:   stat /bin/sh: no such file' >&2; ${fatal}`,
      255,
      null,
      2,
    ],
    ["a program of its own 255", "[ -n \"$again\" ] || { echo 'no such sample' >&2; exit 255; }", 255, false, 2],
    ["a program of its own 1", "echo 'no such sample' >&2; exit 1", 1, false, 1],
    ["a program that fails", "echo 'FATAL:   no such sample' >&2; exit 7", 7, false, 1],
  ])("%s is no image that can not be started", async (_, lines, code, answer, count) => {
    const { exit, unstarted, starts } = await play(shell, lines);
    expect([exit, unstarted, starts.length]).toEqual([code, answer, count]);
  });

  test.concurrent("what says that it has no runscript is a program, where the image shows that it has one", async () => {
    const words = "echo 'There is no runscript defined for this container'";
    expect(await play(shell, `[ -n "$again" ] || ${words}`)).toMatchObject({ exit: 0, unstarted: false });
    expect(await play(shell, `[ -z "$again" ] || exit 1; ${words}`)).toMatchObject({ exit: 255, unstarted: true });
  });

  test.each([
    ["/bin/ls", 0],
    ["ls", 0],
    ["test", 0],
    ["good", 0],
    ["absent", 1],
    ["closed", 1],
    [".", 1],
    ["lost", 1],
  ])("of the program %s its shell can tell whether it would start", (program, code) => {
    const dir = mkdtempSync(join(tmpdir(), "emx2-startable-"));
    writeFileSync(join(dir, "good"), "#! /bin/sh -e\n", { mode: 0o755 });
    writeFileSync(join(dir, "closed"), "#!/bin/sh\n", { mode: 0o644 });
    writeFileSync(join(dir, "lost"), "#!/opt/no/such/python -u\n", { mode: 0o755 });
    const path = program.includes("/") || ["ls", "test"].includes(program) ? program : join(dir, program);
    expect(Bun.spawnSync([...shell, "-c", startable, path]).exitCode).toBe(code);
    rmSync(dir, { recursive: true });
  });

  test.concurrent.each([
    ["fails", ["set -eu", "false"], 1],
    ["says that all is well", ["exit 0"], 0],
    ["ends itself", ["kill -9 $(sh -c 'echo $PPID')"], 137],
  ])(
    "a prelude that %s before its program begins ends in no success, and is the operator's",
    async (_, prelude, code) => {
      const { exit, unstarted, starts, said } = await play(shell, "exit 0", { profile: { prelude } });
      expect([exit, unstarted, starts.length]).toEqual([255, true, 0]);
      expect(said).toMatch(`job.sh: the profile's prelude ended the run with exit code ${code} (on `);
    },
  );

  test.concurrent("what a prelude leaves that lets nothing begin is the operator's too", async () => {
    const left = await play(shell, "exit 0", { profile: { prelude: ["cd() { exit 4; }"] } });
    expect([left.exit, left.unstarted, left.starts.length]).toEqual([255, true, 0]);
    expect(left.said).toMatch("job.sh: what the profile's prelude has left ended the run with exit code 4 (on ");
    const lost = await play(shell, "exit 0", { profile: { prelude: ["unset PATH"] } });
    expect([lost.exit, lost.unstarted, lost.starts.length]).toEqual([255, true, 0]);
    expect(lost.stderr).toMatch(/^job\.sh: apptainer is not found: .*\n$/);
  });

  test.concurrent("what a prelude sets of the shell, and names that the script uses, do not reach what follows", async () => {
    const prelude = [
      "set -euxfC",
      "node=x run=x status=x job=x code=9 attempt=x",
      "IFS=/",
      "alias exec=echo export=echo",
    ];
    const { exit, unstarted, said, starts } = await play(shell, "exit 0", { profile: { prelude } });
    expect([exit, unstarted, starts.length]).toEqual([0, false, 1]);
    expect(said).not.toContain("hush");
  });

  test.concurrent("a program that is not in the image is told apart by a look into it", async () => {
    const lines =
      "echo 'FATAL:   stat /opt/run: no such file or directory' >&2; [ -z \"$again\" ] || exit 127; exit 255";
    expect(await play(shell, lines)).toMatchObject({ exit: 255, unstarted: true });
  });

  test.concurrent("with the host's own mounts nothing is told apart: the job could have played with them", async () => {
    const { unstarted, starts } = await play(shell, fatal, { over: { isolation: "host" } });
    expect([unstarted, starts.length]).toEqual([null, 1]);
  });

  const facts = (image: string) => {
    const { size, mtimeMs, ctimeMs, ino } = statSync(image);
    return [size, Math.floor(mtimeMs / 1_000), Math.floor(ctimeMs / 1_000), ino].join(" ");
  };
  const other = (image: string) => facts(image).replace(/^8/, "9");
  /** The same to the second, but another file. */
  const copied = (image: string) => facts(image).replace(/\d+$/, "1");
  const held = { sha256: sha256Hex("an image") };
  const wrong = { sha256: "0".repeat(64) };

  test.concurrent("an image that is not the one whose hash was checked is not started", async () => {
    const same = await play(shell, "exit 0", { checked: facts, over: wrong });
    expect(same).toMatchObject({ exit: 0, unstarted: false, otherImage: false });
    for (const checked of [other, copied]) {
      const replaced = await play(shell, "exit 0", { checked, over: wrong });
      expect(replaced).toMatchObject({ exit: 255, unstarted: true, starts: [] });
      expect(replaced.stderr).toContain("is not the image whose sha256 was checked");
    }
  });

  test.concurrent("a node's own copy of an image that is held to a hash is hashed there", async () => {
    for (const checked of [other, copied])
      expect(await play(shell, "exit 0", { checked, over: held })).toMatchObject({ exit: 0, otherImage: false });
  });

  test.concurrent("another image than was looked at runs where none is asked for, and it is noticed", async () => {
    for (const checked of [facts, copied])
      expect(await play(shell, "exit 0", { checked })).toMatchObject({ exit: 0, otherImage: false });
    expect(await play(shell, "exit 0", { checked: other })).toMatchObject({ exit: 0, otherImage: true, stderr: "" });
  });
});
