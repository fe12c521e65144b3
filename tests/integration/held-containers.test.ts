/** A profile whose containers Apptainer can not begin, through the executable: held, mended, and no submitter can feign it. */
import { expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const missing =
  "FATAL:   While checking container encryption: could not open image /i/tool.sif: no such file or directory";
const fails = (words: string) => `printf '%s\\n' '${words}' >&2; exit 255`;

/** What Apptainer does on the node with a job, and with the image alone. */
function install({ dir }: Stage, real: string, tried: string): void {
  const version = '#!/bin/sh\n[ "$1" != --version ] || { echo apptainer version 1.4.5; exit; }';
  const lines = [version, "for last; do :; done", `case $last in */runscript) ${tried} ;; *) ${real} ;; esac`];
  writeFileSync(join(dir, "apptainer"), `${lines.join("\n")}\n`);
  chmodSync(join(dir, "apptainer"), 0o755);
  writeFileSync(join(dir, "tool.sif"), "an image");
}

const options = {
  // Below the configuration's directory, as the image is.
  profiles: { tool: { sif_image: "tool.sif", prelude: ["PATH=$emx2_dir/../..:$PATH"], max_concurrent_jobs: 1 } },
  worker: { stderr_lines_in_reports: 0 },
};
const count = (stage: Stage, ids: readonly string[], status: string) =>
  ids.filter((id) => stage.job(id).status === status).length;

test(
  "three containers that can not be begun hold the profile, and the first that begins ends it",
  async () => {
    await using stage = await openStage(options);
    install(stage, fails(missing), fails(missing));
    const ids = Array.from({ length: 6 }, () => stage.submit("tool"));
    const first = stage.start("run");
    await stage.until("it is held", () => first.stderr().includes("its images can not be started"), 40_000);
    await stage.until("the three are reported", () => count(stage, ids, "FAILED") === 3);
    await stage.until("EMX2 is told that nothing more is taken", () => first.stderr().includes("profiles=0 held=1"));
    expect(count(stage, ids, "FAILED")).toBe(3);
    const ended = ids.map((id) => stage.job(id)).filter(({ status }) => status === "FAILED");
    for (const { transitions } of ended)
      expect(transitions.at(-1)?.detail).toContain(
        "the image /i/tool.sif is not there on the node; who can act: the operator",
      );
    first.kill("SIGTERM");
    expect((await first.ended()).exitCode).toBe(0);

    install(stage, "exit 0", "exit 0");
    const text = readFileSync(stage.configFile, "utf8");
    writeFileSync(stage.configFile, text.replace('"cpus": 1', '"cpus": 2'));
    const second = stage.start("run");
    await stage.until("the others are done", () => count(stage, ids, "COMPLETED") === 3, 40_000);
    expect(second.stderr()).toContain("a workload has begun: the profile is no longer held");
  },
  testMs,
);

test(
  "what a program itself says and exits with holds nothing",
  async () => {
    await using stage = await openStage(options);
    install(stage, fails(missing), "exit 0");
    const ids = Array.from({ length: 4 }, () => stage.submit("tool"));
    const daemon = stage.start("run");
    await stage.until("all have failed", () => count(stage, ids, "FAILED") === ids.length, 40_000);
    expect(daemon.stderr()).not.toContain("is held");
  },
  testMs,
);
