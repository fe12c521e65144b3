/** `try` on fake Slurm programs: what it proves, what it disturbs (nothing), and what it leaves (nothing). */
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sha256Hex } from "../../src/emx2/signature.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { openStage, type Stage, type StageOptions } from "./harness.ts";

const testMs = 60_000;
const program = 'cat "$HPC_INPUT_DIR"/*/* >"$HPC_OUTPUT_DIR/copy.bin"; printf "%s\\n" "$@" >"$HPC_OUTPUT_DIR/words"';

interface Report {
  readonly status: string;
  readonly jobId: string;
  readonly slurmJobId?: string;
  readonly detail?: string;
  readonly kept?: string;
  readonly saw: { readonly node?: { readonly user?: string; readonly places: object } };
  readonly filesBetweenNodeAndHere?: { readonly roundTripMs: number; readonly clockAheadMs: number };
  readonly outputs: readonly { readonly path: string; readonly sha256: string }[];
  readonly verdicts: readonly { readonly item: string; readonly result: string; readonly detail: string }[];
}

async function tryOut(stage: Stage, ...args: string[]) {
  const ended = await stage.start("try", "it/default", "--json", ...args).ended(testMs);
  return { ...ended, report: JSON.parse(ended.stdout) as Report };
}

function openWith(text: string, keys: Partial<StageOptions> & { readonly profile?: object } = {}): Promise<Stage> {
  const { profile = {}, ...options } = keys;
  return openStage({ ...options, profiles: { it: { program: text, ...profile } } });
}

/** Whatever a trial makes for itself. */
function leftOf(stage: Stage): string[] {
  return readdirSync(stage.jobsDir);
}

test(
  "a profile is proved without EMX2, its secret or the daemon's state, and nothing stays",
  async () => {
    await using stage = await openWith(program);
    rmSync(join(stage.dir, "secret"));
    writeFileSync(join(stage.dir, "a b.txt"), "hello\n");
    const words = ["--arg=-n", "--arg", "two words", "--param", "threshold=1.0", "--param", "name=x y"];
    const { exitCode, report, stderr } = await tryOut(stage, "--input", "a b.txt", ...words);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("COMPLETED") });
    expect(report.status).toBe("COMPLETED");
    expect(report.outputs.map(({ path, sha256 }) => [path, sha256])).toEqual([
      ["copy.bin", sha256Hex("hello\n")],
      ["words", sha256Hex("-n\ntwo words\n")],
    ]);
    expect(report.verdicts.filter(({ result }) => result === "failed")).toEqual([]);
    expect(report.saw.node).toMatchObject({ user: expect.stringContaining(`uid ${process.getuid?.()}`) });
    expect(report.filesBetweenNodeAndHere?.roundTripMs).toBeGreaterThanOrEqual(0);
    expect(Math.abs(report.filesBetweenNodeAndHere?.clockAheadMs ?? Number.NaN)).toBeLessThan(5_000);
    expect(stage.ledger()).toEqual([report.jobId]);
    expect(stage.requests).toEqual([]);
    expect(existsSync(stage.stateDir)).toBe(false);
    expect(leftOf(stage)).toEqual([]);
  },
  testMs,
);

test(
  "a daemon at work with the same configuration is not disturbed, and takes nothing of a trial's",
  async () => {
    await using stage = await openWith('echo done >"$HPC_OUTPUT_DIR/result"');
    const daemon = stage.start("run");
    const before = stage.submit("it");
    await stage.untilStatus(before, "COMPLETED");
    const { exitCode, report } = await tryOut(stage);
    expect(exitCode).toBe(0);
    const after = stage.submit("it");
    await stage.untilStatus(after, "COMPLETED");
    expect(stage.ledger()).toEqual([before, report.jobId, after]);
    expect(daemon.stderr()).not.toContain(report.jobId);
    expect(callsOf(stage.slurmDir, "scancel")).toEqual(["scancel --version"]);
  },
  testMs,
);

test(
  "--keep leaves the job's directory, and says where",
  async () => {
    await using stage = await openWith('echo done >"$HPC_OUTPUT_DIR/result"');
    const { report } = await tryOut(stage, "--keep");
    const { kept = "" } = report;
    expect(readFileSync(join(kept, report.jobId, "output/result"), "utf8")).toBe("done\n");
    expect(leftOf(stage)).toEqual([kept.slice(stage.jobsDir.length + 1)]);
  },
  testMs,
);

test(
  "outputs that stay on the cluster are checked where they are, and removed",
  async () => {
    const profile = { output_residence: "posix", posix_output_dir: "results" };
    const program = `cd "$HPC_OUTPUT_DIR"; echo done >result; echo not utf-8 >"$(printf '50%%\\351')"`;
    await using stage = await openWith(program, { profile, directories: ["results"] });
    const { exitCode, report } = await tryOut(stage);
    expect({ exitCode, outputs: report.outputs }).toMatchObject({
      exitCode: 0,
      outputs: [
        { path: "50%25%E9", sha256: sha256Hex("not utf-8\n") },
        { path: "result", sha256: sha256Hex("done\n") },
      ],
    });
    expect(readdirSync(join(stage.dir, "results"))).toEqual([]);
  },
  testMs,
);

test.each([
  ["a program that fails", "echo no such sample >&2; exit 7", "job", "the program ended with exit code 7"],
  ["an output that is left out", 'ln -s /etc/passwd "$HPC_OUTPUT_DIR/link"', "outputs", '"link"'],
])(
  "%s is exit code 1 and has its verdict",
  async (_, text, item, words) => {
    await using stage = await openWith(text);
    const { exitCode, report } = await tryOut(stage);
    expect(exitCode).toBe(1);
    expect(report.verdicts.filter(({ result }) => result === "failed")).toMatchObject([{ item }]);
    expect(report.verdicts.find((verdict) => verdict.item === item)?.detail).toContain(words);
    expect(leftOf(stage)).toEqual([]);
  },
  testMs,
);

test(
  "Ctrl-C ends the Slurm job, and nothing stays",
  async () => {
    await using stage = await openWith("sleep 300");
    const trial = stage.start("try", "it/default");
    await stage.until("the job runs", () => trial.stdout().includes("STARTED"));
    trial.kill("SIGINT");
    const { exitCode, stdout, stderr } = await trial.ended(testMs);
    expect(exitCode).toBe(1);
    expect(stdout).toContain("CANCELLED");
    expect(stderr).toMatch(/a second signal would leave them at work .*scancel --name=emx2-/);
    expect(callsOf(stage.slurmDir, "scancel")).not.toEqual([]);
    expect(leftOf(stage)).toEqual([]);
  },
  testMs,
);

test(
  "a tmp_dir that is not there is not made: its file system is not mounted",
  async () => {
    await using stage = await openWith("true", { apptainer: { tmp_dir: "unmounted" } });
    const { exitCode, stderr } = await stage.start("try", "it/default").ended();
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringMatching(/unmounted: it is not there/) });
    expect(existsSync(join(stage.dir, "unmounted"))).toBe(false);
  },
  testMs,
);

test(
  "where a daemon would claim nothing for want of room nothing is made, and that is said",
  async () => {
    await using stage = await openWith("true", { worker: { min_free_disk: "1000000G" } });
    const { exitCode, stderr } = await stage.start("try", "it/default").ended();
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringMatching(/^failed {3}tmp_dir: .*min_free_disk/),
    });
    expect(leftOf(stage)).toEqual([]);
  },
  testMs,
);

test(
  "where Slurm can not be asked nothing is made, and that is said at once",
  async () => {
    await using stage = await openWith("true", { slurm: { bin_dir: "/nowhere" } });
    const { exitCode, stderr, stdout } = await stage.start("try", "it/default").ended();
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toMatch(/^failed {3}Slurm: sbatch, squeue, sacct, scancel not found\n {9}fix: /);
    expect(leftOf(stage)).toEqual([]);
  },
  testMs,
);

test.each([
  [["it/defalt"], 2, "did you mean it/default?"],
  [["it/default", "--param", "x"], 2, "--param takes K=V"],
  [["it/default", "--arg", "a", "--param", "args=[]"], 2, "args is given twice"],
  [["it/default", "--input", "."], 2, "is no file"],
  [["it/default", "--input", "nowhere"], 1, "nowhere"],
])(
  "try %p is refused before anything is made",
  async (args, exitCode, said) => {
    await using stage = await openWith("true");
    const ended = await stage.start("try", ...args).ended();
    expect({ exitCode: ended.exitCode, stderr: ended.stderr }).toEqual({
      exitCode,
      stderr: expect.stringContaining(said),
    });
    expect(stage.ledger()).toEqual([]);
    expect(leftOf(stage)).toEqual([]);
  },
  testMs,
);
