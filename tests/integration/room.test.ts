/** Room for inputs: what EMX2 says is to come, against what the file system of the job directories really has. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { artifact } from "../../src/emulator/submitter.ts";
import { committed } from "./committed.ts";
import { openStage, type Stage } from "./harness.ts";

const testMs = 60_000;
const input = { files: [{ path: "a.txt", content: "hello" }] };

/** EMX2 says that the job's one input file has so many bytes; its content stays as it is. */
function tell(stage: Stage, id: string, bytes: number): void {
  const [inputId = ""] = stage.job(id).inputs as string[];
  const { files } = artifact(stage.state, inputId);
  const file = files.get("a.txt");
  if (!file) throw new Error("the job has no input");
  files.set("a.txt", { ...file, sizeBytes: bytes });
}

test(
  "inputs that do not fit now wait as a whole, with nothing begun, while others go on; they come by themselves once they fit",
  async () => {
    await using stage = await openStage();
    const { bavail, blocks, bsize } = statfsSync(stage.jobsDir);
    const [large, small] = [stage.submit("copy", input), stage.submit("copy", input)];
    tell(stage, large, Math.round(((bavail + blocks) / 2) * bsize));
    stage.start("run");
    await stage.untilStatus(small, "COMPLETED");
    const shown = await stage.until("status says what it waits for", async () => {
      const { stdout } = await stage.start("status").ended();
      return /its inputs take \d+\.\d GiB: /.test(stdout.replace(/\s+/g, " ")) ? stdout : undefined;
    });
    expect(shown.replace(/\s+/g, " ")).toContain(`${large.slice(0, 8)} copy/default listing inputs`);
    const { stdout: story } = await stage.start("explain", large).ended();
    expect(story.replace(/\s+/g, " ")).toMatch(/its inputs take \d+\.\d GiB: \S+\/jobs has \d+\.\d GiB free/);
    expect([stage.job(large).status, readdirSync(join(stage.jobsDir, large, "input"))]).toEqual(["CLAIMED", []]);
    tell(stage, large, 5);
    await stage.untilStatus(large, "COMPLETED", 40_000);
    expect(new TextDecoder().decode(committed(stage, stage.job(large).outputArtifactId).get("copy.bin"))).toBe("hello");
  },
  testMs,
);

test(
  "inputs that stay where they lie take no room, whatever their size",
  async () => {
    await using stage = await openStage({ apptainer: { posix_roots: ["data"] }, directories: ["data"] });
    const place = join(stage.dir, "data", "set");
    mkdirSync(place);
    writeFileSync(join(place, "a.txt"), "hello");
    const id = stage.submit("copy", { ...input, posix: place });
    tell(stage, id, 2 ** 52);
    stage.start("run");
    // They are looked at, and found to be of another size.
    await stage.untilStatus(id, "FAILED");
    expect(stage.job(id).transitions.at(-1)?.detail).toStartWith("input_hash_mismatch");
  },
  testMs,
);

test(
  "inputs that the file system could never hold fail the job, saying so",
  async () => {
    await using stage = await openStage();
    const id = stage.submit("copy", input);
    tell(stage, id, 2 ** 52);
    stage.start("run");
    await stage.untilStatus(id, "FAILED");
    expect(stage.job(id).transitions.at(-1)?.detail).toMatch(
      /^its inputs take 4194304\.0 GiB: the file system of \S+\/jobs has \d+\.\d GiB in all; inputs of posix residence would need no room/,
    );
    expect(stage.ledger()).toEqual([]);
    expect(existsSync(join(stage.jobsDir, id, "input"))).toBe(true);
  },
  testMs,
);

test(
  "below min_free_disk nothing is claimed, and status says so",
  async () => {
    await using stage = await openStage({ worker: { min_free_disk: "8000T" } });
    const id = stage.submit("copy", input);
    stage.start("run");
    const shown = await stage.until("status says so", async () => {
      const { stdout } = await stage.start("status", "--json").ended();
      return stdout.includes("min_free_disk") ? stdout : undefined;
    });
    expect(JSON.parse(shown)).toMatchObject({
      notClaiming: [{ profile: null, cause: expect.stringMatching(/free, worker\.min_free_disk asks for /) }],
    });
    const { stdout } = await stage.start("status").ended();
    expect(stdout).toMatch(/^claims +nothing new is claimed: .*jobs has/m);
    expect(stage.job(id).status).toBe("PENDING");
  },
  testMs,
);
