import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { startProgram } from "../integration/program.ts";
import { straysOf } from "../integration/strays.ts";
import { alone } from "./alone.ts";

const testMs = 60_000;
const controls = /[^\P{Cc}\n]/u;

test(
  "the demo runs its jobs on this host, proves what came back, and exits 0 in plain text",
  async () => {
    using place = alone();
    const { exitCode, stdout, stderr } = await place.run(["demo", "--dir", place.dir]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^uppercase +COMPLETED +68 B managed +yes/m);
    expect(stdout).toMatch(/^linecount +COMPLETED +45 B managed +yes/m);
    expect(stdout).toMatch(/^training +COMPLETED +32 B managed +yes/m);
    expect(stdout).toMatch(/^inplace +COMPLETED +68 B posix +yes/m);
    expect(stdout).toMatch(/^failure +FAILED +none +yes/m);
    expect(stdout).toMatch(/^[\d:]+ +training +STARTED +\d+% epoch \d of 4$/m);
    expect(stdout).toMatch(/^linecount .* no profile, so it was run with demo-linecount\/default$/m);
    expect(stdout).toMatch(
      /^failure .*EMX2 was told:\n +slurm_state=FAILED; exit_code=3:0;.*\n.*stderr:\n +the model did not/m,
    );
    for (const status of ["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"])
      expect(stdout).toMatch(new RegExp(`^\\d\\d:\\d\\d:\\d\\d +uppercase +${status}`, "m"));
    expect(stdout).not.toMatch(controls);

    const kept = /^inplace .*:\n +(\/.*)$/m.exec(stdout)?.[1] ?? "";
    expect(readFileSync(join(kept, "sorted/poem.txt"), "utf8")).toStartWith("apptainer holds the box\n");

    const work = /^Where to look: (.*)$/m.exec(stdout)?.[1] ?? "";
    expect(work).toStartWith(place.dir);
    const outputs = readdirSync(work, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith("POEM.txt"),
    );
    expect(readFileSync(join(work, outputs[0] ?? ""), "utf8")).toContain("SLURM KEEPS THE QUEUE");
    expect(straysOf(place.dir)).toEqual([]);
  },
  testMs,
);

test(
  "the demo needs no configuration, no network and obeys no proxy",
  async () => {
    using place = alone();
    const proxy = "http://127.0.0.1:9";
    const env = {
      HTTP_PROXY: proxy,
      http_proxy: proxy,
      HTTPS_PROXY: proxy,
      TMPDIR: place.dir,
      EMX2_HPC_CONFIG: "/none",
    };
    const { exitCode } = await place.run(["demo"], env);
    expect(exitCode).toBe(0);
    expect(readdirSync(join(place.dir, "home"))).toEqual([]);
  },
  testMs,
);

test(
  "the demo says what is wrong and exits 1 where jobs can not run",
  async () => {
    using place = alone();
    const { exitCode, stdout, stderr } = await place.run(["demo", "--dir", "/proc/nowhere"]);
    expect(exitCode).toBe(1);
    expect(stdout).not.toContain("came back as they should");
    expect(stderr).toContain("/proc/nowhere");
    expect(stderr).not.toMatch(/bug of ours/);
  },
  testMs,
);

test(
  "a demo that is stopped leaves no process",
  async () => {
    using place = alone();
    const { PATH = "/usr/bin:/bin" } = process.env;
    const env = { PATH, HOME: join(place.dir, "home") };
    const demo = startProgram(["demo", "--dir", place.dir], { env, cwd: place.dir });
    demo.kill("SIGINT");
    await demo.ended();
    expect(straysOf(place.dir)).toEqual([]);
  },
  testMs,
);
