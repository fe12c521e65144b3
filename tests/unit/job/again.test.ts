/** Whether a container that did not begin is the operator's to mend: its image is started once more, without the job. */
import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ImageWorkload } from "../../../src/job/profile.ts";
import { quote, seenImageFiles } from "../../../src/job/script.ts";
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
  readonly stderr: string;
  /** Arguments and environment of each start of the image. */
  readonly starts: readonly { readonly argv: string; readonly environ: string }[];
}

/** `lines`: what stands in Apptainer's place does, `$again` being set where it is started without the job. */
async function play(
  shell: readonly string[],
  lines: string,
  { over = {}, checked }: { readonly over?: Partial<ImageWorkload>; readonly checked?: (image: string) => string } = {},
): Promise<Played> {
  const dir = jobDirectory(parameters, { workload: { ...workload, ...over } });
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
      for (const { name, content } of seenImageFiles(checked(image), {
        ...hostProfile,
        workload: { ...workload, ...over },
      }))
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
    await runToEnd(shell, dir, "a1", { SLURM_JOB_ID: "1", PATH: `${tools}:/usr/bin:/bin` });
    const read = (path: string) => readFileSync(join(dir, path), "utf8");
    const log = join(dir, ".emx2/container-stderr.log");
    const { exit, unstarted, other_image: otherImage } = JSON.parse(read(".emx2/exit.a1.0"));
    const starts = [0, 1, 2].flatMap((n) => {
      const isThere = statSync(join(tools, `argv.${n}`), { throwIfNoEntry: false });
      return isThere ? [{ argv: read(`tools/argv.${n}`), environ: read(`tools/environ.${n}`) }] : [];
    });
    return { exit, unstarted, otherImage, starts, stderr: existsSync(log) ? readFileSync(log, "utf8") : "" };
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
    expect(second?.argv).toMatch(/\/images\/tool\.sif \/bin\/sh -c command -v "\$0" >\/dev\/null \/opt\/run $/);
    expect(second?.argv).toContain("/.emx2/again/work");
    for (const text of [second?.argv, second?.environ]) expect(text).not.toMatch(/patient|SECRET|hush|APPTAINERENV_/);
  });

  test.concurrent.each([
    ["a program that speaks like Apptainer", `[ -n "$again" ] || { ${fatal}; }`, 255, 2],
    [
      "an image without a shell, which shows nothing",
      `[ -z "$again" ] || echo 'FATAL:   stat /bin/sh: no such file' >&2; ${fatal}`,
      255,
      2,
    ],
    ["a program of its own 255", "echo 'no such sample' >&2; exit 255", 255, 1],
    ["a program that fails", "echo 'FATAL:   no such sample' >&2; exit 7", 7, 1],
  ])("%s is the job's own end", async (_, lines, code, count) => {
    const { exit, unstarted, starts } = await play(shell, lines);
    expect([exit, unstarted, starts.length]).toEqual([code, false, count]);
  });

  test.concurrent("a program that is not in the image is told apart by a look into it", async () => {
    const lines =
      "echo 'FATAL:   stat /opt/run: no such file or directory' >&2; [ -z \"$again\" ] || exit 127; exit 255";
    expect(await play(shell, lines)).toMatchObject({ exit: 255, unstarted: true });
  });

  test.concurrent("with the host's own mounts nothing is told apart: the job could have played with them", async () => {
    const { unstarted, starts } = await play(shell, fatal, { over: { isolation: "host" } });
    expect([unstarted, starts.length]).toEqual([false, 1]);
  });

  const facts = (image: string) => `${statSync(image).size} ${Math.floor(statSync(image).mtimeMs / 1_000)}`;
  const other = (image: string) => facts(image).replace(/^8/, "9");
  const held = { sha256: "0".repeat(64) };

  test.concurrent("an image that is not the one whose hash was checked is not started", async () => {
    const same = await play(shell, "exit 0", { checked: facts, over: held });
    expect(same).toMatchObject({ exit: 0, unstarted: false, otherImage: false });
    const replaced = await play(shell, "exit 0", { checked: other, over: held });
    expect(replaced).toMatchObject({ exit: 255, starts: [] });
    expect(replaced.stderr).toContain("is not the image whose sha256 was checked");
  });

  test.concurrent("another image than was looked at runs where none is asked for, and it is noticed", async () => {
    expect(await play(shell, "exit 0", { checked: facts })).toMatchObject({ exit: 0, otherImage: false });
    expect(await play(shell, "exit 0", { checked: other })).toMatchObject({ exit: 0, otherImage: true, stderr: "" });
  });
});
