/** A Slurm that hangs, or takes no more for now, is not asked over and over; all else goes on. */
import { expect, test } from "bun:test";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callsOf } from "../fake-slurm/install.ts";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const profiles = { mark: { program: "sleep 1; :" }, other: { program: ":" } };

const asked = (stage: Stage, part: string) => stage.requests.filter((request) => request.includes(part)).length;

test(
  "squeue hangs: one alone is waited for, while heartbeats and the looks at EMX2 go on",
  async () => {
    await using stage = await openStage({ profiles, worker: { heartbeat_interval_seconds: 0.2 } });
    const id = stage.submit("mark");
    stage.start("run");
    await stage.untilStatus(id, "SUBMITTED");
    writeFileSync(join(stage.slurmDir, "hang-squeue"), "300\n");
    const before = callsOf(stage.slurmDir, "squeue").length;
    await stage.until("squeue hangs", () => callsOf(stage.slurmDir, "squeue").length > before);
    const [beats, looks] = [asked(stage, "/heartbeat"), asked(stage, "/jobs")];
    await stage.until("heartbeats go on", () => asked(stage, "/heartbeat") >= beats + 5);
    await stage.until("looks at EMX2 go on", () => asked(stage, "/jobs") >= looks + 5);
    expect(callsOf(stage.slurmDir, "squeue")).toHaveLength(before + 1);
    expect(stage.job(id).status).not.toBe("FAILED");
  },
  testMs,
);

test(
  "a limit on submitted jobs is reached: of many that wait a few try, and those of another profile go on",
  async () => {
    const jobs = 60;
    const limited = { limited: { ...profiles.mark, qos: "full" }, other: profiles.other };
    const worker = { max_concurrent_jobs: jobs + 1 };
    await using stage = await openStage({ profiles: limited, worker, slurm: { max_submissions_per_minute: 1_000 } });
    const lift = limitOn(stage, "full");
    const ids = Array.from({ length: jobs }, () => stage.submit("limited"));
    stage.start("run");
    await stage.until("all are claimed", () => ids.every((id) => stage.job(id).status === "CLAIMED"), 30_000);
    await stage.until("one has tried", () => callsOf(stage.slurmDir, "sbatch").length > 0);
    const other = stage.submit("other");
    await stage.untilStatus(other, "COMPLETED");
    // As many as may be in flight at once, and the other profile's.
    expect(callsOf(stage.slurmDir, "sbatch").length).toBeLessThanOrEqual(4 + 1);
    expect(ids.every((id) => stage.job(id).status === "CLAIMED")).toBe(true);
    lift();
  },
  testMs,
);

/** From now on sbatch refuses what names the QOS, as at a limit on how many jobs it may have. */
function limitOn({ slurmDir }: Stage, qos: string): () => void {
  const [sbatch, switchedOn] = [join(slurmDir, "bin", "sbatch"), join(slurmDir, "limit")];
  const [first = "", ...rest] = readFileSync(sbatch, "utf8").split("\n");
  const words = "QOSMaxSubmitJobPerUserLimit";
  const refuse = `[ ! -e '${switchedOn}' ] || { echo 'sbatch: error: ${words}' >&2; echo "sbatch $*" >>'${slurmDir}/calls.log'; exit 1; }`;
  const guard = `for word; do case $word in --qos=${qos}) ${refuse} ;; esac; done`;
  writeFileSync(switchedOn, "");
  writeFileSync(`${sbatch}.new`, [first, guard, ...rest].join("\n"), { mode: 0o755 });
  renameSync(`${sbatch}.new`, sbatch);
  return () => rmSync(switchedOn);
}
