/** Outputs that the batch script has sealed: read once on this host, for the upload, and never taken for what they are not. */
import { expect, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { committed } from "./committed.ts";
import { openStage } from "./harness.ts";

const testMs = 60_000;
const bytes = 48 * 1024 * 1024;
const makes = `head -c ${bytes} /dev/urandom >"$HPC_OUTPUT_DIR/big"; echo done >"$HPC_OUTPUT_DIR/small.txt"`;

test.each([
  ["sealed: each output is read once", true],
  ["not sealed: it is read for its hash, and again", false],
] as const)(
  "%s",
  async (_, seals) => {
    await using stage = await openStage({ profiles: { makes: { program: makes, seal_outputs: seals } } });
    const id = stage.submit("makes");
    const daemon = stage.start("run");
    await stage.untilStatus(id, "COMPLETED");
    expect(Math.round(daemon.readBytes().all / bytes)).toBe(seals ? 1 : 2);
    const files = committed(stage, stage.job(id).outputArtifactId);
    expect([...files.keys()].sort()).toEqual(["big", "small.txt"]);
  },
  testMs,
);

test(
  "a sealed file that this host does not show yet is waited for, and named",
  async () => {
    // What the compute node has and this host does not see yet: it is put away once it is sealed.
    const waits = 'until [ -e "$HPC_WORK_DIR/go" ]; do sleep 0.05; done';
    const program = `${waits}; echo result >"$HPC_OUTPUT_DIR/late"; echo here >"$HPC_OUTPUT_DIR/here"`;
    await using stage = await openStage({ profiles: { makes: { program } } });
    const id = stage.submit("makes");
    const dir = join(stage.jobsDir, id);
    const first = stage.start("once");
    expect((await first.ended()).exitCode).toBe(0);
    writeFileSync(join(dir, "work/go"), "");
    await stage.until("it is sealed", () => Bun.file(join(dir, ".emx2/done.a1.0")).exists());
    renameSync(join(dir, "output/late"), join(dir, "late"));
    const daemon = stage.start("run");
    await stage.until("it is named", () => /1 output file\(s\) can not be seen .*late/.test(daemon.stderr()));
    expect(stage.job(id).status).toBe("STARTED");
    renameSync(join(dir, "late"), join(dir, "output/late"));
    await stage.untilStatus(id, "COMPLETED");
    expect([...committed(stage, stage.job(id).outputArtifactId).keys()].sort()).toEqual(["here", "late"]);
  },
  testMs,
);
