import { expect, test } from "bun:test";
import { randomFillSync } from "node:crypto";
import { callsOf } from "../fake-slurm/install.ts";
import { committed, sha256Of } from "./committed.ts";
import { openStage, statusesOf } from "./harness.ts";

const wholeLife = ["PENDING", "CLAIMED", "SUBMITTED", "STARTED", "COMPLETED"];
const testMs = 60_000;
const profiles = {
  copy: { program: 'cat "$HPC_INPUT_DIR"/*/data/* >"$HPC_OUTPUT_DIR/copy.bin"; echo copied; echo note >&2' },
  fails: { program: 'echo "first line" >&2; echo "the model did not converge" >&2; exit 3' },
  many: {
    program: `cd "$HPC_OUTPUT_DIR"; mkdir -p a/b; echo 1 >a/b/one.txt; echo 2 >"a/two words.txt"; echo 3 >Z.txt
      echo '{"n":1.0}' >data.json; echo log >own.log; : >empty; echo 5 >'ünï%41.txt'`,
  },
};

test(
  "a job with 20 MB of input goes through every status in order, and its output and log are committed whole",
  async () => {
    await using stage = await openStage({ profiles });
    const content = randomFillSync(new Uint8Array(20_000_000));
    const id = stage.submit("copy", { files: [{ path: "data/input.bin", content }] });
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED", 30_000);

    const job = stage.job(id);
    expect(statusesOf(job)).toEqual(wholeLife);
    expect(job.slurmJobId).toBe("1");
    const output = committed(stage, job.outputArtifactId);
    expect([...output.keys()]).toEqual(["copy.bin"]);
    expect(sha256Of(output.get("copy.bin") ?? "")).toBe(sha256Of(content));
    const log = committed(stage, job.logArtifactId);
    expect([...log.values()].map((bytes) => new TextDecoder().decode(bytes)).sort()).toEqual(["copied\n", "note\n"]);
    expect(stage.ledger()).toEqual([id]);
    expect(job.transitions.at(-1)?.detail).toStartWith("slurm_state=COMPLETED; exit_code=0:0");
  },
  testMs,
);

test(
  "a program that exits 3 ends FAILED with its exit code and the last lines of its stderr, and its log is committed",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("fails");
    stage.start("run");
    await stage.untilStatus(id, "FAILED");

    const job = stage.job(id);
    expect(statusesOf(job)).toEqual([...wholeLife.slice(0, -1), "FAILED"]);
    const detail = job.transitions.at(-1)?.detail ?? "";
    expect(detail).toStartWith("slurm_state=FAILED; exit_code=3:0");
    expect(detail).toEndWith("first line\nthe model did not converge");
    expect(job.outputArtifactId).toBeNull();
    const log = committed(stage, job.logArtifactId);
    expect(new TextDecoder().decode(log.get("slurm-1.err"))).toBe("first line\nthe model did not converge\n");
  },
  testMs,
);

test(
  "outputs of any name come back under that name, and logs among them go to the log artifact",
  async () => {
    await using stage = await openStage({ profiles });
    const id = stage.submit("many");
    stage.start("run");
    await stage.untilStatus(id, "COMPLETED");

    const output = committed(stage, stage.job(id).outputArtifactId);
    const texts = Object.fromEntries([...output].map(([path, bytes]) => [path, new TextDecoder().decode(bytes)]));
    expect(texts).toEqual({
      "a/b/one.txt": "1\n",
      "a/two words.txt": "2\n",
      "Z.txt": "3\n",
      "data.json": '{"n":1.0}\n',
      empty: "",
      "ünï%41.txt": "5\n",
    });
    expect([...committed(stage, stage.job(id).logArtifactId).keys()]).toContain("own.log");
  },
  testMs,
);

test(
  "jobs of several profiles run side by side, none twice, and no more than the worker's limit at a time",
  async () => {
    const program = `n=$(ls "$HPC_OUTPUT_DIR/../.." | wc -l); sleep 0.5; echo "$n" >"$HPC_OUTPUT_DIR/n"`;
    const sleepers = { one: { program }, two: { program } };
    await using stage = await openStage({ profiles: sleepers, worker: { max_concurrent_jobs: 3 } });
    const ids = Array.from({ length: 8 }, (_, index) => stage.submit(index % 2 ? "one" : "two"));
    stage.start("run");
    let most = 0;
    await stage.until("all are COMPLETED", () => {
      const active = ids.filter((id) => /CLAIMED|SUBMITTED|STARTED/.test(stage.job(id).status)).length;
      most = Math.max(most, active);
      return ids.every((id) => stage.job(id).status === "COMPLETED");
    });
    expect(most).toBe(3);
    expect(stage.ledger().sort()).toEqual([...ids].sort());
    expect(callsOf(stage.slurmDir, "sbatch")).toHaveLength(8);
  },
  testMs,
);
