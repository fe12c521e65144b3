/** Data on the cluster that many jobs use is read once: counted by what the kernel says that the daemon has read. */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { systemClock } from "../../src/clock.ts";
import { addArtifact, addJob } from "../../src/emulator/submitter.ts";
import { openStage, type Stage } from "./harness.ts";
import type { Program } from "./program.ts";

const testMs = 60_000;
const bytes = 64 * 1024 * 1024;
const mtime = new Date("2026-01-01T00:00:00Z");

/** How many times as much as the input has. */
function readBy(daemon: Program): number {
  const io = readFileSync(`/proc/${daemon.pid}/io`, "utf8");
  return Math.round(Number(/^rchar: (\d+)$/m.exec(io)?.[1]) / bytes);
}

/** A change within the last seconds is not trusted yet: what is read so early is not remembered. */
async function untilSettled(stage: Stage, path: string): Promise<void> {
  await stage.until("its last change is some seconds ago", () => systemClock.wall() > statSync(path).ctimeMs + 4_000);
}

test(
  "read for the first job, and not for later ones, also of later lives; what was changed or replaced is read again",
  async () => {
    const program = 'wc -c "$HPC_INPUT_DIR"/*/reference >"$HPC_OUTPUT_DIR/size"';
    const profiles = { uses: { program } };
    await using stage = await openStage({ profiles, apptainer: { posix_roots: ["data"] }, directories: ["data"] });
    const set = join(stage.dir, "data/set");
    const reference = join(set, "reference");
    mkdirSync(set);
    const content = Buffer.alloc(bytes, "reference data ");
    const put = (path: string, what: Uint8Array) => {
      writeFileSync(path, what);
      utimesSync(path, mtime, mtime);
    };
    put(reference, content);
    await untilSettled(stage, reference);

    const files = [{ path: "reference", content: Uint8Array.from(content) }];
    const inputs = [addArtifact(stage.state, { files, contentUrl: pathToFileURL(set).href })];
    const another = () => addJob(stage.state, { processor: "uses", profile: "default", inputs });
    const daemon = stage.start("run");
    for (const id of [another(), another()]) await stage.untilStatus(id, "COMPLETED");
    expect(readBy(daemon)).toBe(1);
    daemon.kill();
    await daemon.ended();

    const later = stage.start("run");
    await stage.untilStatus(another(), "COMPLETED");
    expect(readBy(later)).toBe(0);

    // The same bytes in another file.
    put(`${reference}.new`, content);
    renameSync(`${reference}.new`, reference);
    await stage.untilStatus(another(), "COMPLETED");
    expect(readBy(later)).toBe(1);

    // Other bytes in the same file.
    content.write("another", bytes - 7);
    put(reference, content);
    expect(statSync(reference)).toMatchObject({ size: bytes, mtime });
    const last = another();
    await stage.untilStatus(last, "FAILED");
    expect(stage.job(last).transitions.at(-1)?.detail).toContain("input_hash_mismatch");
    expect(readBy(later)).toBe(2);
    expect(stage.ledger()).toHaveLength(4);
  },
  testMs,
);
