/** `check` through the executable: broken set-ups, of which it names each fault and its fix, and one that is in order. */
import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { handle } from "../../src/emulator/handle.ts";
import { addJob } from "../../src/emulator/submitter.ts";
import { callsOf } from "../fake-slurm/install.ts";
import { openStage, type Stage, type StageOptions } from "./harness.ts";

interface Item {
  readonly item: string;
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly fix?: string;
}

/** One fault: how it comes about, and the one line that is not ok. */
interface SetUp {
  readonly fault: string;
  readonly options?: StageOptions;
  readonly spoil?: (stage: Stage) => unknown;
  readonly line: Omit<Item, "detail" | "fix"> & { readonly detail: RegExp; readonly fix: RegExp };
}

const program = { program: "true" };
const fake = (file: string, content: string) => (stage: Stage) => writeFileSync(join(stage.slurmDir, file), content);

const setUps: readonly SetUp[] = [
  {
    fault: "the secret file is missing",
    spoil: (stage) => rmSync(join(stage.dir, "secret")),
    line: { item: "secret", result: "failed", detail: /does not exist/, fix: /chmod 600/ },
  },
  {
    fault: "the secret file is open to others",
    spoil: (stage) => chmodSync(join(stage.dir, "secret"), 0o644),
    line: { item: "secret", result: "failed", detail: /open to others \(mode 0644\)/, fix: /^chmod 600 .*secret/ },
  },
  {
    fault: "the secret is another worker's",
    spoil: (stage) => writeFileSync(join(stage.dir, "secret"), "emx2hpc_not-this-one"),
    line: {
      item: "authentication",
      result: "failed",
      detail: /401/,
      fix: /issued for stage-worker at EMX2, and put it into .*secret/,
    },
  },
  {
    fault: "an EMX2 token is used as a secret",
    spoil: (stage) => {
      writeFileSync(join(stage.dir, "secret"), "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl");
      stage.state.credentials.set(stage.workerId, "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl");
    },
    line: { item: "secret", result: "warning", detail: /looks like an EMX2 token/, fix: /auth_mode: token/ },
  },
  {
    fault: "EMX2's clock is ten minutes ahead",
    spoil: (stage) => {
      stage.around = async (request) => {
        const nowMs = systemClock.wall() + 600_000;
        const answer = await handle(stage.state, request, nowMs, request.url.replace(/^https?:\/\/[^/]*/, ""));
        answer.headers.set("date", new Date(nowMs).toUTCString());
        return answer;
      };
    },
    line: {
      item: "clock",
      result: "failed",
      detail: /(599|600|601) s behind EMX2/,
      fix: /set this host's clock.*secret may be right/,
    },
  },
  {
    fault: "EMX2's clock is two minutes behind",
    spoil: (stage) => {
      stage.around = async (_, answer) => {
        const response = await answer();
        response.headers.set("date", new Date(systemClock.wall() - 120_000).toUTCString());
        return response;
      };
    },
    line: { item: "clock", result: "warning", detail: /(119|120|121) s ahead of EMX2/, fix: /chrony/ },
  },
  {
    fault: "nothing listens where EMX2 should be",
    spoil: (stage) => stage.disconnect(),
    line: { item: "EMX2", result: "failed", detail: /nothing listens there \(ECONNREFUSED\)/, fix: /emx2\.base_url/ },
  },
  {
    fault: "no DNS knows EMX2's name",
    options: { emx2: { base_url: "https://emx2.invalid" } },
    line: { item: "EMX2", result: "failed", detail: /DNS does not know this name/, fix: /getent hosts emx2\.invalid/ },
  },
  {
    fault: "the proxy is not there",
    options: { emx2: { base_url: "https://emx2.invalid" }, env: { HTTPS_PROXY: "http://user:word@127.0.0.1:1" } },
    line: { item: "EMX2", result: "failed", detail: /the proxy 127\.0\.0\.1:1 is not there/, fix: /NO_PROXY/ },
  },
  {
    fault: "EMX2 has its HPC API switched off",
    spoil: (stage) => {
      stage.state.settings.hpcEnabled = false;
    },
    line: { item: "EMX2", result: "failed", detail: /switched off/, fix: /MOLGENIS_HPC_ENABLED=true/ },
  },
  {
    fault: "the URL is that of something else",
    spoil: (stage) => {
      const html = { headers: { "content-type": "text/html" } };
      stage.around = async () => new Response("<!doctype html><title>Welcome</title>", html);
    },
    line: { item: "EMX2", result: "failed", detail: /came with a web page/, fix: /correct emx2\.base_url/ },
  },
  {
    fault: "tmp_dir is missing",
    options: { apptainer: { tmp_dir: "not-mounted" } },
    line: {
      item: "tmp_dir",
      result: "failed",
      detail: /not-mounted: it is not there \(ENOENT\)/,
      fix: /mkdir .*not-mounted, or see whether its file system is mounted/,
    },
  },
  {
    fault: "there is too little room",
    options: { worker: { poll_interval_seconds: 30, min_free_disk: "999T" } },
    line: {
      item: "tmp_dir",
      result: "failed",
      detail: /GiB free/,
      fix: /free some space, or lower worker\.min_free_disk/,
    },
  },
  {
    fault: "tmp_dir is local to this host of a cluster",
    spoil: fake("partitions", "fake*|up|1-00:00:00|40|idle\n"),
    line: {
      item: "tmp_dir",
      result: "warning",
      detail: /which the other nodes see only if/,
      fix: /compute nodes share/,
    },
  },
  {
    fault: "anybody may write to tmp_dir",
    spoil: (stage) => chmodSync(stage.jobsDir, 0o1777),
    line: { item: "tmp_dir", result: "warning", detail: /anybody may make directories/, fix: /^chmod o-w / },
  },
  {
    fault: "state_dir is open to others",
    spoil: (stage) => Bun.spawnSync(["mkdir", "-m", "755", stage.stateDir]),
    line: { item: "state_dir", result: "warning", detail: /mode 0755/, fix: /^chmod 700 .*state/ },
  },
  {
    fault: "Slurm's commands are not there",
    options: { slurm: { bin_dir: "/nonexistent" } },
    line: {
      item: "Slurm",
      result: "failed",
      detail: /sbatch, squeue, sacct, scancel not found/,
      fix: /slurm\.bin_dir/,
    },
  },
  {
    fault: "Slurm's commands are of two versions",
    spoil: fake("version-squeue", "slurm 22.05.8\n"),
    line: {
      item: "Slurm",
      result: "warning",
      detail: /differ in version: slurm 24\.11\.5, slurm 22\.05\.8/,
      fix: /PATH/,
    },
  },
  {
    fault: "Slurm's controller is down",
    spoil: fake("ping", "Slurmctld(primary) at fake-node is DOWN\n"),
    line: { item: "slurmctld", result: "failed", detail: /down: primary on fake-node/, fix: /ask the site/ },
  },
  {
    fault: "accounting is off",
    spoil: fake("fail-sacct", "1\nSlurm accounting storage is disabled\n"),
    line: { item: "accounting", result: "warning", detail: /switched off/, fix: /known from its receipt/ },
  },
  {
    fault: "a partition does not exist",
    options: { profiles: { copy: { ...program, partition: "nosuch" } } },
    line: { item: "profile copy/default", result: "failed", detail: /no partition nosuch/, fix: /one of: fake/ },
  },
  {
    fault: "a partition takes no jobs",
    spoil: fake("partitions", "fake*|drain|1-00:00:00|1|idle\n"),
    line: { item: "profile copy/default", result: "failed", detail: /takes no jobs \(drain\)/, fix: /another one/ },
  },
  {
    fault: "a time is above the partition's limit",
    options: { profiles: { copy: { ...program, time: "2-00:00:00" } } },
    line: {
      item: "profile copy/default",
      result: "failed",
      detail: /wait for ever/,
      fix: /time to 1-00:00:00 at most/,
    },
  },
  {
    fault: "an account is not known",
    spoil: fake("fail-sbatch", "1\nallocation failure: Invalid account or account/partition combination specified\n"),
    line: { item: "profile copy/default", result: "failed", detail: /Invalid account/, fix: /sacctmgr show assoc/ },
  },
  {
    fault: "apptainer.command is another program",
    options: {
      profiles: { copy: { program: "", host_entrypoint: "", sif_image: "/dev/null" } },
      apptainer: { command: "/bin/true" },
    },
    line: { item: "Apptainer", result: "failed", detail: /neither Apptainer nor Singularity: true/, fix: /command/ },
  },
  {
    fault: "a host program is missing",
    spoil: (stage) => rmSync(join(stage.dir, "programs", "copy.sh")),
    line: {
      item: "host_entrypoint of copy/default",
      result: "warning",
      detail: /not there on this host/,
      fix: /correct host_entrypoint/,
    },
  },
  {
    fault: "EMX2 has jobs that no profile here is for",
    spoil: (stage) => {
      for (const profile of ["gpu", "gpu", "cpu", null]) addJob(stage.state, { processor: "embed", profile });
    },
    line: {
      item: "pending jobs",
      result: "warning",
      detail: /embed\/gpu 2, embed\/cpu 1, embed \(any profile\) 1/,
      fix: /add a profile/,
    },
  },
  {
    fault: "Slurm would be asked too often",
    options: { worker: { poll_interval_seconds: 0.5 } },
    line: { item: "Slurm calls an hour", result: "warning", detail: /^7200 squeue/, fix: /poll_interval_seconds/ },
  },
];

describe("check", () => {
  test("finds nothing to say against a set-up that is in order, and changes nothing", async () => {
    await using stage = await open();
    stage.submit("copy");
    addJob(stage.state, { processor: "copy", profile: null });
    const before = everyFile(stage);
    const { items, exitCode } = await check(stage);
    expect(items.filter(({ result }) => result !== "ok")).toEqual([]);
    expect(exitCode).toBe(0);
    const told = new Map(items.map(({ item, detail }) => [item, detail]));
    expect(told.get("profile copy/default")).toBe(
      "processor copy, profile default; sbatch would take its jobs in partition fake",
    );
    expect(told.get("pending jobs")).toBe("copy/default 1, copy (any profile) 1");
    expect(told.get("cluster")).toBe("MinJobAge 300 sec, KillWait 30 sec, JobRequeue 1");
    expect(told.get("older jobs")).toContain("allowed_environment");

    expect(everyFile(stage)).toEqual(before);
    expect(stage.requests.map((request) => request.replace(/\?.*/, ""))).toEqual([
      "GET /api/hpc/health",
      "GET /api/hpc/jobs",
    ]);
    expect(stage.state.workers.size).toBe(0);
    const submissions = callsOf(stage.slurmDir, "sbatch").filter((call) => !call.startsWith("sbatch --version"));
    expect(submissions).toEqual([expect.stringMatching(/^sbatch --test-only --parsable .*--time=5.*--job-name=emx2-/)]);
    expect(readdirSync(join(stage.slurmDir, "jobs")).filter((name) => !name.startsWith("0."))).toEqual([]);
  });

  test.each(setUps)("names the fault and the fix where $fault", async ({ options, spoil, line }) => {
    await using stage = await open(options);
    await spoil?.(stage);
    const { items, exitCode } = await check(stage);
    const faults = items.filter(({ result }) => result !== "ok");
    const named = faults.filter(({ item }) => item === line.item);
    expect(named).toEqual([
      { ...line, detail: expect.stringMatching(line.detail), fix: expect.stringMatching(line.fix) },
    ]);
    // The secret is not told, whatever is wrong with it; nor a proxy's password.
    expect(JSON.stringify(items)).not.toContain(stage.secret);
    expect(JSON.stringify(items)).not.toContain("user:word");
    expect(exitCode).toBe(line.result === "failed" ? 1 : 0);
    expect(stage.state.workers.size).toBe(0);
  });

  test("names what hangs, and does not hang with it", async () => {
    await using stage = await open();
    writeFileSync(join(stage.slurmDir, "hang-squeue"), "60");
    stage.around = () => new Promise(() => {});
    const { items, afterMs } = await check(stage, 50_000);
    expect(items.filter(({ result }) => result === "failed")).toEqual([
      expect.objectContaining({ item: "slurmctld", detail: expect.stringContaining("squeue: no answer within 15 s") }),
      expect.objectContaining({ item: "EMX2", detail: expect.stringContaining("no answer") }),
    ]);
    expect(afterMs).toBeLessThan(35_000);
  }, 60_000);

  test("looks at images, and at Apptainer where an image needs it", async () => {
    const image = { program: "", host_entrypoint: "", sif_image: "image.sif" };
    const tools = mkdtempSync(join(tmpdir(), "emx2-tools-"));
    // One without a setuid starter, as most are.
    const command = join(tools, "apptainer");
    writeFileSync(command, "#!/bin/sh\necho apptainer version 1.4.5\n", { mode: 0o755 });
    await using stage = await open({ profiles: { embed: image }, apptainer: { command } });
    const path = join(stage.dir, "image.sif");
    const imageLine = async () => (await check(stage)).items.find(({ item }) => item === "sif_image of embed/default");
    expect(await imageLine()).toMatchObject({ result: "failed", detail: expect.stringContaining("ENOENT") });
    writeFileSync(path, "");
    expect(await imageLine()).toMatchObject({ result: "failed", detail: expect.stringContaining("is empty") });
    writeFileSync(path, "<html>".repeat(100));
    expect(await imageLine()).toMatchObject({ result: "failed", detail: expect.stringContaining("is no SIF image") });
    const header = `${"#!/usr/bin/env run-singularity\n".padEnd(32, "\0")}SIF_MAGIC\0`;
    writeFileSync(path, header);
    expect(await imageLine()).toMatchObject({ result: "failed", detail: expect.stringContaining("is cut short") });
    writeFileSync(path, header.padEnd(128, "\0"));
    expect(await imageLine()).toMatchObject({ result: "ok" });
    rmSync(tools, { recursive: true });
  });

  test("prints a line an item, and the fix below what is not in order", async () => {
    await using stage = await open();
    rmSync(join(stage.dir, "secret"));
    const { stdout, exitCode } = await stage.start("check").ended();
    expect(stdout).toMatch(/^ok {7}configuration: /);
    expect(stdout).toMatch(/^failed {3}secret: .* does not exist\n {9}fix: write the secret/m);
    expect(exitCode).toBe(1);
  });
});

function open(options: StageOptions = {}): Promise<Stage> {
  const { worker = { poll_interval_seconds: 30 }, profiles = { copy: program }, ...others } = options;
  return openStage({ worker, profiles, ...others });
}

async function check(stage: Stage, boundMs?: number) {
  const { stdout, stderr, exitCode, afterMs } = await stage.start("check", "--json").ended(boundMs);
  expect(stderr).toBe("");
  const { items }: { readonly items: readonly Item[] } = JSON.parse(stdout);
  return { items, exitCode, afterMs };
}

/** Path, mode and content of all that lies in the stage, but for what the fake Slurm notes of its calls. */
function everyFile({ dir }: Stage): string[] {
  const paths = readdirSync(dir, { recursive: true, encoding: "utf8" }).sort();
  return paths
    .filter((path) => path !== "slurm/calls.log")
    .map((path) => {
      const stats = statSync(join(dir, path));
      return `${path} ${stats.mode} ${stats.isFile() ? readFileSync(join(dir, path), "utf8").length : "directory"}`;
    });
}
